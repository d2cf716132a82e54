/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The programs on the methods of Go's crypto/tls.Conn. All are entry probes: a return probe would
 * put a return address on a goroutine's stack that Go does not know, and Go checks.
 *
 * Arguments and results are in registers of Go's own choice (src/cmd/compile/abi-internal.md in the
 * Go sources, since Go 1.17). A goroutine may return on another thread than it was called on, and
 * its stack may have moved meanwhile: calls are found again by the goroutine and by how deep in its
 * stack they are, which a move does not change.
 */
#ifndef WSTAP_GO_BPF_H
#define WSTAP_GO_BPF_H

#include "tls/tls.bpf.h"

#if defined(__TARGET_ARCH_x86)
#define GO_RECEIVER(ctx) ((ctx)->ax)
#define GO_BUFFER(ctx) ((ctx)->bx)
#define GO_RESULT(ctx) ((ctx)->ax)
#define GO_GOROUTINE(ctx) ((ctx)->r14)
#else
/* Go programs are tapped on x86-64 only: symbols/ plans no such probe for another machine. */
#define GO_RECEIVER(ctx) 0
#define GO_BUFFER(ctx) 0
#define GO_RESULT(ctx) 0
#define GO_GOROUTINE(ctx) 0
#endif

enum {
	/* struct g begins with the bounds of its stack: lo, hi (src/runtime/runtime2.go). */
	GO_STACK_HI = 8,
};

struct go_call_key {
	__u64 goroutine; /* struct g * */
	__u64 depth;	 /* bytes from the stack's end: tells nested calls apart */
	__u32 tgid;
	__u32 pad;
};

/* Calls between entry and return. A call that a panic leaves never returns, so the entries
 * unused for longest are dropped first. Userspace makes the map larger than `conns`, because
 * each connection may wait in a call to read. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct go_call_key);
	__type(value, struct call_args);
} go_calls SEC(".maps");

/* Which call of which goroutine this is: the same at its entry and at its return, where the stack
 * pointer points to the return address both times. */
static __always_inline bool go_call_key(struct pt_regs *ctx, struct go_call_key *key)
{
	__u64 stack_hi;

	key->goroutine = GO_GOROUTINE(ctx);
	key->tgid = bpf_get_current_pid_tgid() >> 32;
	if (read_user(&stack_hi, sizeof(stack_hi), key->goroutine + GO_STACK_HI))
		return false;
	key->depth = stack_hi - PT_REGS_SP(ctx);
	return true;
}

SEC("uprobe")
int go_enter(struct pt_regs *ctx)
{
	struct thread *thread = tapped_thread();
	struct go_call_key key = {};
	struct call_args *args;

	/* The probe may have been placed for other processes. */
	if (!thread)
		return 0;
	if (!go_call_key(ctx, &key)) {
		__sync_fetch_and_add(&losses.untracked_calls, 1);
		return 0;
	}
	args = &thread->entering.args;
	args->at_ns = bpf_ktime_get_ns();
	args->handle = GO_RECEIVER(ctx);
	args->buffer = GO_BUFFER(ctx);
	args->process = thread->process;
	/* An entry that exists is this very call before its stack was grown, or a call that never
	 * returned. */
	if (bpf_map_update_elem(&go_calls, &key, args, BPF_ANY))
		__sync_fetch_and_add(&losses.untracked_calls, 1);
	return 0;
}

/* The goroutine may have been entered on another thread. */
static __always_inline void go_report(const struct call_args *args, __u32 direction, __u64 count)
{
	struct thread *thread = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (!thread) {
		__sync_fetch_and_add(&losses.untracked_calls, 1);
		return;
	}
	thread->report.ids = bpf_get_current_pid_tgid();
	report_call(&thread->report, args, direction, count);
}

SEC("uprobe")
int go_return(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__s64 count = GO_RESULT(ctx);
	struct go_call_key key = {};
	struct call_args *args;

	if (!go_call_key(ctx, &key))
		return 0;
	args = bpf_map_lookup_elem(&go_calls, &key);
	if (!args) {
		/* Mostly its goroutine was waiting in it when the process was tapped. */
		if (count > 0 && tapped_thread())
			count_in_flight(count);
		return 0;
	}
	/* Bytes may pass and an error be returned as well: the bytes count. */
	if (count > 0)
		go_report(args, cookie & WSTAP_COOKIE_DIRECTION, count);
	bpf_map_delete_elem(&go_calls, &key);
	return 0;
}

/* (*Conn).Close: the garbage collector may give its memory to another connection. */
SEC("uprobe")
int go_release(struct pt_regs *ctx)
{
	end_connection(GO_RECEIVER(ctx), false);
	return 0;
}

#endif
