/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * A WebSocket frame that is all of a call, as most are. Its header and its payload are read at once,
 * into the record: a read of the application's memory is the dearest part of a short record. Where the
 * frame turns out to be something else, the record is given back, and frames.bpf.h walks the call.
 */
#ifndef WSTAP_WHOLE_BPF_H
#define WSTAP_WHOLE_BPF_H

#include "stream/frames.bpf.h"

enum {
	/* Most bytes that are read at once: one of the sizes of EMIT_CLASS(). */
	WHOLE_BYTES = 320,
};

/* Whether a frame begins with this call that is likely to be all of it. Of a longer one the record must
 * have room for all that is copied: that is known where the beginning of messages is enough. */
static __always_inline bool may_be_whole(const struct report *report, const struct stream *s)
{
	__u64 len = report->end - report->pos;

	if (s->mode != STREAM_WALK || s->parted || s->head_have)
		return false;
	if (report->pos != report->base || report->pos < s->next_header || len < HEADER_BYTES)
		return false;
	return len <= WHOLE_BYTES || (s->narrow && len > long_bytes + HEADER_BYTES);
}

/* The bytes to copy of the frame whose header is in `head`, of which `size` have been read; 0 if it is
 * not all of the call, or if more of it is wanted. It is a global function for the reason that
 * emit_bytes_atomic() is one. */
__noinline __u32 whole_frame(struct report *report, struct conn *conn, __u32 size)
{
	__u64 payload = 0, captured, len;
	struct stream *s;
	int length;

	if (!report || !conn)
		return 0;
	s = &conn->streams[report->direction & 1];
	len = report->end - report->pos;
	length = decode_header(s->head, HEADER_BYTES, &payload);
	if (length <= 0 || length + payload != len)
		return 0;
	captured = length + granted(s, payload);
	if (captured > size)
		return 0;
	/* The last bytes of a message may be wanted as well. */
	if (captured < len && (s->head[0] & 0x80) && !(s->head[0] & 0x40) && !s->narrow)
		return 0;
	begin_frame(s, report->pos + length, payload);
	return captured;
}

#define WHOLE_CLASS(SIZE)                                                                          \
	if (size <= SIZE || SIZE == WHOLE_BYTES) {                                                 \
		struct {                                                                           \
			struct wstap_record header;                                                \
			__u8 bytes[SIZE];                                                          \
		} *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);                                \
		if (!r)                                                                            \
			return 0;                                                                  \
		opaque(size);                                                                      \
		if (size > SIZE)                                                                   \
			size = SIZE;                                                               \
		captured = 0;                                                                      \
		if (!read_user_or_fail(r->bytes, size, report->buffer, may_sleep)) {               \
			__builtin_memcpy(s->head, r->bytes, 16);                                   \
			captured = whole_frame(report, conn, size);                                \
		}                                                                                  \
		if (!captured) {                                                                   \
			s->parted = 1;                                                             \
			bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);                                  \
			return 0;                                                                  \
		}                                                                                  \
		fill_header(&r->header, report, report->pos, report->end - report->pos);           \
		r->header.start = WSTAP_FRAME_HEADER;                                              \
		r->header.captured = captured;                                                     \
		report->pos = report->end;                                                         \
		bpf_ringbuf_submit(r, wakeup_flag(report, sizeof(*r), report->base));              \
		return 1;                                                                          \
	}

static __always_inline int take_whole_how(struct report *report, struct conn *conn, bool may_sleep)
{
	__u32 size, captured;
	struct stream *s;

	if (!report || !conn)
		return 0;
	s = &conn->streams[report->direction & 1];
	size = min_u64(report->end - report->pos, WHOLE_BYTES);
	WHOLE_CLASS(64)
	WHOLE_CLASS(128)
	WHOLE_CLASS(192)
	WHOLE_CLASS(WHOLE_BYTES)
}

__noinline int take_whole_atomic(struct report *report, struct conn *conn)
{
	return take_whole_how(report, conn, false);
}

#ifndef NEVER_SLEEPS
__noinline int take_whole_sleepable(struct report *report, struct conn *conn)
{
	return take_whole_how(report, conn, true);
}
#endif

/* Reports the call if it is one frame; 0 if it is not, and nothing was done. */
static __always_inline int take_whole(struct report *report, struct conn *conn)
{
#ifndef NEVER_SLEEPS
	if (sleepable)
		return take_whole_sleepable(report, conn);
#endif
	return take_whole_atomic(report, conn);
}

#endif
