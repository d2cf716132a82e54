/*
 * Both ends of a wss conversation in one process, over a socket pair: no network, no certificate,
 * so it also runs in a virtual machine that has nothing but a kernel.
 *
 *   wss_pair [requests=N] [wait=MS] [pause=MS] [workers=N] [nested] [plain] [go] [gate] [linger]
 *
 * A connection is opened; `wait` later N JSON-RPC requests are asked one after the other, each
 * answered after `pause`. With `nested` the TLS connection is inside another one, whose functions it
 * calls from its own; with `plain` there is no TLS, but TCP over loopback. With workers=N so many
 * children do that, not the process itself. With `go` it waits for a line on standard input first.
 * With `gate` the children are forked, but begin only when another line has come. With `linger` it
 * waits for the end of standard input afterwards. It prints the number of answers.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int requests = 1, wait_ms, pause_ms, workers, nested, plain;

/* One end of the conversation. */
struct end {
	int socket;
	SSL *ssl; /* NULL without TLS */
};

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

static SSL *tls_with(const SSL_METHOD *method)
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

/* Ready for the (inner) handshake. */
static SSL *tls_over(int socket, const SSL_METHOD *method, int (*shake_hands)(SSL *))
{
	SSL *outer = tls_with(method), *inner;
	BIO *tunnel;

	SSL_set_fd(outer, socket);
	if (!nested)
		return outer;
	check(shake_hands(outer) == 1, "the outer handshake");
	tunnel = BIO_new(BIO_f_ssl());
	BIO_set_ssl(tunnel, outer, BIO_CLOSE);
	inner = tls_with(method);
	SSL_set_bio(inner, tunnel, tunnel);
	return inner;
}

static struct end open_end(int socket, const SSL_METHOD *method, int (*shake_hands)(SSL *))
{
	struct end end = { .socket = socket };

	if (plain)
		return end;
	end.ssl = tls_over(socket, method, shake_hands);
	check(shake_hands(end.ssl) == 1, "the handshake");
	return end;
}

/* The socket below TLS stays open: the other end may still say goodbye. */
static void close_end(struct end end)
{
	if (end.ssl)
		SSL_free(end.ssl);
	else
		close(end.socket);
}

static void say(struct end end, const void *bytes, int length)
{
	int said = end.ssl ? SSL_write(end.ssl, bytes, length) : write(end.socket, bytes, length);

	check(said == length, "a write");
}

/* Everything that is said here is short and comes in one piece. */
static int hear(struct end end, unsigned char *bytes, int size)
{
	int length = end.ssl ? SSL_read(end.ssl, bytes, size - 1)
			     : read(end.socket, bytes, size - 1);

	check(length > 0, "a read");
	bytes[length] = 0;
	return length;
}

/* Like an event loop, this server is not inside SSL_read while it has nothing to read. */
static void await(struct end end)
{
	struct pollfd ready = { .fd = end.socket, .events = POLLIN };

	check(poll(&ready, 1, -1) == 1, "poll");
}

/* RFC 6455, section 5.2; the mask is zero, so masked bytes are the bytes. */
static void send_text(struct end end, const char *text, int masked)
{
	unsigned char frame[136] = { 0x81 };
	int length = strlen(text), head = masked ? 6 : 2;

	check(length <= 125, "a short text");
	frame[1] = (masked ? 0x80 : 0) | length;
	memcpy(frame + head, text, length);
	say(end, frame, head + length);
}

static void *serve(void *argument)
{
	static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
				     "Connection: Upgrade\r\n"
				     "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
	struct end end = open_end(*(int *)argument, TLS_server_method(), SSL_accept);
	unsigned char bytes[512];
	char text[64];

	hear(end, bytes, sizeof(bytes));
	say(end, answer, strlen(answer));
	for (int id = 0; id < requests; id++) {
		await(end);
		hear(end, bytes, sizeof(bytes));
		usleep(pause_ms * 1000);
		snprintf(text, sizeof(text), "{\"jsonrpc\":\"2.0\",\"id\":%d,\"result\":{}}", id);
		send_text(end, text, 0);
	}
	close_end(end);
	return NULL;
}

static void ask(int socket)
{
	static const char upgrade[] = "GET / HTTP/1.1\r\nHost: pair\r\nUpgrade: websocket\r\n"
				      "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
				      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
	struct end end = open_end(socket, TLS_client_method(), SSL_connect);
	unsigned char bytes[512];
	char text[80];

	say(end, upgrade, strlen(upgrade));
	hear(end, bytes, sizeof(bytes));
	usleep(wait_ms * 1000);
	for (int id = 0; id < requests; id++) {
		snprintf(text, sizeof(text),
			 "{\"jsonrpc\":\"2.0\",\"id\":%d,\"method\":\"echo\",\"params\":{}}", id);
		send_text(end, text, 1);
		hear(end, bytes, sizeof(bytes));
	}
	close_end(end);
}

/* What socketpair() is for Unix. */
static void tcp_pair(int sockets[2])
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	check(bind(listener, (void *)&address, size) == 0 && listen(listener, 1) == 0, "listen");
	check(getsockname(listener, (void *)&address, &size) == 0, "getsockname");
	sockets[0] = socket(AF_INET, SOCK_STREAM, 0);
	check(connect(sockets[0], (void *)&address, size) == 0, "connect");
	sockets[1] = accept(listener, NULL, NULL);
	check(sockets[1] >= 0, "accept");
	close(listener);
}

static void converse(void)
{
	int sockets[2];
	pthread_t server;

	if (plain)
		tcp_pair(sockets);
	else
		check(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0, "socketpair");
	check(pthread_create(&server, NULL, serve, &sockets[1]) == 0, "pthread_create");
	ask(sockets[0]);
	pthread_join(server, NULL);
}

/* The children wait here until no process has the other end of the pipe any more. */
static void pass(int gate[2])
{
	char nothing;

	close(gate[1]);
	check(read(gate[0], &nothing, 1) == 0, "the gate");
	close(gate[0]);
}

static void await_line(void)
{
	char line[16];

	check(fgets(line, sizeof(line), stdin) != NULL, "a line");
}

int main(int count, char **arguments)
{
	int go = 0, gated = 0, linger = 0, gate[2];
	char line[16];

	for (int i = 1; i < count; i++) {
		sscanf(arguments[i], "requests=%d", &requests);
		sscanf(arguments[i], "wait=%d", &wait_ms);
		sscanf(arguments[i], "pause=%d", &pause_ms);
		sscanf(arguments[i], "workers=%d", &workers);
		nested |= !strcmp(arguments[i], "nested");
		plain |= !strcmp(arguments[i], "plain");
		go |= !strcmp(arguments[i], "go");
		gated |= !strcmp(arguments[i], "gate");
		linger |= !strcmp(arguments[i], "linger");
	}
	if (go)
		await_line();
	if (gated)
		check(pipe(gate) == 0, "pipe");
	for (int i = 0; i < workers; i++) {
		pid_t worker = fork();

		check(worker >= 0, "fork");
		if (worker == 0) {
			if (gated)
				pass(gate);
			converse();
			_exit(0);
		}
	}
	if (gated) {
		await_line();
		close(gate[1]);
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
