/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The programs on functions of TLS libraries. One program at entries and one at returns serve all
 * of them; the attach cookie says which arguments matter (events.h). Only a call that succeeded is
 * reported: retries, peeks and failures pass no bytes.
 */
#ifndef WSTAP_TLS_BPF_H
#define WSTAP_TLS_BPF_H

#include "process.bpf.h"
#include "stream/walk.bpf.h"

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

/* The call that was entered with this stack pointer. */
static __always_inline struct call_args *call_at(struct thread *thread, __u64 sp)
{
	for (int i = 0; i < CALL_DEPTH; i++)
		if (thread->calls[i].sp == sp)
			return &thread->calls[i];
	return NULL;
}

static __always_inline struct call_key call_key(__u64 sp)
{
	struct call_key key = { .sp = sp, .tgid = bpf_get_current_pid_tgid() >> 32 };

	return key;
}

/* A place for a call that is entered with this stack pointer. If all are taken, one of the calls
 * moves to the map. Each moves in its turn, because one may never return. */
static __noinline struct call_args *place_for(struct thread *thread, __u64 sp)
{
	/* One with this stack pointer has never returned (longjmp). */
	struct call_args *args = call_at(thread, sp);
	struct call_key key;

	if (!args)
		args = call_at(thread, 0);
	if (args)
		return args;
	args = &thread->calls[thread->displaced++ % CALL_DEPTH];
	key = call_key(args->sp);
	if (bpf_map_update_elem(&more_calls, &key, args, BPF_ANY))
		__sync_fetch_and_add(&losses.untracked_calls, 1);
	return args;
}

/* Whether an NSPR descriptor is a layer, as TLS is, and no file, pipe or bare socket: its first word
 * points to its methods, which begin with a type (prio.h). */
static __noinline bool is_layer(__u64 descriptor)
{
	enum { PR_DESC_LAYERED = 4 };
	__u64 methods = 0;
	__u32 type = 0;

	if (read_user(&methods, sizeof(methods), descriptor))
		return false;
	return !read_user(&type, sizeof(type), methods) && type == PR_DESC_LAYERED;
}

SEC("uprobe")
int tap_entry(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct thread *thread = tapped_thread();
	__u64 sp = PT_REGS_SP(ctx);
	struct call_args *args;

	/* The probe may have been placed for other processes. */
	if (!thread)
		return 0;
	thread->entered = 1;
	args = place_for(thread, sp);
	args->sp = sp;
	args->process = thread->process;
	if ((cookie & WSTAP_COOKIE_DIRECTION) == WSTAP_SENT)
		args->at_ns = bpf_ktime_get_ns();
	args->handle = argument(ctx, cookie >> WSTAP_COOKIE_HANDLE_SHIFT);
	args->buffer = argument(ctx, cookie >> WSTAP_COOKIE_BUFFER_SHIFT);
	args->count_at = 0;
	if (cookie & WSTAP_COOKIE_STATUS)
		args->count_at = argument(ctx, cookie >> WSTAP_COOKIE_COUNT_SHIFT);
	if (cookie & WSTAP_COOKIE_LAYERS) {
		if (!is_layer(args->handle))
			args->sp = 0;
		args->handle |= WSTAP_LAYER_HANDLE;
	}
	return 0;
}

/* Bytes that the call with this result passed; 0 if it failed. */
static __always_inline __u64 bytes_passed(__u64 value, __u64 cookie, __u64 count_at)
{
	/* Of a function that returns int the upper half of the register is not its own. */
	__s64 result = cookie & WSTAP_COOKIE_LONG ? (__s64)value : (__s32)value;
	__u64 count = 0;

	if (result <= 0)
		return 0;
	if (!(cookie & WSTAP_COOKIE_STATUS))
		return result;
	if (read_user(&count, sizeof(count), count_at))
		return 0;
	return count;
}

/* A call has passed bytes on a connection that is not followed. */
static __always_inline void count_too_many(__u64 bytes)
{
	__sync_fetch_and_add(&losses.too_many_calls, 1);
	__sync_fetch_and_add(&losses.too_many_bytes, bytes);
}

/* Reports the `count` bytes that a call passed. `args` are its arguments at entry. */
static __noinline int report_call(struct report *report, const struct call_args *args,
				  __u32 direction, __u64 count)
{
	struct conn *conn;
	struct stream *s;

	report->thread = bpf_get_current_pid_tgid();
	report->handle = args->handle;
	report->buffer = args->buffer;
	report->direction = direction;
	report->target = args->process.target;
	report->at_ns = direction == WSTAP_SENT ? args->at_ns : bpf_ktime_get_ns();
	conn = conn_of(report, &args->process);
	if (!conn) {
		count_too_many(count);
		return 0;
	}
	if (args->process.memory)
		ascribe(report, conn);
	s = &conn->streams[direction & 1];
	report->generation = conn->generation;
	report->base = s->offset;
	report->pos = report->base;
	report->end = report->base + count;
	walk(report, conn);
	s->offset = report->end;
	return 0;
}

/* Moves a call to `entering` that the thread had no place for; false if there is none. */
static __noinline bool take_displaced_call(struct thread *thread, __u64 sp)
{
	struct call_key key = call_key(sp);
	struct call_args *args = bpf_map_lookup_elem(&more_calls, &key);

	if (!args)
		return false;
	thread->entering.args = *args;
	bpf_map_delete_elem(&more_calls, &key);
	return true;
}

/* Moves the call that was entered with stack pointer `sp` to `entering`; false if there is none.
 * The calls then continue from one place, which the verifier has to follow only once. */
static __always_inline bool take_call(struct thread *thread, __u64 sp)
{
	struct call_args *args = call_at(thread, sp);

	if (!args)
		return take_displaced_call(thread, sp);
	thread->entering.args = *args;
	args->sp = 0;
	return true;
}

static __always_inline void count_in_flight(__u64 bytes)
{
	__sync_fetch_and_add(&losses.in_flight_calls, 1);
	__sync_fetch_and_add(&losses.in_flight_bytes, bytes);
}

/* A call returns whose entry was not seen. If no entry was ever seen on this thread, the thread was in
 * the call when its process was tapped. Its arguments are not known any more, and so is not its
 * connection. On a thread with entries, something else than a call has passed the instruction; and
 * where other calls return, too, nothing can be said. */
static __noinline int return_without_entry(__u64 result, __u64 cookie)
{
	struct thread *thread = tapped_thread();

	if (!thread || thread->entered || (__s32)result <= 0 || (cookie & WSTAP_COOKIE_SHARED))
		return 0;
	/* Where the result is a status, the number of bytes is behind an argument. */
	count_in_flight(cookie & WSTAP_COOKIE_STATUS ? 0 : bytes_passed(result, cookie, 0));
	return 0;
}

/* The call that was entered with stack pointer `sp` returns with `result`. */
static __always_inline int call_returns(__u64 sp, __u64 result, __u64 cookie)
{
	struct thread *thread = this_thread(0);
	struct call_args *args;
	__u64 count;

	if (!thread || !take_call(thread, sp))
		return return_without_entry(result, cookie);
	args = &thread->entering.args;
	count = bytes_passed(result, cookie, args->count_at);
	if (count)
		report_call(&thread->report, args, cookie & WSTAP_COOKIE_DIRECTION, count);
	return 0;
}

/* A return probe, for functions in which no instruction is known that every return passes. A
 * program that switches stacks inside such a call would not survive the probe. */
SEC("uprobe")
int tap_return(struct pt_regs *ctx)
{
	return call_returns(SP_AT_ENTRY(ctx), PT_REGS_RC(ctx), bpf_get_attach_cookie(ctx));
}

#if defined(__TARGET_ARCH_x86)
#define REGISTER_CASE(number, name)                                                                \
	case number:                                                                               \
		value = (ctx)->name;                                                               \
		opaque(value);                                                                     \
		return value

/* A register by its number in machine code: where a function returns its result, or one that it keeps
 * for its caller. */
static __always_inline __u64 numbered_register(struct pt_regs *ctx, __u32 number)
{
	__u64 value;

	switch (number & 15) {
		REGISTER_CASE(3, bx);
		REGISTER_CASE(5, bp);
		REGISTER_CASE(12, r12);
		REGISTER_CASE(13, r13);
		REGISTER_CASE(14, r14);
		REGISTER_CASE(15, r15);
	default:
		value = (ctx)->ax;
		opaque(value);
		return value;
	}
}

/* The result of a call in any register. Calls whose result is in none have failed. */
static __always_inline __u64 result_in(struct pt_regs *ctx, __u32 number)
{
	__u64 value;

	switch (number & 15) {
		REGISTER_CASE(1, cx);
		REGISTER_CASE(2, dx);
		REGISTER_CASE(6, si);
		REGISTER_CASE(7, di);
		REGISTER_CASE(8, r8);
		REGISTER_CASE(9, r9);
		REGISTER_CASE(10, r10);
		REGISTER_CASE(11, r11);
	case 4:
		return 0;
	default:
		return numbered_register(ctx, number);
	}
}

/* Whether a conditional jump is taken whose condition has this number in machine code. Bit 0 of the
 * number inverts. */
static __always_inline bool holds(struct pt_regs *ctx, __u32 condition)
{
	enum { CARRY = 0x1, PARITY = 0x4, ZERO = 0x40, SIGN = 0x80, OVERFLOW = 0x800 };
	__u64 flags = ctx->flags;
	bool less = !(flags & SIGN) != !(flags & OVERFLOW);
	bool holds;

	switch ((condition >> 1) & 7) {
	case 0:
		holds = flags & OVERFLOW;
		break;
	case 1:
		holds = flags & CARRY;
		break;
	case 2:
		holds = flags & ZERO;
		break;
	case 3:
		holds = flags & (CARRY | ZERO);
		break;
	case 4:
		holds = flags & SIGN;
		break;
	case 5:
		holds = flags & PARITY;
		break;
	case 6:
		holds = less;
		break;
	default:
		holds = less || (flags & ZERO);
	}
	return holds != (condition & 1);
}
#else
/* Return sites are found on x86-64 only. */
static __always_inline __u64 numbered_register(struct pt_regs *ctx, __u32 number)
{
	(void)ctx, (void)number;
	return 0;
}

static __always_inline __u64 result_in(struct pt_regs *ctx, __u32 number)
{
	(void)ctx, (void)number;
	return 0;
}

static __always_inline bool holds(struct pt_regs *ctx, __u32 condition)
{
	(void)ctx, (void)condition;
	return false;
}
#endif

/* An instruction that calls of the function pass when they return. Others may pass it as well: the
 * stack pointer tells, and the flags. */
SEC("uprobe")
int tap_return_site(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__s64 distance = (__s64)cookie >> WSTAP_COOKIE_DISTANCE_SHIFT;
	__u64 result = result_in(ctx, cookie >> WSTAP_COOKIE_REGISTER_SHIFT);

	if ((cookie & WSTAP_COOKIE_CONDITIONAL) &&
	    !holds(ctx, (__u32)cookie >> WSTAP_COOKIE_CONDITION_SHIFT))
		return 0;
	return call_returns(PT_REGS_SP(ctx) - distance, result, cookie);
}

/* An instruction inside the library at which a read has succeeded or failed, and its arguments
 * are still in registers. */
SEC("uprobe")
int tap_read(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	struct thread *thread = tapped_thread();
	struct call_args *args;
	__u64 count;

	if (!thread)
		return 0;
	if ((cookie & WSTAP_COOKIE_PEEK) &&
	    (__u32)numbered_register(ctx, cookie >> WSTAP_COOKIE_PEEK_SHIFT))
		return 0;
	count = bytes_passed(numbered_register(ctx, cookie >> WSTAP_COOKIE_REGISTER_SHIFT), cookie,
			     numbered_register(ctx, cookie >> WSTAP_COOKIE_COUNT_SHIFT));
	if (!count)
		return 0;
	args = &thread->entering.args;
	args->process = thread->process;
	args->handle = numbered_register(ctx, cookie >> WSTAP_COOKIE_HANDLE_SHIFT);
	args->buffer = numbered_register(ctx, cookie >> WSTAP_COOKIE_BUFFER_SHIFT);
	report_call(&thread->report, args, WSTAP_RECEIVED, count);
	return 0;
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

/* Whether plaintext has passed both ways: no handshake precedes that. Early data passes one way. */
static __always_inline bool is_used(const struct conn *conn)
{
	return conn->streams[WSTAP_SENT].offset && conn->streams[WSTAP_RECEIVED].offset;
}

/* The handle's next use is another connection. */
static __always_inline void end_connection(__u64 handle, bool only_if_used)
{
	struct thread *thread = tapped_thread();
	struct report *report;
	struct conn_key key;
	struct conn *conn;

	if (!thread)
		return;
	report = &thread->report;
	report->thread = bpf_get_current_pid_tgid();
	key = conn_key(&thread->process, report->thread >> 32, handle);
	conn = bpf_map_lookup_elem(&conns, &key);
	if (!conn || !is_current(&key, conn, thread->process.born))
		return;
	if (only_if_used && !is_used(conn))
		return;
	report->at_ns = bpf_ktime_get_ns();
	report->handle = handle;
	report->generation = conn->generation;
	report->target = thread->process.target;
	ascribe(report, conn);
	/* Skipped bytes that were not reported yet must not look like a loss. */
	for (int i = 0; i < 2; i++)
		if (conn->streams[i].skipping)
			report_skipped(report, &conn->streams[i], i, conn->streams[i].offset);
	report_closed(report, conn);
	remove_connection(&key, conn);
}

/* SSL_free, SSL_clear and their like; and SSL_do_handshake where these are not found. */
SEC("uprobe")
int tap_release(struct pt_regs *ctx)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u64 handle = argument(ctx, cookie >> WSTAP_COOKIE_HANDLE_SHIFT);

	if (cookie & WSTAP_COOKIE_LAYERS)
		handle |= WSTAP_LAYER_HANDLE;
	end_connection(handle, cookie & WSTAP_COOKIE_USED);
	return 0;
}

#endif
