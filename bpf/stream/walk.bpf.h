/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Decides which bytes of a call are copied.
 *
 * Until userspace has named the offset of a frame header, every byte is copied. From then on the
 * kernel side walks the headers itself (RFC 6455, section 5.2). It copies each frame's header and
 * the first window_bytes of each message, and skips the rest, also inside one call of 64 MiB. The
 * walk reads the application's memory and never the ring buffer, so an overflow does not confuse
 * it: the first record after a loss says where a frame begins.
 */
#ifndef WSTAP_WALK_BPF_H
#define WSTAP_WALK_BPF_H

#include "stream/emit.bpf.h"

enum {
	/* Of a message longer than its window; src/event.rs has the same. */
	TAIL_BYTES = 512,
	/* Frames walked in one call; beyond, the rest of the call is copied. */
	WALK_STEPS = 8192,
	/* Enough to copy the largest call (2 GiB) afterwards. */
	COPY_STEPS = 131072,
	/* Without bpf_loop() the verifier follows every turn. */
	UNROLLED_STEPS = 24,
};

static __always_inline __u64 min_u64(__u64 a, __u64 b)
{
	return a < b ? a : b;
}

/* Where the last bytes of a message begin, which are copied as well: some libraries write the id
 * last. Not where the beginning of long messages has proven to be enough. */
static __always_inline __u64 tail_start(const struct stream *s)
{
	__u8 is_last = s->head[0] & 0x80, compressed = s->head[0] & 0x40;

	if (!is_last || compressed || s->narrow)
		return s->next_header;
	if (s->next_header - s->copy_until <= TAIL_BYTES)
		return s->copy_until;
	return s->next_header - TAIL_BYTES;
}

/* Reports the bytes skipped up to `stop`. */
static __always_inline void report_skipped(const struct report *report, struct stream *s,
					   __u32 direction, __u64 stop)
{
	s->skipping = 0;
	emit_hole(report, direction, s->skip_from, stop, WSTAP_SKIPPED);
}

/* Skips to `stop`. Skips add up until the frame ends or another record is due, so that a frame
 * in thousands of calls does not become thousands of records. */
static __always_inline void skip_to(struct report *report, struct stream *s, __u64 stop)
{
	if (!s->skipping) {
		s->skipping = 1;
		s->skip_from = report->pos;
		s->skip_since = report->at_ns;
	}
	report->pos = stop;
	if (stop == s->next_header || stop == tail_start(s) || stop - s->skip_from >= SKIP_REPORT_BYTES ||
	    report->at_ns - s->skip_since >= SKIP_REPORT_NS)
		report_skipped(report, s, report->direction, stop);
}

static __always_inline void copy_to(struct report *report, __u64 stop, __u8 start, bool may_sleep)
{
	__u32 len = min_u64(stop - report->pos, PIECE_BYTES);

	report->pos += emit_bytes(report, len, 0, start, may_sleep);
}

/* Copies the part of the frame's window that is in this call. The part of the frame behind it is
 * skipped in the same record: a record more would cost as much as copying a few KiB. */
static __always_inline void copy_window(struct report *report, struct stream *s, __u8 start,
					bool may_sleep)
{
	__u64 stop = min_u64(report->end, s->copy_until);
	__u64 len = min_u64(stop - report->pos, PIECE_BYTES);
	__u64 rest = 0;

	if (report->pos + len == s->copy_until)
		rest = min_u64(report->end, tail_start(s)) - s->copy_until;
	report->pos += emit_bytes(report, len, rest, start, may_sleep);
}

static __always_inline __u8 start_of(const struct report *report)
{
	return report->pos == report->base ? WSTAP_CALL : WSTAP_MIDDLE;
}

/* Nobody sends longer frames: Limits::frame_bytes in src/decode/limits.rs has the same. */
#define FRAME_BYTES_MAX (1ULL << 32)

/* A connection that is used again after its WebSocket has ended begins with an HTTP head: "GE" and
 * "HT" would be frames with a reserved bit, not final, and with a reserved or a control opcode. */
static __always_inline int begins_http(const __u8 *head)
{
	return (head[0] == 'G' && head[1] == 'E') || (head[0] == 'H' && head[1] == 'T');
}

/* Decodes a frame header of which `have` bytes (at least 2) are known. Returns its length, or 0
 * if more bytes are needed, or -1 if its length is impossible or it is none. Whatever other rule
 * it breaks, its length says where the next one begins; the decoder goes by the same rule. */
static __always_inline int decode_header(const __u8 *head, __u32 have, __u64 *payload)
{
	__u32 length = 2;

	if (begins_http(head))
		return -1;
	*payload = head[1] & 0x7f;
	if (*payload == 126)
		length += 2;
	else if (*payload == 127)
		length += 8;
	if (head[1] & 0x80)
		length += 4;
	if (have < length)
		return 0;
	if (*payload == 126)
		*payload = (__u64)head[2] << 8 | head[3];
	else if (*payload == 127)
		*payload = (__u64)head[2] << 56 | (__u64)head[3] << 48 | (__u64)head[4] << 40 |
			   (__u64)head[5] << 32 | (__u64)head[6] << 24 | (__u64)head[7] << 16 |
			   (__u64)head[8] << 8 | head[9];
	if (*payload > FRAME_BYTES_MAX)
		return -1;
	return length;
}

/* Payload bytes to copy of a message that begins with a frame of so many, whose header is known. */
static __always_inline __u64 window_of(const struct stream *s, __u64 payload)
{
	if (s->head[0] & 0x40)
		return s->whole ? ~0ULL : window_bytes;
	return s->narrow && payload > long_bytes ? narrow_bytes : window_bytes;
}

/* A header is known: sets where its payload's copy and the frame itself end. */
static __always_inline void begin_frame(struct stream *s, __u64 payload_at, __u64 payload)
{
	__u8 opcode = s->head[0] & 0x0f;
	__u64 grant;

	/* A control frame, or one with a reserved opcode: part of no message. */
	if (opcode > 2) {
		s->copy_until = payload_at + min_u64(payload, window_bytes);
		s->next_header = payload_at + payload;
		return;
	}
	if (opcode)
		s->window_left = window_of(s, payload);
	grant = min_u64(payload, s->window_left);
	if (s->window_left != ~0ULL)
		s->window_left -= grant;
	s->copy_until = payload_at + grant;
	s->next_header = payload_at + payload;
}

static __always_inline void walk_header(struct report *report, struct stream *s, bool may_sleep)
{
	__u64 from = report->buffer + (report->pos - report->base);
	__u64 left = report->end - report->pos;
	__u32 have = s->head_have & 15;
	__u32 more = left < HEADER_BYTES ? left : HEADER_BYTES;
	__u8 start = have ? WSTAP_MIDDLE : WSTAP_FRAME_HEADER;
	__u64 payload = 0;
	int length = 0;

	opaque(more);
	if (more > HEADER_BYTES)
		more = HEADER_BYTES;
	if (read_user_or_fail(s->head + have, more, from, may_sleep)) {
		/* Copying will fail likewise, and count it. */
		s->mode = STREAM_COPY;
		s->head_have = 0;
		return;
	}
	if (have + more >= 2)
		length = decode_header(s->head, have + more, &payload);
	if (length < 0) {
		s->mode = STREAM_COPY;
		s->head_have = 0;
		return;
	}
	if (length == 0) {
		s->head_have = have + more;
		copy_to(report, report->end, start, may_sleep);
		return;
	}
	s->head_have = 0;
	begin_frame(s, report->pos - have + length, payload);
	copy_window(report, s, start, may_sleep);
}

/* Follows the word that userspace has written, unless the stream is already past its offset. Bytes
 * before the named header are payload of a message whose start was copied: a window of them is
 * enough. */
static __always_inline void take_steering(const struct report *report, struct stream *s)
{
	__u32 slot = report->generation % WSTAP_STEER_SLOTS;
	__u64 tag = (report->generation >> WSTAP_STEER_SLOT_BITS & WSTAP_STEER_TAG_MASK) + 1;
	struct wstap_steer *steer;
	__u64 word, offset;

	steer = bpf_map_lookup_elem(&steering, &slot);
	if (!steer)
		return;
	word = *(volatile __u64 *)&steer->word[report->direction & 1];
	if (word >> WSTAP_STEER_TAG_SHIFT != tag)
		return;
	s->whole = !!(word & WSTAP_STEER_WHOLE);
	s->narrow = !!(word & WSTAP_STEER_NARROW);
	offset = word & WSTAP_STEER_IGNORE;
	if (s->mode == STREAM_WALK)
		return;
	if (offset == WSTAP_STEER_IGNORE) {
		if (!s->upgraded && s->mode != STREAM_IGNORE)
			s->mode = STREAM_IGNORE;
		return;
	}
	if (s->mode != STREAM_COPY || offset < report->pos)
		return;
	s->mode = STREAM_WALK;
	s->head_have = 0;
	s->next_header = offset;
	s->copy_until = offset;
	/* The frame there may continue a message. */
	s->window_left = s->whole ? ~0ULL : window_bytes;
	if (!s->whole && offset - report->pos > window_bytes)
		s->copy_until = report->pos + window_bytes;
}

static __always_inline int walk_on_how(struct report *report, struct stream *s, __u32 turn,
				       bool may_sleep)
{
	if (!report || !s)
		return 1;
	if (turn >= WALK_STEPS && s->mode == STREAM_WALK)
		s->mode = STREAM_COPY;
	if (s->mode == STREAM_IGNORE) {
		s->next_header = ~0ULL;
		skip_to(report, s, report->end);
	} else if (s->mode == STREAM_COPY) {
		copy_to(report, report->end, start_of(report), may_sleep);
		/* The reader may have found the frame borders in records of this very call. */
		if (report->pos < report->end && turn < WALK_STEPS)
			take_steering(report, s);
	} else if (report->pos >= s->next_header) {
		walk_header(report, s, may_sleep);
	} else if (report->pos < s->copy_until) {
		copy_window(report, s, start_of(report), may_sleep);
	} else if (report->pos < tail_start(s)) {
		skip_to(report, s, min_u64(report->end, tail_start(s)));
	} else {
		copy_to(report, min_u64(report->end, s->next_header), start_of(report), may_sleep);
	}
	return report->pos >= report->end;
}

__noinline int walk_on_atomic(struct report *report, struct stream *s, __u32 turn)
{
	return walk_on_how(report, s, turn, false);
}

#ifndef NEVER_SLEEPS
__noinline int walk_on_sleepable(struct report *report, struct stream *s, __u32 turn)
{
	return walk_on_how(report, s, turn, true);
}
#endif

/* The next piece of a call: a header, bytes to copy, or bytes to skip. Returns 1 at the end of
 * the call. */
static __always_inline int walk_on(struct report *report, struct stream *s, __u32 turn)
{
#ifndef NEVER_SLEEPS
	if (sleepable)
		return walk_on_sleepable(report, s, turn);
#endif
	return walk_on_atomic(report, s, turn);
}

/* An ignored connection may still be upgraded later. The answer to the upgrade begins a call of its
 * own. Skipped bytes are reported first, so that the reader knows where frames begin both ways. */
static __always_inline void notice_upgrade(const struct report *report, struct conn *conn)
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
	struct stream *stream;
};

static long walk_turn(__u32 turn, void *ctx)
{
	const struct walk *walk = ctx;
	int ended = walk_on(walk->report, walk->stream, turn);

	/* The verifier wants to see that it is 0 or 1. */
	opaque(ended);
	return ended ? 1 : 0;
}

/* The pieces after the first. A function of its own because the verifier widens the frame of one
 * that calls bpf_loop(), and no frame may be large (struct thread says why). */
static __noinline int walk_rest(struct report *report, struct stream *s)
{
	struct walk walk = { report, s };

	if (has_loop) {
		bpf_loop(WALK_STEPS + COPY_STEPS, walk_turn, &walk, 0);
	} else {
		for (__u32 turn = 0; turn < UNROLLED_STEPS; turn++)
			if (walk_on(report, s, turn))
				break;
	}
	if (report->pos < report->end)
		give_up(report, s);
	return 0;
}

/* Changes of mode, which happen only at the beginning of a call. */
static __always_inline void begin_call(const struct report *report, struct conn *conn,
				       struct stream *s)
{
	take_steering(report, s);
	if (s->mode == STREAM_IGNORE)
		notice_upgrade(report, conn);
	if (s->mode == STREAM_COPY && s->skipping)
		report_skipped(report, s, report->direction, report->pos);
}

/* Reports the bytes [base, end) of one call. */
static __always_inline void walk(struct report *report, struct conn *conn)
{
	struct stream *s = &conn->streams[report->direction & 1];

	begin_call(report, conn, s);
	/* Most calls are one piece: they are spared the loop. */
	if (!walk_on(report, s, 0))
		walk_rest(report, s);
}

#endif
