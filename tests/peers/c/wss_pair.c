/*
 * Both ends of a wss conversation in one process, over a socket pair: no network, no certificate,
 * so it also runs in a virtual machine that has nothing but a kernel.
 *
 *   wss_pair [requests=N] [wait=MS] [pause=MS] [workers=N] [nested] [plain] [go] [gate] [held] [linger]
 *
 * A connection is opened; `wait` later N JSON-RPC requests are asked one after the other, each
 * answered after `pause`. With `nested` the TLS connection is inside another one, whose functions it
 * calls from its own; with `plain` there is no TLS, but TCP over loopback. With workers=N so many
 * children do that, not the process itself. With `go` it waits for a line on standard input first.
 * With `gate` the children are forked, but begin only when another line has come. With `held`
 * the first answer waits for a line. With `linger` it waits for the end of standard input
 * afterwards. It prints the number of answers.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "wss.h"

static int requests = 1, wait_ms, pause_ms, workers, nested, plain, held;

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

static SSL *tls_with(const SSL_METHOD *method)
{
	SSL_CTX *context = secret_context(method);
	SSL *ssl;

	check(context != NULL, "ciphers");
	ssl = SSL_new(context);
	SSL_CTX_free(context);
	return ssl;
}

/* Ready for the (inner) handshake. */
static SSL *tls_over(int socket, const SSL_METHOD *method, int (*shake_hands)(SSL *))
{
	SSL *outer = tls_with(method);

	SSL_set_fd(outer, socket);
	if (!nested)
		return outer;
	check(shake_hands(outer) == 1, "the outer handshake");
	return through(outer, tls_with(method));
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

static void send_text(struct end end, const char *text, int masked)
{
	char frame[FRAME_MAX];
	int length = text_frame(frame, text, masked);

	check(length > 0, "a short text");
	say(end, frame, length);
}

static void await_line(void)
{
	char line[16];

	check(fgets(line, sizeof(line), stdin) != NULL, "a line");
}

static void *serve(void *argument)
{
	struct end end = open_end(*(int *)argument, TLS_server_method(), SSL_accept);
	unsigned char bytes[512];
	char text[64];

	hear(end, bytes, sizeof(bytes));
	say(end, UPGRADE_ANSWER, strlen(UPGRADE_ANSWER));
	for (int id = 0; id < requests; id++) {
		await(end);
		hear(end, bytes, sizeof(bytes));
		if (held && id == 0)
			await_line();
		usleep(pause_ms * 1000);
		answer_text(text, sizeof(text), id);
		send_text(end, text, 0);
	}
	close_end(end);
	return NULL;
}

static void ask(int socket)
{
	struct end end = open_end(socket, TLS_client_method(), SSL_connect);
	unsigned char bytes[512];
	char text[80];

	say(end, UPGRADE_REQUEST, strlen(UPGRADE_REQUEST));
	hear(end, bytes, sizeof(bytes));
	usleep(wait_ms * 1000);
	for (int id = 0; id < requests; id++) {
		request_text(text, sizeof(text), id);
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
		held |= !strcmp(arguments[i], "held");
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
