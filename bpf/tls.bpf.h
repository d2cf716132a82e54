/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The programs on the TLS library's functions. One entry and one return program serve all of
 * them; the attach cookie says which arguments matter (events.h). Only bytes of a call that
 * succeeded exist: retries, peeks and failures report nothing.
 */
#ifndef WSTAP_TLS_BPF_H
#define WSTAP_TLS_BPF_H

#include "process.bpf.h"
#include "walk.bpf.h"

#if defined(__TARGET_ARCH_x86)
/* `ret` has popped the return address when the return program runs. */
#define SP_AT_ENTRY(ctx) (PT_REGS_SP(ctx) - 8)
#else
#define SP_AT_ENTRY(ctx) (PT_REGS_SP(ctx))
#endif

/* The verifier wants constant offsets into the registers; without the fence clang would choose the
 * address first and load once. */
#define ARGUMENT_CASE(number, parameter)                                                           \
	case number:                                                                               \
		value = parameter(ctx);                                                            \
		opaque(value);                                                                     \
		return value

static __always_inline __u64 argument(struct pt_regs *ctx, __u32 number)
{
	__u64 value;

	switch (number & 15) {
		ARGUMENT_CASE(0, PT_REGS_PARM1);
		ARGUMENT_CASE(1, PT_REGS_PARM2);
		ARGUMENT_CASE(2, PT_REGS_PARM3);
		ARGUMENT_CASE(3, PT_REGS_PARM4);
		ARGUMENT_CASE(4, PT_REGS_PARM5);
	default:
		value = PT_REGS_PARM6(ctx);
		opaque(value);
		return value;
	}
}

static __always_inline struct thread_calls *thread_calls(__u64 flags)
{
	return bpf_task_storage_get(&calls, bpf_get_current_task_btf(), NULL, flags);
}

SEC("uprobe")
int tap_entry(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct wstap_tapped *process = tapped_process();
	struct thread_calls *thread;
	struct call_args *args = NULL;
	__u64 sp = PT_REGS_SP(ctx);

	/* The probe may be there for others. */
	if (!process)
		return 0;
	thread = thread_calls(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!thread) {
		__sync_fetch_and_add(&losses.untracked_calls, 1);
		return 0;
	}
	/* A slot with this stack pointer is a call that never returned (longjmp): reuse it. */
	for (int i = CALL_DEPTH - 1; i >= 0; i--)
		if (!thread->slots[i].sp || thread->slots[i].sp == sp)
			args = &thread->slots[i];
	if (!args) {
		__sync_fetch_and_add(&losses.untracked_calls, 1);
		return 0;
	}
	args->sp = sp;
	args->process = *process;
	args->at_ns = bpf_ktime_get_ns();
	args->handle = argument(ctx, cookie >> WSTAP_COOKIE_HANDLE_SHIFT);
	args->buffer = argument(ctx, cookie >> WSTAP_COOKIE_BUFFER_SHIFT);
	args->count_at = 0;
	if (cookie & WSTAP_COOKIE_STATUS)
		args->count_at = argument(ctx, cookie >> WSTAP_COOKIE_COUNT_SHIFT);
	return 0;
}

/* Bytes that the call passed; 0 if it failed. */
static __always_inline __u64 bytes_passed(struct pt_regs *ctx, __u64 cookie, __u64 count_at)
{
	/* Of a function that returns int the upper half of the register is not its own. */
	__s64 result = cookie & WSTAP_COOKIE_LONG ? (__s64)PT_REGS_RC(ctx)
						  : (__s32)PT_REGS_RC(ctx);
	__u64 count = 0;

	if (result <= 0)
		return 0;
	if (!(cookie & WSTAP_COOKIE_STATUS))
		return result;
	if (read_user(&count, sizeof(count), count_at))
		return 0;
	return count;
}

/* Whether a connection belongs to an earlier process of this pid, or to the program before exec. */
static __always_inline bool is_stale(const struct conn *conn, __u32 born)
{
	return (__s32)(conn->generation - born) <= 0;
}

/* The connection of a handle; made on first sight, with a generation of its own. */
static __always_inline struct conn *conn_of(__u64 handle, __u32 born)
{
	struct conn_key key = { .handle = handle, .tgid = bpf_get_current_pid_tgid() >> 32 };
	struct conn *conn = bpf_map_lookup_elem(&conns, &key);
	struct conn fresh = {};

	if (conn && !is_stale(conn, born))
		return conn;
	if (conn)
		bpf_map_delete_elem(&conns, &key);
	fresh.generation = __sync_fetch_and_add(&generations, 1) + 1;
	/* Another thread may be first, with the other direction: then its entry counts. */
	bpf_map_update_elem(&conns, &key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&conns, &key);
}

/* Reports the `count` bytes that a call passed which was entered with `args`. */
static __always_inline void report_call(const struct call_args *args, __u8 direction, __u64 count)
{
	struct report report = {};
	struct stream *s;

	report.handle = args->handle;
	report.buffer = args->buffer;
	report.direction = direction;
	report.target = args->process.target;
	report.at_ns = report.direction == WSTAP_SENT ? args->at_ns : bpf_ktime_get_ns();
	report.conn = conn_of(report.handle, args->process.born);
	if (!report.conn) {
		__sync_fetch_and_add(&losses.untracked_calls, 1);
		return;
	}
	s = &report.conn->streams[report.direction & 1];
	report.base = s->offset;
	report.pos = report.base;
	report.end = report.base + count;
	walk(&report);
	s->offset = report.end;
}

SEC("uprobe")
int tap_return(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct thread_calls *thread = thread_calls(0);
	struct call_args *args = NULL;
	__u64 sp = SP_AT_ENTRY(ctx);
	__u64 count;

	if (!thread)
		return 0;
	for (int i = CALL_DEPTH - 1; i >= 0; i--)
		if (thread->slots[i].sp == sp)
			args = &thread->slots[i];
	if (!args)
		return 0;
	args->sp = 0;
	count = bytes_passed(ctx, cookie, args->count_at);
	if (count)
		report_call(args, cookie & WSTAP_COOKIE_DIRECTION, count);
	return 0;
}

/* Hops that were not reported yet must not look like a loss. */
static __always_inline void report_last_skip(struct report *report, __u8 direction)
{
	struct stream *s = &report->conn->streams[direction];

	if (!s->skipping)
		return;
	report->direction = direction;
	report->pos = s->offset;
	report_skipped(report, s);
}

static __always_inline void report_closed(const struct report *report)
{
	const struct stream *streams = report->conn->streams;
	struct wstap_record *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	__u64 id = bpf_get_current_pid_tgid();

	if (!r) {
		count_ring_full(0);
		return;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->at_ns = report->at_ns;
	r->handle = report->handle;
	r->offset = streams[WSTAP_SENT].offset;
	r->len = streams[WSTAP_RECEIVED].offset;
	r->tgid = id >> 32;
	r->tid = (__u32)id;
	r->generation = report->conn->generation;
	r->target = report->target;
	r->kind = WSTAP_CLOSED;
	bpf_ringbuf_submit(r, wakeup_flag(sizeof(*r), URGENT_BYTES));
}

/* The handle's next use is another connection. */
static __always_inline void end_connection(__u64 handle)
{
	struct wstap_tapped *process = tapped_process();
	struct conn_key key = {
		.handle = handle,
		.tgid = bpf_get_current_pid_tgid() >> 32,
	};
	struct report report = {
		.conn = bpf_map_lookup_elem(&conns, &key),
		.at_ns = bpf_ktime_get_ns(),
		.handle = key.handle,
	};

	if (!process || !report.conn || is_stale(report.conn, process->born))
		return;
	report.target = process->target;
	report_last_skip(&report, WSTAP_SENT);
	report_last_skip(&report, WSTAP_RECEIVED);
	report_closed(&report);
	bpf_map_delete_elem(&conns, &key);
}

/* SSL_free, SSL_clear and their like. */
SEC("uprobe")
int tap_release(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);

	end_connection(argument(ctx, cookie >> WSTAP_COOKIE_HANDLE_SHIFT));
	return 0;
}

#endif
