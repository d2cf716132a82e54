/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Walks the frames of a WebSocket (RFC 6455, section 5.2). It copies each frame's header and the first
 * window_bytes of each message, and skips the rest, also inside one call of 64 MiB.
 */
#ifndef WSTAP_FRAMES_BPF_H
#define WSTAP_FRAMES_BPF_H

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
static __always_inline void report_skipped(struct report *report, struct stream *s,
					   __u32 direction, __u64 stop)
{
	s->skipping = 0;
	emit_hole(report, direction, s->skip_from, stop, WSTAP_SKIPPED);
}

/* Skips to `stop`. Skips add up until the frame ends or another record is due, so that a frame
 * in thousands of calls does not become thousands of records. In a stream
 * that HTTP/2 carries each is told at once. */
static __always_inline void skip_to(struct report *report, struct stream *s, __u64 stop)
{
	if (!s->skipping) {
		s->skipping = 1;
		s->skip_from = report->pos;
		s->skip_since = report->at_ns;
	}
	report->pos = stop;
	if (stop == s->next_header || stop == tail_start(s) || s->is_carried ||
	    stop - s->skip_from >= SKIP_REPORT_BYTES ||
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

/* Payload bytes to copy of a frame whose header is known. */
static __always_inline __u64 granted(const struct stream *s, __u64 payload)
{
	__u8 opcode = s->head[0] & 0x0f;

	/* A control frame, or one with a reserved opcode: part of no message. */
	if (opcode > 2)
		return min_u64(payload, window_bytes);
	return min_u64(payload, opcode ? window_of(s, payload) : s->window_left);
}

/* A header is known: sets where its payload's copy and the frame itself end. */
static __always_inline void begin_frame(struct stream *s, __u64 payload_at, __u64 payload)
{
	__u8 opcode = s->head[0] & 0x0f;
	__u64 grant = granted(s, payload);

	s->copy_until = payload_at + grant;
	s->next_header = payload_at + payload;
	if (opcode > 2)
		return;
	if (opcode)
		s->window_left = window_of(s, payload);
	if (s->window_left != ~0ULL)
		s->window_left -= grant;
}

/* Whether the frame that has begun is anything else than the whole call, copied in one piece. */
static __always_inline bool is_parted(const struct report *report, const struct stream *s, __u32 have)
{
	if (have || report->pos != report->base || s->next_header != report->end)
		return true;
	return s->copy_until != s->next_header && !s->narrow;
}

static __always_inline void walk_header(struct report *report, struct stream *s, bool may_sleep)
{
	__u64 from = report->buffer + (report->pos - report->base);
	__u64 left = report->end - report->pos;
	__u32 have = s->head_have & 15;
	__u32 more = left < HEADER_BYTES ? left : HEADER_BYTES;
	__u8 header = s->is_carried ? WSTAP_STREAM_FRAME_HEADER : WSTAP_FRAME_HEADER;
	__u8 start = have ? WSTAP_MIDDLE : header;
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
	s->parted = is_parted(report, s, have);
	copy_window(report, s, start, may_sleep);
}

/* The next piece of a stream whose frames are walked. */
static __always_inline void walk_frames(struct report *report, struct stream *s, bool may_sleep)
{
	if (report->pos >= s->next_header)
		walk_header(report, s, may_sleep);
	else if (report->pos < s->copy_until)
		copy_window(report, s, start_of(report), may_sleep);
	else if (report->pos < tail_start(s))
		skip_to(report, s, min_u64(report->end, tail_start(s)));
	else
		copy_to(report, min_u64(report->end, s->next_header), start_of(report), may_sleep);
}

#endif
