/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Keeps which connections there are, and finds the one of a handle.
 *
 * A process may leave some open when it ends or runs another program; its handles are gone then. Skipped
 * bytes of these are reported now, because skips add up before they are reported (walk.bpf.h). Then their
 * entries are removed.
 */
#ifndef WSTAP_CONNECTIONS_BPF_H
#define WSTAP_CONNECTIONS_BPF_H

#include "stream/emit.bpf.h"

/* Whose connection an object at this address is: the process's, or that of all which share the memory. */
static __noinline __u32 owner_of(__u64 handle, __u32 memory)
{
	const struct wstap_memory *shared = bpf_map_lookup_elem(&memories, &memory);

	if (shared && handle >= shared->start && handle < shared->end)
		return WSTAP_IN_MEMORY | memory;
	return bpf_get_current_pid_tgid() >> 32;
}

/* The key of a connection of this process, whose tgid this is. */
static __always_inline struct conn_key conn_key(const struct wstap_tapped *process, __u32 tgid,
						__u64 handle)
{
	struct conn_key key = { .handle = handle, .tgid = tgid };

	if (process->memory)
		key.tgid = owner_of(handle, process->memory);
	return key;
}

/* Whether a connection belongs to an earlier process of this pid, or to the program before exec. */
static __always_inline bool is_stale(const struct conn *conn, __u32 born)
{
	return (__s32)(conn->generation - born) <= 0;
}

/* A connection of this process has been added to `conns`, or removed from it. */
static __always_inline void count_connection(__u32 tgid, __s32 change)
{
	__u32 *count = bpf_map_lookup_elem(&conns_of_process, &tgid);
	__u32 first = 1;

	__sync_fetch_and_add(&connections_open, change);
	if (!count && change > 0) {
		if (!bpf_map_update_elem(&conns_of_process, &tgid, &first, BPF_NOEXIST))
			return;
		count = bpf_map_lookup_elem(&conns_of_process, &tgid);
	}
	if (count)
		__sync_fetch_and_add(count, change);
}

/* Whose streams of HTTP/2 are gone. */
struct http2_owner {
	__u32 tgid;
	__u32 generation; /* 0 = all connections of the process */
};

static long leave_stream(void *map __attribute__((unused)), const struct http2_key *key,
			 void *stream __attribute__((unused)), const struct http2_owner *of)
{
	struct http2_key own = *key;

	if (own.tgid == of->tgid && (!of->generation || own.generation == of->generation))
		bpf_map_delete_elem(&http2_streams, &own);
	return 0;
}

static __noinline int leave_streams(__u32 tgid, __u32 generation)
{
	struct http2_owner of = { .tgid = tgid, .generation = generation };

	bpf_for_each_map_elem(&http2_streams, leave_stream, &of, 0);
	return 0;
}

static __always_inline void remove_connection(const struct conn_key *key, const struct conn *conn)
{
	if (conn->followed)
		leave_streams(conn->opener, conn->generation);
	if (!bpf_map_delete_elem(&conns, key))
		count_connection(key->tgid, -1);
}

/* A connection that is seen for the first time, with a generation of its own. NULL if there are too
 * many. */
static __noinline struct conn *new_connection(struct report *report, const struct conn_key *key)
{
	struct conn_key own = *key;
	struct conn *conn = bpf_map_lookup_elem(&conns, &own);

	/* Of an earlier process. */
	if (conn)
		remove_connection(&own, conn);
	/* Before a generation is given: there are not enough for every call that is not followed. */
	if (*(volatile __u32 *)&connections_open >= connections_max)
		return NULL;
	/* No other field is ever written. */
	report->fresh.generation = __sync_fetch_and_add(&generations, 1) + 1;
	report->fresh.opener = report->thread >> 32;
	/* Another thread may be first, with the other direction: then its entry counts. */
	if (!bpf_map_update_elem(&conns, &own, &report->fresh, BPF_NOEXIST))
		count_connection(own.tgid, 1);
	return bpf_map_lookup_elem(&conns, &own);
}

/* Whether a connection is one of this process, or in memory that it shares: what lies there outlives the
 * processes that were there before. */
static __always_inline bool is_current(const struct conn_key *key, const struct conn *conn,
				       __u32 born)
{
	return (key->tgid & WSTAP_IN_MEMORY) || !is_stale(conn, born);
}

/* The connection of this key, or NULL if it was not seen before. */
static __always_inline struct conn *known_connection(const struct conn_key *key, __u32 born)
{
	struct conn *conn = bpf_map_lookup_elem(&conns, key);

	return conn && is_current(key, conn, born) ? conn : NULL;
}

/* The connection of a handle, or NULL if there are too many. */
static __always_inline struct conn *conn_of(struct report *report,
					    const struct wstap_tapped *process)
{
	struct conn_key key = conn_key(process, report->thread >> 32, report->handle);
	struct conn *conn = known_connection(&key, process->born);

	return conn ? conn : new_connection(report, &key);
}

/* Records of a connection bear one tgid, also where several processes use it. */
static __always_inline void ascribe(struct report *report, const struct conn *conn)
{
	report->thread = (__u64)conn->opener << 32 | (__u32)report->thread;
}

/* A call has passed bytes on a connection that is not followed. */
static __always_inline void count_too_many(__u64 bytes)
{
	__sync_fetch_and_add(&losses.too_many_calls, 1);
	__sync_fetch_and_add(&losses.too_many_bytes, bytes);
}

static __always_inline void report_closed(const struct report *report, const struct conn *conn)
{
	struct wstap_record *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);

	if (!r)
		r = bpf_ringbuf_reserve(&closings, sizeof(*r), 0);
	if (!r) {
		__sync_fetch_and_add(&losses.connection_ends, 1);
		return;
	}
	fill_header(r, report, conn->streams[WSTAP_SENT].offset,
		    conn->streams[WSTAP_RECEIVED].offset);
	r->kind = WSTAP_CLOSED;
	bpf_ringbuf_submit(r, wakeup_by_fill());
}

struct remainder {
	struct report *report; /* of the process */
	__u32 born;
	__u32 followed; /* some connection had streams that may be WebSockets */
};

/* Reports the skipped bytes of one connection that were not reported yet. */
static __always_inline void tell_remainder(const struct conn_key *key, struct conn *conn,
					   struct report *report)
{
	report->handle = key->handle;
	report->generation = conn->generation;
	for (int i = 0; i < 2; i++) {
		struct stream *s = &conn->streams[i];

		if (s->skipping)
			emit_hole(report, i, s->skip_from, s->offset, WSTAP_SKIPPED);
		s->skipping = 0;
	}
}

/* Called for each connection of any process. */
static long leave_connection(void *map __attribute__((unused)), const struct conn_key *key,
			     struct conn *conn, struct remainder *of)
{
	struct conn_key own = *key;

	if (own.tgid != of->report->thread >> 32)
		return 0;
	of->followed |= conn->followed;
	/* Nothing was reported of sockets that carry TLS. */
	if (!is_stale(conn, of->born) && !conn->encrypted)
		tell_remainder(&own, conn, of->report);
	if (!bpf_map_delete_elem(&conns, &own))
		__sync_fetch_and_add(&connections_open, -1);
	return 0;
}

/* Ends all connections of the process that `thread` belongs to. */
static __noinline int leave_connections(struct thread *thread, const struct wstap_tapped *process)
{
	struct remainder of = { .report = &thread->report, .born = process->born };

	of.report->thread = bpf_get_current_pid_tgid();
	of.report->at_ns = bpf_ktime_get_ns();
	of.report->target = process->target;
	bpf_for_each_map_elem(&conns, leave_connection, &of, 0);
	if (of.followed)
		leave_streams(of.report->thread >> 32, 0);
	return 0;
}

#endif
