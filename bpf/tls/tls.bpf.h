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
#include "tls/registers.bpf.h"

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

/* One of the places, when all are taken: its call moves to the map. Each moves in its turn, because one may
 * never return. */
static __noinline struct call_args *clear_place(struct thread *thread)
{
	struct call_args *args = &thread->calls[thread->displaced++ % CALL_DEPTH];
	struct call_key key = call_key(args->sp);

	if (bpf_map_update_elem(&more_calls, &key, args, BPF_ANY))
		__sync_fetch_and_add(&losses.untracked_calls, 1);
	return args;
}

/* A place for a call that is entered with this stack pointer. */
static __always_inline struct call_args *place_for(struct thread *thread, __u64 sp)
{
	/* One with this stack pointer has never returned (longjmp). */
	struct call_args *args = call_at(thread, sp);

	if (!args)
		args = call_at(thread, 0);
	return args ? args : clear_place(thread);
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
	args->asked = 0;
	if (cookie >> WSTAP_COOKIE_LENGTH_SHIFT & 15)
		args->asked = argument(ctx, cookie >> WSTAP_COOKIE_LENGTH_SHIFT);
	if (cookie & WSTAP_COOKIE_LAYERS) {
		if (!is_layer(args->handle))
			args->sp = 0;
		args->handle |= WSTAP_LAYER_HANDLE;
	}
	return 0;
}

/* What a function has returned. Of one that returns int the upper half of the register is not its own. */
static __always_inline __s64 result_of(__u64 value, __u64 cookie)
{
	return cookie & WSTAP_COOKIE_LONG ? (__s64)value : (__s32)value;
}

/* The bytes that a call with this result passed; 0 where the result is only a status. */
static __always_inline __u64 count_in(__s64 result, __u64 cookie)
{
	return cookie & WSTAP_COOKIE_STATUS ? 0 : result;
}

/*
 * The bytes that a call passed whose result was only a status.
 *
 * To read the number is as dear as to copy a short message, so it is not read where it can only be what
 * the call was asked for. With SSL_MODE_ENABLE_PARTIAL_WRITE OpenSSL may stop behind a TLS record. A
 * length that has passed in one call passes again, and so does a shorter one, as long as records stay
 * as long as they are. A limit of theirs that is set later has 512 bytes at least
 * (SSL_CTX_set_max_send_fragment(3)). After a write has failed, the next one may have to finish it first.
 */
static __always_inline __u64 count_by_arguments(const struct call_args *args, const struct conn *conn)
{
	__u64 count = 0;

	if (args->asked && conn && args->asked <= conn->streams[WSTAP_SENT].wholly)
		return args->asked;
	if (read_user(&count, sizeof(count), args->count_at))
		__sync_fetch_and_add(&losses.untracked_calls, 1);
	return count;
}

/* A call has passed so many bytes. If these are all that it was asked for, and few, later writes go by it. */
static __always_inline void note_whole(struct stream *s, const struct call_args *args, __u64 count)
{
	enum { RECORD_BYTES_LEAST = 512 };

	if (count == args->asked && count <= RECORD_BYTES_LEAST && count > s->wholly)
		s->wholly = count;
}

/* A write has failed: the next one may have to finish it. */
static __noinline int note_failed(const struct call_args *args)
{
	struct conn_key key =
		conn_key(&args->process, bpf_get_current_pid_tgid() >> 32, args->handle);
	struct conn *conn = known_connection(&key, args->process.born);

	if (conn)
		conn->streams[WSTAP_SENT].wholly = 0;
	return 0;
}

/* Reports the `count` bytes that a call passed; 0 means that the arguments tell, which are those at
 * entry. It is inlined where most calls pass, because each call of a function costs there. */
static __always_inline int report_inline(struct report *report, const struct call_args *args,
					 __u32 direction, __u64 count)
{
	struct conn_key key;
	struct conn *conn;
	struct stream *s;

	report->thread = report->ids;
	report->handle = args->handle;
	report->buffer = args->buffer;
	report->direction = direction;
	report->target = args->process.target;
	report->at_ns = direction == WSTAP_SENT ? args->at_ns : bpf_ktime_get_ns();
	key = conn_key(&args->process, report->thread >> 32, args->handle);
	conn = known_connection(&key, args->process.born);
	if (!count)
		count = count_by_arguments(args, conn);
	if (!count)
		return 0;
	if (!conn)
		conn = new_connection(report, &key);
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
	note_whole(s, args, count);
	return 0;
}

/* The same as a function, for programs whose stack frames have no room for it. */
static __noinline int report_call(struct report *report, const struct call_args *args,
				  __u32 direction, __u64 count)
{
	return report_inline(report, args, direction, count);
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
	count_in_flight(count_in(result_of(result, cookie), cookie));
	return 0;
}

/* The call that was entered with stack pointer `sp` returns with `result`. */
static __always_inline int call_returns(__u64 sp, __u64 value, __u64 cookie)
{
	struct thread *thread = this_thread(0);
	struct call_args *args;
	__s64 result;

	if (!thread || !take_call(thread, sp))
		return return_without_entry(value, cookie);
	args = &thread->entering.args;
	result = result_of(value, cookie);
	if (result > 0)
		return report_inline(&thread->report, args, cookie & WSTAP_COOKIE_DIRECTION,
				     count_in(result, cookie));
	return args->asked ? note_failed(args) : 0;
}

/* A return probe, for functions in which no instruction is known that every return passes. A
 * program that switches stacks inside such a call would not survive the probe. */
SEC("uprobe")
int tap_return(struct pt_regs *ctx)
{
	return call_returns(SP_AT_ENTRY(ctx), PT_REGS_RC(ctx), bpf_get_attach_cookie(ctx));
}

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
	__s64 result;

	if (!thread)
		return 0;
	if ((cookie & WSTAP_COOKIE_PEEK) &&
	    (__u32)numbered_register(ctx, cookie >> WSTAP_COOKIE_PEEK_SHIFT))
		return 0;
	result = result_of(numbered_register(ctx, cookie >> WSTAP_COOKIE_REGISTER_SHIFT), cookie);
	if (result <= 0)
		return 0;
	args = &thread->entering.args;
	args->process = thread->process;
	args->handle = numbered_register(ctx, cookie >> WSTAP_COOKIE_HANDLE_SHIFT);
	args->buffer = numbered_register(ctx, cookie >> WSTAP_COOKIE_BUFFER_SHIFT);
	args->count_at = numbered_register(ctx, cookie >> WSTAP_COOKIE_COUNT_SHIFT);
	args->asked = 0;
	return report_inline(&thread->report, args, WSTAP_RECEIVED, count_in(result, cookie));
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
	report->thread = report->ids;
	key = conn_key(&thread->process, report->thread >> 32, handle);
	conn = known_connection(&key, thread->process.born);
	if (!conn)
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
