/*
 * What two peers say to each other over wss, and how they make TLS without a certificate: with a
 * secret that both know. How bytes get from one to the other is left to each program.
 */
#ifndef WSS_H
#define WSS_H

#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

enum { TEXT_MAX = 125, FRAME_MAX = TEXT_MAX + 6 };

static const char UPGRADE_REQUEST[] = "GET / HTTP/1.1\r\nHost: pair\r\nUpgrade: websocket\r\n"
				      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
				      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
static const char UPGRADE_ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
				     "Connection: Upgrade\r\n"
				     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static unsigned client_secret(SSL *ssl, const char *hint, char *identity, unsigned identity_size,
			      unsigned char *secret, unsigned secret_size)
{
	(void)ssl, (void)hint;
	snprintf(identity, identity_size, "peer");
	memset(secret, 7, secret_size < 16 ? secret_size : 16);
	return 16;
}

static unsigned server_secret(SSL *ssl, const char *identity, unsigned char *secret, unsigned size)
{
	(void)ssl, (void)identity;
	memset(secret, 7, size < 16 ? size : 16);
	return 16;
}

/* NULL if the library lacks the cipher. */
static SSL_CTX *secret_context(const SSL_METHOD *method)
{
	SSL_CTX *context = SSL_CTX_new(method);

	SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
	if (!SSL_CTX_set_cipher_list(context, "PSK-AES128-GCM-SHA256:@SECLEVEL=0"))
		return NULL;
	SSL_CTX_set_psk_client_callback(context, client_secret);
	SSL_CTX_set_psk_server_callback(context, server_secret);
	return context;
}

/* Lets `inner` send and receive through `outer`: TLS in TLS. */
static inline SSL *through(SSL *outer, SSL *inner)
{
	BIO *tunnel = BIO_new(BIO_f_ssl());

	BIO_set_ssl(tunnel, outer, BIO_CLOSE);
	SSL_set_bio(inner, tunnel, tunnel);
	return inner;
}

/* Writes a text frame (RFC 6455, section 5.2) and returns its length, or 0 if the text is too long.
 * The mask is zero, so masked bytes are the bytes. */
static int text_frame(char frame[FRAME_MAX], const char *text, int masked)
{
	int length = strlen(text), head = masked ? 6 : 2;

	if (length > TEXT_MAX)
		return 0;
	memset(frame, 0, head);
	frame[0] = (char)0x81;
	frame[1] = (masked ? 0x80 : 0) | length;
	memcpy(frame + head, text, length);
	return head + length;
}

/* JSON-RPC 2.0 */
static void request_text(char *text, size_t size, int id)
{
	snprintf(text, size, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"echo\",\"params\":{}}", id);
}

static void answer_text(char *text, size_t size, int id)
{
	snprintf(text, size, "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{}}", id);
}

#endif
