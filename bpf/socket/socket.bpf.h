/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The programs on TCP sockets: what a process reads and writes without TLS.
 *
 * They are on the kernel's own tracepoints behind every send and receive. The tracepoint gives the
 * socket and the count; the arguments of the thread's system call give the address of the bytes. Every
 * socket call on the machine runs these programs. In a process that is not tapped they cost one look-up.
 *
 * TCP's own sequence numbers give the offset in the stream. So bytes that pass in a way that cannot
 * be followed (sendfile, splice, io_uring) are a hole of exactly their size.
 */
#ifndef WSTAP_SOCKET_BPF_H
#define WSTAP_SOCKET_BPF_H

/* A program on a tracepoint must not sleep. */
#define NEVER_SLEEPS

#include "process.bpf.h"
#include "socket/records.bpf.h"

enum {
	/* include/linux/socket.h */
	MSG_OOB = 0x1,
	MSG_PEEK = 0x2,
	MSG_TRUNC = 0x20,
	MSG_ERRQUEUE = 0x2000,
	/* include/net/sock.h, include/net/tcp_states.h */
	RCV_SHUTDOWN = 1,
	SHUTDOWN_MASK = 3,
	TCP_SYN_SENT = 2,
	/* Of an inode number, in a handle. */
	SOCKET_INODE_BITS = 48,
};

/* Which connection a socket is. A socket may end after its process. */
struct socket_owner {
	__u64 handle;
	__u32 tgid;
	__u32 pad;
	struct report report; /* of its end */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_owner);
} socket_owners SEC(".maps");

static __always_inline struct wstap_tapped *tapped_sockets(void)
{
	struct wstap_tapped *process = tapped_process();

	return process && (process->flags & WSTAP_SOCKETS) ? process : NULL;
}

/* 0 where the socket is the kernel's own. */
static __always_inline __u64 socket_handle(struct sock *sk)
{
	struct socket *socket = sk->sk_socket;
	struct file *file;
	struct inode *inode;

	if (!socket)
		return 0;
	file = socket->file;
	if (!file)
		return 0;
	inode = file->f_inode;
	if (!inode)
		return 0;
	return WSTAP_SOCKET_HANDLE | (inode->i_ino & ((1ULL << SOCKET_INODE_BITS) - 1));
}

/* Bytes up to the number `seq` have passed, and no call has reported them. */
static __noinline int pass_unseen(struct report *report, struct stream *s, __u32 seq)
{
	__s32 unseen = seq - s->seq;
	__u64 from = s->offset;
	__u32 why = WSTAP_SKIPPED;

	if (!s->has_seq || unseen <= 0)
		return 0;
	s->offset += unseen;
	s->seq = seq;
	if (s->mode == STREAM_IGNORE) {
		report->pos = from;
		skip_to(report, s, s->offset);
		return 0;
	}
	if (s->skipping)
		report_skipped(report, s, report->direction, from);
	/* The body of an HTTP answer may take such a way. A frame that does is lost. */
	if (s->mode == STREAM_WALK || s->mode == STREAM_HTTP2) {
		s->mode = STREAM_COPY;
		why = WSTAP_COPY_FAILED;
		count_copy_failed(unseen);
	}
	emit_hole(report, report->direction, from, s->offset, why);
	return 0;
}

static __always_inline void report_encrypted(const struct report *report, struct conn *conn)
{
	struct wstap_record *r;

	conn->encrypted = 1;
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	/* The reader asked not to get these bytes: no loss. */
	if (!r)
		return;
	fill_header(r, report, 0, 0);
	r->kind = WSTAP_ENCRYPTED;
	bpf_ringbuf_submit(r, 0);
}

static __always_inline void walk_segments(struct socket_call *call, struct conn *conn)
{
	begin_call(&call->report, conn);
	if (!walk_segments_on(call, conn, 0))
		walk_other_segments(call, conn);
}

static __noinline int report_socket_call(struct socket_call *call, struct conn *conn)
{
	struct report *report = &call->report;
	struct stream *s;

	s = &conn->streams[report->direction & 1];
	report->generation = conn->generation;
	if (!take_buffers(call)) {
		pass_unseen(report, s, call->seq);
		return 0;
	}
	pass_unseen(report, s, call->seq - call->count);
	report->base = s->offset;
	report->pos = s->offset;
	report->end = s->offset;
	call->end = s->offset + call->count;
	next_segment(call);
	switch (recognise_tls(call, s)) {
	case TLS_CERTAINLY:
		report_encrypted(report, conn);
		return 0;
	case TLS_PERHAPS:
		skip_to(report, s, call->end);
		break;
	default:
		walk_segments(call, conn);
	}
	if (report->pos < call->end) {
		report->end = call->end;
		give_up(report, s);
	}
	if (report->direction == WSTAP_SENT && (call->segments || call->spare))
		call->messages = 0;
	s->offset = call->end;
	s->seq = call->seq;
	s->has_seq = 1;
	return 0;
}

/* On first sight a connection is stored with its socket. */
static __always_inline void own_socket(struct sock *sk, __u64 handle, __u32 tgid)
{
	struct socket_owner *owner =
		bpf_sk_storage_get(&socket_owners, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!owner)
		return;
	owner->handle = handle;
	owner->tgid = tgid;
}

/* A function of its own, so that the frame of its caller stays small (struct thread says why). */
static __noinline struct conn *conn_of_socket(struct report *report,
					      const struct wstap_tapped *process)
{
	return conn_of(report, process);
}

static __always_inline void socket_passed(struct sock *sk, const struct wstap_tapped *process,
					  __u32 direction, __u32 count)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u64 thread = bpf_get_current_pid_tgid();
	__u64 handle = socket_handle(sk);
	struct socket_call *call;
	struct conn *conn;
	struct stream *s;
	__u32 seq;

	/* The kernel runs a protocol on top of this socket. If it is TLS, it is tapped as TLS. */
	if (!tcp || !handle || tcp->inet_conn.icsk_ulp_ops)
		return;
	call = bpf_task_storage_get(&socket_calls, bpf_get_current_task_btf(), NULL,
				    BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!call) {
		__sync_fetch_and_add(&losses.untracked_calls, 1);
		return;
	}
	call->report.thread = thread;
	call->report.handle = handle;
	conn = conn_of_socket(&call->report, process);
	if (!conn) {
		count_too_many(count);
		return;
	}
	if (conn->encrypted)
		return;
	if (!conn->streams[0].has_seq && !conn->streams[1].has_seq)
		own_socket(sk, handle, thread >> 32);
	s = &conn->streams[direction & 1];
	seq = direction == WSTAP_SENT ? tcp->write_seq : tcp->copied_seq;
	if (s->has_end || (s->has_seq && (__s32)(seq - s->seq) <= 0))
		return;
	/* The end of the stream has a number, too. */
	if (direction == WSTAP_RECEIVED && (sk->sk_shutdown & RCV_SHUTDOWN) && s->has_seq &&
	    seq - count - 1 == s->seq) {
		s->has_end = 1;
		seq--;
	}
	call->report.at_ns = bpf_ktime_get_ns();
	call->report.target = process->target;
	call->report.direction = direction;
	call->seq = seq;
	call->count = count;
	report_socket_call(call, conn);
}

/* An error, or nothing, ends a call that passes several messages. */
static __always_inline void nothing_passed(void)
{
	struct socket_call *call =
		bpf_task_storage_get(&socket_calls, bpf_get_current_task_btf(), NULL, 0);

	if (call)
		call->messages = 0;
}

static __always_inline int call_sent(struct sock *sk, int count)
{
	struct wstap_tapped *process = tapped_sockets();

	if (!process)
		return 0;
	if (count > 0)
		socket_passed(sk, process, WSTAP_SENT, count);
	else
		nothing_passed();
	return 0;
}

static __always_inline int call_received(struct sock *sk, int count, int flags)
{
	struct wstap_tapped *process = tapped_sockets();

	if (!process)
		return 0;
	/* Peeked bytes pass again later. Bytes that the call discards, and the urgent byte, show as
	 * holes. */
	if (flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB | MSG_TRUNC))
		return 0;
	if (count > 0)
		socket_passed(sk, process, WSTAP_RECEIVED, count);
	else
		nothing_passed();
	return 0;
}

/* struct sock *sk, int ret, int flags. Each program is attached twice, for the reason that
 * process.bpf.h gives. The second copy sees by TCP's numbers whether the first one reported the call. */
SEC("tp_btf/sock_send_length")
int socket_sent(__u64 *args)
{
	return call_sent((struct sock *)args[0], args[1]);
}

SEC("tp_btf/sock_send_length")
int socket_sent_backup(__u64 *args)
{
	return call_sent((struct sock *)args[0], args[1]);
}

SEC("tp_btf/sock_recv_length")
int socket_received(__u64 *args)
{
	return call_received((struct sock *)args[0], args[1], args[2]);
}

SEC("tp_btf/sock_recv_length")
int socket_received_backup(__u64 *args)
{
	return call_received((struct sock *)args[0], args[1], args[2]);
}

/* May run in any process, or in none. */
static __always_inline void report_end(struct socket_owner *owner)
{
	struct conn_key key = { .handle = owner->handle, .tgid = owner->tgid };
	struct wstap_tapped *process = bpf_map_lookup_elem(&tapped, &key.tgid);
	struct conn *conn = bpf_map_lookup_elem(&conns, &key);
	__u64 thread = bpf_get_current_pid_tgid();
	struct report *report = &owner->report;

	if (!process || !conn || is_stale(conn, process->born))
		return;
	report->thread = thread >> 32 == owner->tgid ? thread : (__u64)owner->tgid << 32;
	report->at_ns = bpf_ktime_get_ns();
	report->handle = owner->handle;
	report->generation = conn->generation;
	report->target = process->target;
	/* Nothing was reported for sockets that carry TLS. */
	if (!conn->encrypted) {
		for (int i = 0; i < 2; i++)
			if (conn->streams[i].skipping)
				report_skipped(report, &conn->streams[i], i,
					       conn->streams[i].offset);
		report_closed(report, conn);
	}
	remove_connection(&key, conn);
}

static __always_inline void end_socket(struct sock *sk)
{
	struct socket_owner *owner = bpf_sk_storage_get(&socket_owners, sk, NULL, 0);

	if (!owner)
		return;
	report_end(owner);
	bpf_sk_storage_delete(&socket_owners, sk);
}

/* The process has shut the socket both ways, long before TCP is done with it. Or the socket was
 * connected; that may happen more than once, because connect() to AF_UNSPEC undoes it (net/ipv4/tcp.c,
 * tcp_disconnect). What passes afterwards is another connection with its own numbers. */
static __always_inline int changed(struct sock *sk, int state)
{
	if (sk->sk_shutdown == SHUTDOWN_MASK || state == TCP_SYN_SENT)
		end_socket(sk);
	return 0;
}

/* const struct sock *sk, int oldstate, int newstate */
SEC("tp_btf/inet_sock_set_state")
int socket_changed(__u64 *args)
{
	return changed((struct sock *)args[0], args[2]);
}

SEC("tp_btf/inet_sock_set_state")
int socket_changed_backup(__u64 *args)
{
	return changed((struct sock *)args[0], args[2]);
}

/* struct sock *sk. The socket ends here at the latest. */
SEC("tp_btf/tcp_destroy_sock")
int socket_destroyed(__u64 *args)
{
	end_socket((struct sock *)args[0]);
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int socket_destroyed_backup(__u64 *args)
{
	end_socket((struct sock *)args[0]);
	return 0;
}

#endif
