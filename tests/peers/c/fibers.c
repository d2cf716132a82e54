/*
 * TLS clients on stacks of their own, in one thread: each is a fiber that goes back to the main stack
 * whenever there is nothing to read, from inside the library's call. The servers are on the main stack
 * and never wait.
 *
 *   fibers [fibers=N] [requests=N] [jumps=N] [nested] [ex] [go] [linger]
 *
 * Each client opens a connection and asks N JSON-RPC requests, one after the other. With `nested` its
 * TLS connection is inside another one. With jumps=N it leaves N calls of SSL_read by longjmp() first,
 * each at another depth of its stack, on a connection that is not used for anything else. With `ex` it calls
 * SSL_read_ex and SSL_write_ex. With `go` it waits for a line on standard input before all that, with
 * `linger` for the end of standard input afterwards. It prints the number of answers, and how often
 * a client left its stack.
 */
#include <alloca.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#include "wss.h"

enum { MOST_FIBERS = 1024, STACK_BYTES = 256 << 10, PIPE_BYTES = 64 << 10 };

static int fibers = 1, requests = 1, jumps, nested, ex;
static long answers, switches;

struct pipe {
	int length;
	char bytes[PIPE_BYTES];
};

/* A connection: its client is a fiber, its server a state that the main stack drives. */
struct fiber {
	ucontext_t context;
	char *stack;
	struct pipe to_server, to_client;
	SSL *server;
	int answered, done;
};

static ucontext_t main_context;
static struct fiber *all, *running;
static jmp_buf way_out;

static void check(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fibers: %s\n", what);
	_exit(1);
}

static int take(struct pipe *pipe, char *bytes, int size)
{
	int length = pipe->length < size ? pipe->length : size;

	memcpy(bytes, pipe->bytes, length);
	pipe->length -= length;
	memmove(pipe->bytes, pipe->bytes + length, pipe->length);
	return length;
}

static int put(struct pipe *pipe, const char *bytes, int length)
{
	check(pipe->length + length <= PIPE_BYTES, "a full pipe");
	memcpy(pipe->bytes + pipe->length, bytes, length);
	pipe->length += length;
	return length;
}

static int client_read(BIO *bio, char *bytes, int size)
{
	struct fiber *fiber = BIO_get_data(bio);

	while (!fiber->to_client.length) {
		switches++;
		swapcontext(&fiber->context, &main_context);
	}
	return take(&fiber->to_client, bytes, size);
}

static int client_write(BIO *bio, const char *bytes, int length)
{
	return put(&((struct fiber *)BIO_get_data(bio))->to_server, bytes, length);
}

static int server_read(BIO *bio, char *bytes, int size)
{
	struct fiber *fiber = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (fiber->to_server.length)
		return take(&fiber->to_server, bytes, size);
	BIO_set_retry_read(bio);
	return -1;
}

static int server_write(BIO *bio, const char *bytes, int length)
{
	return put(&((struct fiber *)BIO_get_data(bio))->to_client, bytes, length);
}

static int jumping_read(BIO *bio, char *bytes, int size)
{
	(void)bio, (void)bytes, (void)size;
	longjmp(way_out, 1);
}

static int jumping_write(BIO *bio, const char *bytes, int length)
{
	(void)bio, (void)bytes;
	return length;
}

static long control(BIO *bio, int command, long number, void *argument)
{
	(void)bio, (void)number, (void)argument;
	return command == BIO_CTRL_FLUSH;
}

static BIO *bio_with(int (*read)(BIO *, char *, int), int (*write)(BIO *, const char *, int), void *data)
{
	BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "pipe");
	BIO *bio;

	BIO_meth_set_read(method, read);
	BIO_meth_set_write(method, write);
	BIO_meth_set_ctrl(method, control);
	bio = BIO_new(method);
	BIO_set_data(bio, data);
	BIO_set_init(bio, 1);
	return bio;
}

static SSL *tls(int is_server)
{
	static SSL_CTX *contexts[2];
	SSL_CTX **context = &contexts[is_server];
	SSL *ssl;

	if (!*context) {
		*context = secret_context(is_server ? TLS_server_method() : TLS_client_method());
		check(*context != NULL, "ciphers");
	}
	ssl = SSL_new(*context);
	if (is_server)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return ssl;
}

/* TLS over `bio`, or TLS in TLS over it. */
static SSL *tls_over(BIO *bio, int is_server)
{
	SSL *outer = tls(is_server);

	SSL_set_bio(outer, bio, bio);
	return nested ? through(outer, tls(is_server)) : outer;
}

/* A call that fails, as one with nothing to read does, passes nothing. */
static int hear(SSL *ssl, char *bytes, int size)
{
	size_t length = 0;

	if (ex)
		return SSL_read_ex(ssl, bytes, size, &length) > 0 ? (int)length : -1;
	return SSL_read(ssl, bytes, size);
}

static void say(SSL *ssl, const char *bytes, int length)
{
	size_t said = 0;

	if (ex)
		SSL_write_ex(ssl, bytes, length, &said);
	else
		said = SSL_write(ssl, bytes, length);
	check(said == (size_t)length, "a write");
}

static void send_text(SSL *ssl, const char *text, int masked)
{
	char frame[FRAME_MAX];
	int length = text_frame(frame, text, masked);

	check(length > 0, "a short text");
	say(ssl, frame, length);
}

/* Whatever has come is answered: requests are asked one after the other. */
static void serve(struct fiber *fiber)
{
	char bytes[512], text[64];

	while (hear(fiber->server, bytes, sizeof(bytes)) > 0) {
		if (!fiber->answered++) {
			say(fiber->server, UPGRADE_ANSWER, strlen(UPGRADE_ANSWER));
			continue;
		}
		answer_text(text, sizeof(text), fiber->answered - 2);
		send_text(fiber->server, text, 0);
	}
}

/* Leaves a call of the library for good, from so deep in the stack. */
static __attribute__((noinline)) void leave_a_call(int depth)
{
	volatile char *room = alloca(64 * (depth + 1));
	SSL *ssl = tls(0);
	BIO *bio = bio_with(jumping_read, jumping_write, NULL);
	char bytes[16];

	room[0] = 0;
	SSL_set_bio(ssl, bio, bio);
	if (!setjmp(way_out))
		check(hear(ssl, bytes, sizeof(bytes)) < 0, "nothing to read");
}

static void converse(void)
{
	struct fiber *fiber = running;
	SSL *ssl = tls_over(bio_with(client_read, client_write, fiber), 0);
	char bytes[512], text[80];

	for (int i = 0; i < jumps; i++)
		leave_a_call(i);
	say(ssl, UPGRADE_REQUEST, strlen(UPGRADE_REQUEST));
	check(hear(ssl, bytes, sizeof(bytes)) > 0, "a 101");
	for (int id = 0; id < requests; id++) {
		request_text(text, sizeof(text), id);
		send_text(ssl, text, 1);
		check(hear(ssl, bytes, sizeof(bytes)) > 0, "an answer");
		answers++;
	}
	SSL_free(ssl);
	fiber->done = 1;
	swapcontext(&fiber->context, &main_context);
}

static void begin(struct fiber *fiber)
{
	fiber->stack = malloc(STACK_BYTES);
	fiber->server = tls_over(bio_with(server_read, server_write, fiber), 1);
	getcontext(&fiber->context);
	fiber->context.uc_stack.ss_sp = fiber->stack;
	fiber->context.uc_stack.ss_size = STACK_BYTES;
	makecontext(&fiber->context, converse, 0);
}

static void run(void)
{
	int left = fibers;

	all = calloc(fibers, sizeof(*all));
	for (int i = 0; i < fibers; i++)
		begin(&all[i]);
	while (left) {
		for (int i = 0; i < fibers; i++) {
			if (all[i].done)
				continue;
			running = &all[i];
			swapcontext(&main_context, &running->context);
			serve(running);
			left -= all[i].done;
		}
	}
	for (int i = 0; i < fibers; i++)
		SSL_free(all[i].server);
}

int main(int count, char **arguments)
{
	int go = 0, linger = 0;
	char line[16];

	for (int i = 1; i < count; i++) {
		sscanf(arguments[i], "fibers=%d", &fibers);
		sscanf(arguments[i], "requests=%d", &requests);
		sscanf(arguments[i], "jumps=%d", &jumps);
		nested |= !strcmp(arguments[i], "nested");
		ex |= !strcmp(arguments[i], "ex");
		go |= !strcmp(arguments[i], "go");
		linger |= !strcmp(arguments[i], "linger");
	}
	check(fibers > 0 && fibers <= MOST_FIBERS, "a number of fibers");
	if (go)
		check(fgets(line, sizeof(line), stdin) != NULL, "a line");
	run();
	printf("%ld\n%ld\n", answers, switches);
	fflush(stdout);
	while (linger && fgets(line, sizeof(line), stdin))
		;
	return 0;
}
