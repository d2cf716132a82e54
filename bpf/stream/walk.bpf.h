/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Decides which bytes of a call are copied.
 *
 * Until userspace has named the offset of a frame header, every byte is copied. From then on the
 * kernel side walks the headers itself: those of a WebSocket (whole.bpf.h, frames.bpf.h), or those of
 * HTTP/2 (http2.bpf.h), which the kernel side recognises by itself where it begins. The walk goes by the
 * application's memory, whether a record finds room or not, so an overflow does not confuse it: the first
 * record after a loss says where a frame begins.
 */
#ifndef WSTAP_WALK_BPF_H
#define WSTAP_WALK_BPF_H

#include "stream/http2.bpf.h"
#include "stream/whole.bpf.h"

/* The word that userspace has written for this direction, if it has: another connection may have the
 * same slot. */
static __always_inline __u64 steering_word(const struct report *report)
{
	__u32 slot = report->generation % WSTAP_STEER_SLOTS;
	struct wstap_steer *steer = bpf_map_lookup_elem(&steering, &slot);

	return steer ? *(volatile __u64 *)&steer->word[report->direction & 1] : 0;
}

/* Follows the word that userspace has written, unless the stream is already past its offset. Bytes
 * before the named header are payload of a message whose start was copied: a window of them is
 * enough. */
static __noinline int take_steering(const struct report *report, struct conn *conn)
{
	struct stream *s = &conn->streams[report->direction & 1];
	__u64 tag = (report->generation >> WSTAP_STEER_SLOT_BITS & WSTAP_STEER_TAG_MASK) + 1;
	__u64 word = steering_word(report);
	__u64 offset;

	s->steered = word >> 32;
	if (word >> WSTAP_STEER_TAG_SHIFT != tag)
		return 0;
	offset = word & WSTAP_STEER_IGNORE;
	if (s->mode == STREAM_HTTP2) {
		if (offset == WSTAP_STEER_IGNORE)
			s->mode = STREAM_IGNORE;
		return 0;
	}
	if (word & WSTAP_STEER_HTTP2) {
		if (has_loop && s->mode == STREAM_COPY && offset >= report->pos)
			begin_http2(conn, s, offset, word & WSTAP_STEER_ASKS, report->direction);
		return 0;
	}
	s->whole = !!(word & WSTAP_STEER_WHOLE);
	s->narrow = !!(word & WSTAP_STEER_NARROW);
	if (s->mode == STREAM_WALK)
		return 0;
	if (offset == WSTAP_STEER_IGNORE) {
		if (!s->upgraded && s->mode != STREAM_IGNORE)
			s->mode = STREAM_IGNORE;
		return 0;
	}
	if (s->mode != STREAM_COPY || offset < report->pos)
		return 0;
	s->mode = STREAM_WALK;
	s->head_have = 0;
	s->next_header = offset;
	s->copy_until = offset;
	/* The frame there may continue a message. */
	s->window_left = s->whole ? ~0ULL : window_bytes;
	if (!s->whole && offset - report->pos > window_bytes)
		s->copy_until = report->pos + window_bytes;
	return 0;
}

static __always_inline int walk_on_how(struct report *report, struct conn *conn, __u32 turn,
				       bool may_sleep)
{
	struct stream *s;

	if (!report || !conn)
		return 1;
	s = &conn->streams[report->direction & 1];
	if (turn >= WALK_STEPS && s->mode != STREAM_IGNORE)
		s->mode = STREAM_COPY;
	if (s->mode == STREAM_IGNORE) {
		s->next_header = ~0ULL;
		skip_to(report, s, report->end);
	} else if (s->mode == STREAM_COPY) {
		copy_to(report, report->end, start_of(report), may_sleep);
		/* The reader may have found the frame borders in records of this very call. */
		if (report->pos < report->end && turn < WALK_STEPS)
			take_steering(report, conn);
	} else {
		if (has_loop && s->mode == STREAM_HTTP2)
			s = walk_http2(report, conn, s, may_sleep);
		if (s)
			walk_frames(report, s, may_sleep);
		if (has_loop)
			end_content(report);
	}
	return report->pos >= report->end;
}

__noinline int walk_on_atomic(struct report *report, struct conn *conn, __u32 turn)
{
	return walk_on_how(report, conn, turn, false);
}

#ifndef NEVER_SLEEPS
__noinline int walk_on_sleepable(struct report *report, struct conn *conn, __u32 turn)
{
	return walk_on_how(report, conn, turn, true);
}
#endif

/* The next piece of a call: a header, bytes to copy, or bytes to skip. Returns 1 at the end of
 * the call. */
static __always_inline int walk_on(struct report *report, struct conn *conn, __u32 turn)
{
#ifndef NEVER_SLEEPS
	if (sleepable)
		return walk_on_sleepable(report, conn, turn);
#endif
	return walk_on_atomic(report, conn, turn);
}

/* An ignored connection may still be upgraded later. The answer to the upgrade begins a call of its
 * own. Skipped bytes are reported first, so that the reader knows where frames begin both ways. */
static __always_inline void notice_upgrade(struct report *report, struct conn *conn)
{
	/* The minor version is not looked at. */
	static const char switching[12] = "HTTP/1.? 101";
	char line[12];

	if (report->end - report->base < sizeof(line))
		return;
	if (read_user(line, sizeof(line), report->buffer))
		return;
	for (int i = 0; i < (int)sizeof(line); i++)
		if (line[i] != switching[i] && i != 7)
			return;
	for (int i = 0; i < 2; i++) {
		struct stream *s = &conn->streams[i];

		s->mode = STREAM_COPY;
		s->upgraded = 1;
		if (s->skipping)
			report_skipped(report, s, i, s->offset);
	}
}

/* The part of the call that is beyond the bounded work. */
static __always_inline void give_up(struct report *report, struct stream *s)
{
	__sync_fetch_and_add(&losses.call_too_large_records, 1);
	__sync_fetch_and_add(&losses.call_too_large_bytes, report->end - report->pos);
	s->mode = STREAM_COPY;
	emit_hole(report, report->direction, report->pos, report->end, WSTAP_CALL_TOO_LARGE);
}

struct walk {
	struct report *report;
	struct conn *conn;
};

static long walk_turn(__u32 turn, void *ctx)
{
	const struct walk *walk = ctx;
	int ended = walk_on(walk->report, walk->conn, turn);

	/* The verifier wants to see that it is 0 or 1. */
	opaque(ended);
	return ended ? 1 : 0;
}

/* The pieces after the first. A function of its own because the verifier widens the frame of one
 * that calls bpf_loop(), and no frame may be large (struct thread says why). */
static __noinline int walk_rest(struct report *report, struct conn *conn)
{
	struct walk walk = { report, conn };

	if (has_loop) {
		bpf_loop(WALK_STEPS + COPY_STEPS, walk_turn, &walk, 0);
	} else {
		for (__u32 turn = 0; turn < UNROLLED_STEPS; turn++)
			if (walk_on(report, conn, turn))
				break;
	}
	if (report->pos < report->end)
		give_up(report, &conn->streams[report->direction & 1]);
	return 0;
}

/* Changes of mode, which happen only at the beginning of a call. */
static __noinline int begin_call(struct report *report, struct conn *conn)
{
	struct stream *s = &conn->streams[report->direction & 1];

	if (has_loop && s->mode == STREAM_COPY && !report->base)
		notice_http2(report, conn);
	take_steering(report, conn);
	if (s->mode == STREAM_IGNORE)
		notice_upgrade(report, conn);
	if (s->mode == STREAM_COPY && s->skipping)
		report_skipped(report, s, report->direction, report->pos);
	return 0;
}

/* Whether the beginning of a call changes nothing: frames are walked, and what userspace has written
 * of that is what it was. */
static __always_inline bool goes_on(const struct report *report, const struct conn *conn)
{
	const struct stream *s = &conn->streams[report->direction & 1];

	return s->mode == STREAM_WALK && s->steered == steering_word(report) >> 32;
}

/* Reports the bytes [base, end) of one call. */
static __always_inline void walk(struct report *report, struct conn *conn)
{
	if (!goes_on(report, conn))
		begin_call(report, conn);
	if (may_be_whole(report, &conn->streams[report->direction & 1]) && take_whole(report, conn))
		return;
	/* Most calls are one piece: they are spared the loop. */
	if (!walk_on(report, conn, 0))
		walk_rest(report, conn);
}

#endif
