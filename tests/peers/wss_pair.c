/*
 * Both ends of a wss conversation in one process, over a socket pair: no network, no certificate,
 * so it also runs in a virtual machine that has nothing but a kernel.
 *
 *   wss_pair [requests=N] [wait=MS] [pause=MS] [workers=N] [nested] [go] [linger]
 *
 * A connection is opened; `wait` later N JSON-RPC requests are asked one after the other, each
 * answered after `pause`. With `nested` the TLS connection is inside another one, whose functions it
 * calls from its own. With workers=N so many children do that, not the process itself. With
 * `go` it waits for a line on standard input first, with `linger` for the end of standard input
 * afterwards. It prints the number of answers.
 */
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int requests = 1, wait_ms, pause_ms, workers, nested;

static void check(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	_exit(1);
}

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

static SSL *end_with(const SSL_METHOD *method)
{
	SSL_CTX *context = SSL_CTX_new(method);
	SSL *ssl;

	SSL_CTX_set_max_proto_version(context, TLS1_2_VERSION);
	check(SSL_CTX_set_cipher_list(context, "PSK-AES128-GCM-SHA256:@SECLEVEL=0"), "ciphers");
	SSL_CTX_set_psk_client_callback(context, client_secret);
	SSL_CTX_set_psk_server_callback(context, server_secret);
	ssl = SSL_new(context);
	SSL_CTX_free(context);
	return ssl;
}

/* One end of the conversation; ready for the (inner) handshake. */
static SSL *end_of(int socket, const SSL_METHOD *method, int (*shake_hands)(SSL *))
{
	SSL *outer = end_with(method), *inner;
	BIO *tunnel;

	SSL_set_fd(outer, socket);
	if (!nested)
		return outer;
	check(shake_hands(outer) == 1, "the outer handshake");
	tunnel = BIO_new(BIO_f_ssl());
	BIO_set_ssl(tunnel, outer, BIO_CLOSE);
	inner = end_with(method);
	SSL_set_bio(inner, tunnel, tunnel);
	return inner;
}

static void say(SSL *ssl, const void *bytes, int length)
{
	check(SSL_write(ssl, bytes, length) == length, "SSL_write");
}

/* Everything that is said here is short and comes in one piece. */
static int hear(SSL *ssl, unsigned char *bytes, int size)
{
	int length = SSL_read(ssl, bytes, size - 1);

	check(length > 0, "SSL_read");
	bytes[length] = 0;
	return length;
}

/* Like an event loop, this server is not inside SSL_read while it has nothing to read. */
static void await(int socket)
{
	struct pollfd ready = { .fd = socket, .events = POLLIN };

	check(poll(&ready, 1, -1) == 1, "poll");
}

/* RFC 6455, section 5.2; the mask is zero, so masked bytes are the bytes. */
static void send_text(SSL *ssl, const char *text, int masked)
{
	unsigned char frame[136] = { 0x81 };
	int length = strlen(text), head = masked ? 6 : 2;

	check(length <= 125, "a short text");
	frame[1] = (masked ? 0x80 : 0) | length;
	memcpy(frame + head, text, length);
	say(ssl, frame, head + length);
}

static void *serve(void *argument)
{
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
				     "Connection: Upgrade\r\n"
				     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
	SSL *ssl = end_of(*(int *)argument, TLS_server_method(), SSL_accept);
	unsigned char bytes[512];
	char text[64];

	check(SSL_accept(ssl) == 1, "SSL_accept");
	hear(ssl, bytes, sizeof(bytes));
	say(ssl, answer, strlen(answer));
	for (int id = 0; id < requests; id++) {
		await(*(int *)argument);
		hear(ssl, bytes, sizeof(bytes));
		usleep(pause_ms * 1000);
		snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{}}", id);
		send_text(ssl, text, 0);
	}
	SSL_free(ssl);
	return NULL;
}

static void ask(int socket)
{
	static const char upgrade[] = "GET / HTTP/1.1\r\nHost: pair\r\nUpgrade: websocket\r\n"
				      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
				      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
	SSL *ssl = end_of(socket, TLS_client_method(), SSL_connect);
	unsigned char bytes[512];
	char text[80];

	check(SSL_connect(ssl) == 1, "SSL_connect");
	say(ssl, upgrade, strlen(upgrade));
	hear(ssl, bytes, sizeof(bytes));
	usleep(wait_ms * 1000);
	for (int id = 0; id < requests; id++) {
		snprintf(text, sizeof(text),
			 "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"echo\",\"params\":{}}", id);
		send_text(ssl, text, 1);
		hear(ssl, bytes, sizeof(bytes));
	}
	SSL_free(ssl);
}

static void converse(void)
{
	int sockets[2];
	pthread_t server;

	check(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "socketpair");
	check(pthread_create(&server, NULL, serve, &sockets[1]) == 0, "pthread_create");
	ask(sockets[0]);
	pthread_join(server, NULL);
}

int main(int count, char **arguments)
{
	int go = 0, linger = 0;
	char line[16];

	for (int i = 1; i < count; i++) {
		sscanf(arguments[i], "requests=%d", &requests);
		sscanf(arguments[i], "wait=%d", &wait_ms);
		sscanf(arguments[i], "pause=%d", &pause_ms);
		sscanf(arguments[i], "workers=%d", &workers);
		nested |= !strcmp(arguments[i], "nested");
		go |= !strcmp(arguments[i], "go");
		linger |= !strcmp(arguments[i], "linger");
	}
	if (go)
		check(fgets(line, sizeof(line), stdin) != NULL, "a line");
	for (int i = 0; i < workers; i++) {
		pid_t worker = fork();

		check(worker >= 0, "fork");
		if (worker == 0) {
			converse();
			_exit(0);
		}
	}
	for (int i = 0; i < workers; i++) {
		int status;

		check(wait(&status) > 0 && status == 0, "a worker");
	}
	if (!workers)
		converse();
	printf("%d\n", requests * (workers ? workers : 1));
	fflush(stdout);
	while (linger && fgets(line, sizeof(line), stdin))
		;
	return 0;
}
