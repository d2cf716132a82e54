/*
 * Both ends of very many wss connections in one process and one thread. TLS runs over pairs of BIOs
 * in memory, so a connection takes no descriptor.
 *
 *   many [connections=N] [shared]
 *
 * Where `shared` is asked for, all memory of the TLS library is shared with the process that `fork` makes, and
 * that one does every second `say` with the objects that the first one has made.
 *
 * For each line on standard input it does what the line says, and then prints the plaintext bytes that have
 * passed through its TLS functions so far, at both ends together:
 *
 *   fork    makes a second process
 *   open    opens N connections and upgrades each
 *   say     asks one JSON-RPC request on each connection, and answers it
 *   flood   goes on asking and answering on a thread of its own, until `rest`
 *   rest    ends that
 *   count   does nothing
 *   close   closes all connections
 *   clear   the same, and keeps what their handles point to for `open`
 *
 * At the end of standard input it leaves without closing any.
 */
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wss.h"

enum {
	/* Bytes that a BIO holds: more than a flight of the handshake, or a record of what is said. */
	BIO_BYTES = 4096,
	CLIENT = 0,
	SERVER = 1,
	/* What stands before each block of shared memory: its size. */
	BLOCK_HEAD = 16,
};

/* Of address space: nothing of it is ever given back. */
static const size_t SHARED_BYTES = 1UL << 30;

/* What both processes know. */
struct common {
	atomic_ulong passed;
	atomic_size_t used; /* bytes of the shared memory */
	int id;		    /* of the last request on each connection */
};

static int connections = 1;
static SSL *(*pairs)[2];
static SSL_CTX *contexts[2];
static struct common *common;
static atomic_int flooding;
/* To the second process and back; 0 while there is none. */
static int order[2], report[2];

static void check(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "%s failed\n", what);
	_exit(1);
}

static void *allocate(size_t size, const char *file, int line)
{
	size_t room = (BLOCK_HEAD + size + 15) & ~(size_t)15;
	char *block = (char *)common + atomic_fetch_add(&common->used, room);

	(void)file, (void)line;
	check(block + room <= (char *)common + SHARED_BYTES, "shared memory");
	memcpy(block, &size, sizeof(size));
	return block + BLOCK_HEAD;
}

static void *reallocate(void *old, size_t size, const char *file, int line)
{
	void *new = allocate(size, file, line);
	size_t before;

	if (!old)
		return new;
	memcpy(&before, (char *)old - BLOCK_HEAD, sizeof(before));
	return memcpy(new, old, before < size ? before : size);
}

static void keep(void *block, const char *file, int line)
{
	(void)block, (void)file, (void)line;
}

/* From here on, what the TLS library allocates is shared with the processes that are forked. */
static void share_memory(void)
{
	common = mmap(NULL, SHARED_BYTES, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	check(common != MAP_FAILED, "mmap");
	atomic_store(&common->used, (sizeof(*common) + 15) & ~(size_t)15);
	check(CRYPTO_set_mem_functions(allocate, reallocate, keep), "CRYPTO_set_mem_functions");
}

static SSL_CTX *context_with(const SSL_METHOD *method)
{
	SSL_CTX *context = secret_context(method);

	check(context != NULL, "ciphers");
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
	return context;
}

static void say(SSL *ssl, const void *bytes, int length)
{
	check(SSL_write(ssl, bytes, length) == length, "SSL_write");
	atomic_fetch_add(&common->passed, length);
}

static void hear(SSL *ssl)
{
	char bytes[512];
	int length = SSL_read(ssl, bytes, sizeof(bytes));

	check(length > 0, "SSL_read");
	atomic_fetch_add(&common->passed, length);
}

static void open_pair(SSL **pair)
{
	BIO *client, *server;

	check(BIO_new_bio_pair(&client, BIO_BYTES, &server, BIO_BYTES), "BIO_new_bio_pair");
	for (int end = CLIENT; end <= SERVER; end++) {
		BIO *bio = end == CLIENT ? client : server;

		if (!pair[end])
			pair[end] = SSL_new(contexts[end]);
		check(pair[end] != NULL, "SSL_new");
		SSL_set_bio(pair[end], bio, bio);
	}
	SSL_set_connect_state(pair[CLIENT]);
	SSL_set_accept_state(pair[SERVER]);
	/* One of them is ahead of the other. */
	for (int turn = 0; turn < 8 && !SSL_is_init_finished(pair[CLIENT]); turn++) {
		SSL_do_handshake(pair[CLIENT]);
		SSL_do_handshake(pair[SERVER]);
	}
	check(SSL_is_init_finished(pair[SERVER]), "the handshake");
	say(pair[CLIENT], UPGRADE_REQUEST, strlen(UPGRADE_REQUEST));
	hear(pair[SERVER]);
	say(pair[SERVER], UPGRADE_ANSWER, strlen(UPGRADE_ANSWER));
	hear(pair[CLIENT]);
}

static void send_text(SSL *ssl, const char *text, int masked)
{
	char frame[FRAME_MAX];
	int length = text_frame(frame, text, masked);

	check(length > 0, "a short text");
	say(ssl, frame, length);
}

static void exchange(SSL **pair, int id)
{
	char text[TEXT_MAX];

	request_text(text, sizeof(text), id);
	send_text(pair[CLIENT], text, 1);
	hear(pair[SERVER]);
	answer_text(text, sizeof(text), id);
	send_text(pair[SERVER], text, 0);
	hear(pair[CLIENT]);
}

static void say_on_each(void)
{
	common->id++;
	for (int i = 0; i < connections; i++)
		exchange(pairs[i], common->id);
}

/* What the second process does, until the first one has ended. */
static void obey(void)
{
	char word;

	close(order[1]);
	while (read(order[0], &word, 1) == 1) {
		say_on_each();
		check(write(report[1], &word, 1) == 1, "write");
	}
	_exit(0);
}

static void start_second(void)
{
	check(!pipe(order) && !pipe(report), "pipe");
	if (!fork())
		obey();
}

/* The processes take turns. */
static void let_say(void)
{
	static int turn;
	char word = 's';

	if (!order[1] || !(turn++ & 1)) {
		say_on_each();
		return;
	}
	check(write(order[1], &word, 1) == 1, "write");
	check(read(report[0], &word, 1) == 1, "the second process");
}

static void clear(SSL *ssl)
{
	check(SSL_clear(ssl), "SSL_clear");
}

static void end_all(void (*end)(SSL *))
{
	for (int i = 0; i < connections; i++) {
		end(pairs[i][CLIENT]);
		end(pairs[i][SERVER]);
	}
}

static void *flood(void *nothing)
{
	while (atomic_load(&flooding))
		say_on_each();
	return nothing;
}

int main(int count, char **arguments)
{
	pthread_t flooder;
	char line[16];

	for (int i = 1; i < count; i++) {
		sscanf(arguments[i], "connections=%d", &connections);
		if (!strcmp(arguments[i], "shared"))
			share_memory();
	}
	if (!common)
		common = calloc(1, sizeof(*common));
	pairs = OPENSSL_zalloc(connections * sizeof(*pairs));
	check(common && pairs, "memory");
	contexts[CLIENT] = context_with(TLS_client_method());
	contexts[SERVER] = context_with(TLS_server_method());
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "fork\n")) {
			start_second();
		} else if (!strcmp(line, "open\n")) {
			for (int i = 0; i < connections; i++)
				open_pair(pairs[i]);
		} else if (!strcmp(line, "say\n")) {
			let_say();
		} else if (!strcmp(line, "flood\n")) {
			atomic_store(&flooding, 1);
			check(!pthread_create(&flooder, NULL, flood, NULL), "pthread_create");
		} else if (!strcmp(line, "rest\n")) {
			atomic_store(&flooding, 0);
			pthread_join(flooder, NULL);
		} else if (!strcmp(line, "close\n")) {
			end_all(SSL_free);
			memset(pairs, 0, connections * sizeof(*pairs));
		} else if (!strcmp(line, "clear\n")) {
			end_all(clear);
		}
		printf("%lu\n", atomic_load(&common->passed));
		fflush(stdout);
	}
	_exit(0);
}
