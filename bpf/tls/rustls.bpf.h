/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The programs on two private functions of rustls 0.23, and on two functions of older versions. The
 * functions of 0.23 take Rust structs. symbols/ has checked that the code reads these structs in
 * the way that is done here. All are entry probes: a panic could not unwind through a return probe.
 *
 * The state of a connection moves whenever its owner does, so its address cannot be the handle. The
 * object that encrypts for it is on the heap, and stays until the keys are changed. Its address is
 * the handle; the cookie says where in the state it stands.
 */
#ifndef WSTAP_RUSTLS_BPF_H
#define WSTAP_RUSTLS_BPF_H

#include "tls/tls.bpf.h"

#if defined(__TARGET_ARCH_x86)
#define RUSTLS_COUNT(ctx) ((ctx)->ax)
/* io::Result<usize>: zero, and the number; or another value, and the error. */
#define RUSTLS_FAILED(ctx) ((ctx)->ax)
#define RUSTLS_READ(ctx) ((ctx)->dx)
#else
/* rustls is tapped on x86-64 only: symbols/ plans no such probe for another machine. */
#define RUSTLS_COUNT(ctx) 0
#define RUSTLS_FAILED(ctx) 1
#define RUSTLS_READ(ctx) 0
#endif

enum {
	/* Slices of one call that are followed. Bytes of further slices are counted as not
	 * copied. */
	RUSTLS_SLICES = 64,
};

struct rustls_call_key {
	__u64 thread;
	__u64 sp;
};

/* Calls between entry and return. A call that a panic leaves never returns, so the entries
 * unused for longest are dropped first. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct rustls_call_key);
	__type(value, struct sliced_call);
} rustls_calls SEC(".maps");

/* The connection whose state is `at`, or of which that is a part; 0 if there is none. */
static __always_inline __u64 rustls_handle(struct pt_regs *ctx, __u64 at)
{
	__u64 handle = 0;

	if (read_user(&handle, sizeof(handle), at + bpf_get_attach_cookie(ctx)))
		return 0;
	return handle;
}

/* Notes the arguments of a call at its entry. Returns the thread's state if the call is to be
 * reported. */
static __always_inline struct thread *rustls_begin(struct pt_regs *ctx, struct thread *thread, __u64 at)
{
	struct call_args *args;

	/* The probe may have been placed for other processes. */
	if (!thread)
		return NULL;
	args = &thread->entering.args;
	args->sp = PT_REGS_SP(ctx);
	args->at_ns = bpf_ktime_get_ns();
	args->process = thread->process;
	args->handle = rustls_handle(ctx, at);
	if (args->handle)
		return thread;
	__sync_fetch_and_add(&losses.untracked_calls, 1);
	return NULL;
}

/* Keeps the noted arguments until the call returns. */
static __always_inline void rustls_keep(struct sliced_call *call)
{
	struct rustls_call_key key = {
		.thread = bpf_get_current_pid_tgid(),
		.sp = call->args.sp,
	};

	if (bpf_map_update_elem(&rustls_calls, &key, call, BPF_ANY))
		__sync_fetch_and_add(&losses.untracked_calls, 1);
}

SEC("uprobe")
int rustls_send(struct pt_regs *ctx)
{
	struct thread *thread = rustls_begin(ctx, tapped_thread(), PT_REGS_PARM1(ctx));
	struct sliced_call *call;
	__u64 chunks[3];

	if (!thread)
		return 0;
	if (read_user(chunks, sizeof(chunks), PT_REGS_PARM2(ctx))) {
		__sync_fetch_and_add(&losses.untracked_calls, 1);
		return 0;
	}
	call = &thread->entering;
	call->args.buffer = chunks[1];
	call->slices = chunks[0];
	call->from = chunks[2];
	rustls_keep(call);
	return 0;
}

/* CommonState::send_some_plaintext() before 0.23: the state, an address, a length. */
SEC("uprobe")
int rustls_write(struct pt_regs *ctx)
{
	struct thread *thread = rustls_begin(ctx, tapped_thread(), PT_REGS_PARM1(ctx));

	if (!thread)
		return 0;
	thread->entering.args.buffer = PT_REGS_PARM2(ctx);
	thread->entering.slices = 0;
	rustls_keep(&thread->entering);
	return 0;
}

/* Reader::read() before 0.23: a structure that begins with the address of a part of the state, the
 * address of a buffer, its length. */
SEC("uprobe")
int rustls_read(struct pt_regs *ctx)
{
	struct thread *thread = tapped_thread();
	__u64 part;

	if (!thread)
		return 0;
	if (read_user(&part, sizeof(part), PT_REGS_PARM1(ctx))) {
		__sync_fetch_and_add(&losses.untracked_calls, 1);
		return 0;
	}
	if (!rustls_begin(ctx, thread, part))
		return 0;
	thread->entering.args.buffer = PT_REGS_PARM2(ctx);
	rustls_keep(&thread->entering);
	return 0;
}

SEC("uprobe")
int rustls_read_done(struct pt_regs *ctx)
{
	struct rustls_call_key key = {
		.thread = bpf_get_current_pid_tgid(),
		.sp = PT_REGS_SP(ctx),
	};
	struct sliced_call *call = bpf_map_lookup_elem(&rustls_calls, &key);
	struct thread *thread = this_thread(0);

	if (!call || !thread)
		return 0;
	if (!RUSTLS_FAILED(ctx) && RUSTLS_READ(ctx))
		report_call(&thread->report, &call->args, WSTAP_RECEIVED, RUSTLS_READ(ctx));
	bpf_map_delete_elem(&rustls_calls, &key);
	return 0;
}

/* What is left to report of a call. */
struct rustls_rest {
	struct thread *thread;
	struct sliced_call *call;
	__u64 count;
};

/* Reports what the next slice has: an address and a length, as Rust passes `&[u8]`. */
static long rustls_report_slice(__u32 index, struct rustls_rest *rest)
{
	struct sliced_call *call = rest->call;
	__u64 slice[2], passed;

	if (!rest->count || read_user(slice, sizeof(slice), call->slices + index * sizeof(slice)))
		return 1;
	if (slice[1] <= call->from) {
		call->from -= slice[1];
		return 0;
	}
	passed = slice[1] - call->from;
	if (passed > rest->count)
		passed = rest->count;
	call->args.buffer = slice[0] + call->from;
	call->from = 0;
	rest->count -= passed;
	report_call(&rest->thread->report, &call->args, WSTAP_SENT, passed);
	return 0;
}

/* A function of its own, to keep stack frames small, like walk_rest(). */
static __noinline int rustls_report_slices(struct rustls_rest *rest)
{
	if (has_loop)
		bpf_loop(RUSTLS_SLICES, rustls_report_slice, rest, 0);
	return 0;
}

SEC("uprobe")
int rustls_sent(struct pt_regs *ctx)
{
	struct rustls_call_key key = {
		.thread = bpf_get_current_pid_tgid(),
		.sp = PT_REGS_SP(ctx),
	};
	struct rustls_rest rest = {
		.thread = this_thread(0),
		.call = bpf_map_lookup_elem(&rustls_calls, &key),
		.count = RUSTLS_COUNT(ctx),
	};

	if (!rest.call || !rest.thread)
		return 0;
	if (rest.call->slices) {
		rustls_report_slices(&rest);
		/* Bytes that were not found are a hole at this offset of the stream. */
		rest.call->args.buffer = 0;
	}
	if (rest.count)
		report_call(&rest.thread->report, &rest.call->args, WSTAP_SENT, rest.count);
	bpf_map_delete_elem(&rustls_calls, &key);
	return 0;
}

SEC("uprobe")
int rustls_received(struct pt_regs *ctx)
{
	struct thread *thread = rustls_begin(ctx, tapped_thread(), PT_REGS_PARM1(ctx));
	struct call_args *args;
	__u64 payload[3];

	if (!thread)
		return 0;
	if (read_user(payload, sizeof(payload), PT_REGS_PARM2(ctx))) {
		__sync_fetch_and_add(&losses.untracked_calls, 1);
		return 0;
	}
	args = &thread->entering.args;
	args->buffer = payload[1];
	if (payload[2])
		report_call(&thread->report, args, WSTAP_RECEIVED, payload[2]);
	return 0;
}

SEC("uprobe")
int rustls_release(struct pt_regs *ctx)
{
	end_connection(rustls_handle(ctx, PT_REGS_PARM1(ctx)), false);
	return 0;
}

#endif
