/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Everything about a stream is written to the ring buffer here. A record that finds no room, or
 * whose bytes cannot be read, is counted; the reader sees the same hole by the offsets.
 */
#ifndef WSTAP_EMIT_BPF_H
#define WSTAP_EMIT_BPF_H

#include "maps.bpf.h"

/* Keeps clang from proving a bound by itself and dropping the check that the verifier needs. */
#define opaque(var) asm volatile("" : "+r"(var))

/* Pages that are present are read directly. That is cheaper than a copy that may fault. `may_sleep` is
 * a constant: false where the code must be fit for programs that may not. */
static __always_inline long read_user_or_fail(void *to, __u32 size, __u64 from, bool may_sleep)
{
	if (reads_at_once && !bpf_probe_read_user(to, size, (const void *)from))
		return 0;
#ifndef NEVER_SLEEPS
	if (may_sleep && sleepable)
		return bpf_copy_from_user(to, size, (const void *)from);
#endif
	(void)may_sleep;
	return -1;
}

static __always_inline long read_user(void *to, __u32 size, __u64 from)
{
	return read_user_or_fail(to, size, from, true);
}

/* Whether the reader sleeps long, because nothing came: then it must be woken. */
static __always_inline bool ends_sleep(void)
{
	if (!*(volatile __u32 *)&reader_sleeps)
		return false;
	reader_sleeps = 0;
	return true;
}

/* For records that are no part of a stream: there are few of them. */
static __always_inline __u64 wakeup_by_fill(void)
{
	bool is_due = !wake_bytes || ends_sleep() ||
		      bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) >= wake_bytes;

	return is_due ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

/* A record does not wake the reader, which polls on a timer. It is woken while the fill is above the
 * threshold. To ask for the fill costs as much as a map, so that is done seldom. The first bytes of a
 * connection are urgent: once the reader knows the handshake, less payload must be copied. So is the
 * first record after a while without any, because the timer is slow then. */
static __always_inline __u64 wakeup_flag(struct report *report, __u32 size, __u64 offset)
{
	if (!wake_bytes || offset < URGENT_BYTES || ends_sleep())
		return BPF_RB_FORCE_WAKEUP;
	report->unasked += size;
	if (report->unasked < wake_bytes >> ASKS_SHIFT)
		return BPF_RB_NO_WAKEUP;
	report->unasked = 0;
	if (bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) < wake_bytes)
		return BPF_RB_NO_WAKEUP;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void fill_header(struct wstap_record *r, const struct report *report,
					__u64 offset, __u64 len)
{
	r->at_ns = report->at_ns;
	r->handle = report->handle;
	r->offset = offset;
	r->len = len;
	r->tgid = report->thread >> 32;
	r->tid = (__u32)report->thread;
	r->generation = report->generation;
	r->captured = 0;
	r->target = report->target;
	r->kind = WSTAP_DATA;
	r->direction = report->direction;
	r->absent = WSTAP_SKIPPED;
	r->start = WSTAP_MIDDLE;
	r->reserved[0] = 0;
	r->reserved[1] = 0;
}

static __always_inline void count_ring_full(__u64 bytes)
{
	__sync_fetch_and_add(&losses.ring_full_records, 1);
	__sync_fetch_and_add(&losses.ring_full_bytes, bytes);
}

static __always_inline void count_copy_failed(__u64 bytes)
{
	__sync_fetch_and_add(&losses.copy_failed_records, 1);
	__sync_fetch_and_add(&losses.copy_failed_bytes, bytes);
}

/*
 * Some functions from here on are global. The verifier checks a global function once for each
 * program. It checks a static one again for each call, in each state that leads to it: then loading
 * both objects took 0.5 s of processor time, and 3 s without bpf_loop(). In return, the verifier
 * does not know that the pointers of a global function are not NULL.
 *
 * A global function that may sleep is refused by newer kernels where the program may not, even if
 * it is never called to sleep (since 6.15). So what reads memory is there twice.
 */

/* Bytes [from, to) of a direction are not copied. */
__noinline int emit_hole(struct report *report, __u32 direction, __u64 from, __u64 to,
			 __u32 why)
{
	struct wstap_record *r;

	if (!report || from == to)
		return 0;
	r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);
	if (!r) {
		count_ring_full(to - from);
		return 0;
	}
	fill_header(r, report, from, to - from);
	r->direction = direction;
	r->absent = why;
	bpf_ringbuf_submit(r, wakeup_flag(report, sizeof(*r), from));
	return 0;
}

/* bpf_ringbuf_reserve() needs a constant size, so records come in size classes. A message of 100
 * bytes must not take the room of 16 KiB. */
#define EMIT_CLASS(SIZE)                                                                           \
	if (len <= SIZE || SIZE == PIECE_BYTES) {                                                  \
		struct {                                                                           \
			struct wstap_record header;                                                \
			__u8 bytes[SIZE];                                                          \
		} *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);                                \
		if (!r) {                                                                          \
			count_ring_full(len + rest);                                               \
			return len + rest;                                                         \
		}                                                                                  \
		fill_header(&r->header, report, report->pos, len + rest);                          \
		r->header.start = start;                                                           \
		r->header.captured = len;                                                          \
		opaque(len);                                                                       \
		if (len > SIZE)                                                                    \
			len = SIZE;                                                                \
		if (read_user_or_fail(r->bytes, len, from, may_sleep)) {                           \
			r->header.len = len;                                                       \
			r->header.captured = 0;                                                    \
			r->header.absent = WSTAP_COPY_FAILED;                                      \
			count_copy_failed(len);                                                    \
			rest = 0;                                                                  \
		}                                                                                  \
		bpf_ringbuf_submit(r, wakeup_flag(report, sizeof(*r), report->pos));               \
		return len + rest;                                                                 \
	}

/*
 * Copies the next `len` bytes, at most PIECE_BYTES. The `rest` behind them is skipped on purpose.
 * Returns the bytes that the record stands for: without the rest if copying failed, because a record
 * has room for one reason only.
 *
 * Sizes are round numbers and a frame header, because messages are: 4,096 bytes and their header
 * must not take the room of 16 KiB. With the headers of the record and of the ring buffer, which
 * have 64 bytes together, each record fills whole cache lines.
 */
static __always_inline __u64 emit_bytes_how(struct report *report, __u32 len, __u64 rest,
					    __u32 start, bool may_sleep)
{
	__u64 from;

	if (!report)
		return 0;
	from = report->buffer + (report->pos - report->base);
	EMIT_CLASS(64)
	EMIT_CLASS(128)
	EMIT_CLASS(192)
	EMIT_CLASS(320)
	EMIT_CLASS(576)
	EMIT_CLASS(1088)
	EMIT_CLASS(2112)
	EMIT_CLASS(4160)
	EMIT_CLASS(8256)
	EMIT_CLASS(PIECE_BYTES)
}

__noinline __u64 emit_bytes_atomic(struct report *report, __u32 len, __u64 rest, __u32 start)
{
	return emit_bytes_how(report, len, rest, start, false);
}

#ifndef NEVER_SLEEPS
__noinline __u64 emit_bytes_sleepable(struct report *report, __u32 len, __u64 rest,
				      __u32 start)
{
	return emit_bytes_how(report, len, rest, start, true);
}
#endif

static __always_inline __u64 emit_bytes(struct report *report, __u32 len, __u64 rest,
					__u32 start, bool may_sleep)
{
#ifndef NEVER_SLEEPS
	if (may_sleep)
		return emit_bytes_sleepable(report, len, rest, start);
#endif
	(void)may_sleep;
	return emit_bytes_atomic(report, len, rest, start);
}

#endif
