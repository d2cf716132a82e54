/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Walks the frames of HTTP/2 (RFC 9113, section 4.1), from the beginning of a connection or from where
 * userspace says that one begins, until userspace says that the connection carries no WebSocket: its
 * server does not take extended CONNECT (RFC 8441).
 *
 * Every frame is copied whole but DATA. A request that cannot be an extended CONNECT, as its first
 * fields tell, makes its stream an ordinary one: the content of its DATA is skipped. Any other
 * request makes a stream that may be a WebSocket. Its content begins with a frame header both ways, so
 * that the frames in it are walked without a word from userspace; where it turns out to be something
 * else, nobody wants its content. What is not known is copied whole.
 *
 * Only the direction of requests writes what is known of requests. Each direction writes the state
 * of its own content.
 */
#ifndef WSTAP_HTTP2_BPF_H
#define WSTAP_HTTP2_BPF_H

#include "stream/fields.bpf.h"
#include "stream/frames.bpf.h"

enum {
	HTTP2_HEADER_BYTES = 9,
	HTTP2_PREFACE_BYTES = 24,
	/* Types of frames (RFC 9113, section 6). */
	HTTP2_DATA = 0,
	HTTP2_HEADERS = 1,
	HTTP2_RST_STREAM = 3,
	HTTP2_SETTINGS = 4,
	HTTP2_CONTINUATION = 9,
	/* Flags. */
	HTTP2_END_STREAM = 0x1,
	HTTP2_PADDED = 0x8,
	HTTP2_PRIORITY = 0x20,
};

/* Frames of HTTP/2 begin at `offset`. */
static __always_inline void begin_http2(struct conn *conn, struct stream *s, __u64 offset, bool asks,
					__u32 direction)
{
	s->mode = STREAM_HTTP2;
	s->head_have = 0;
	s->http2_stream = 0;
	s->next_header = offset;
	s->copy_until = offset;
	s->since = offset;
	if (!asks)
		return;
	/* Requests that passed before were not judged. */
	conn->first = 0;
	conn->asking = direction + 1;
}

static __always_inline bool begins_with_preface(const __u8 *head)
{
	static const char preface[HTTP2_PREFACE_BYTES] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

	for (int i = 0; i < HTTP2_PREFACE_BYTES; i++)
		if (head[i] != (__u8)preface[i])
			return false;
	return true;
}

/* SETTINGS that are no acknowledgement; no server sends more than a few, of six bytes each. */
static __always_inline bool begins_with_settings(const __u8 *head)
{
	__u32 zeros = head[0] | head[1] | head[4] | head[5] | head[6] | head[7] | head[8];

	return !zeros && head[3] == HTTP2_SETTINGS && head[2] % 6 == 0;
}

/* The first call of a direction: HTTP/2 is known by what each end begins with (RFC 9113, section 3.4).
 * The decoder goes by the same (src/decode/http/http2_opening.rs). It says later whether the
 * connection can carry WebSockets. */
static __noinline int notice_http2(const struct report *report, struct conn *conn)
{
	struct stream *s = &conn->streams[report->direction & 1];
	__u64 len = report->end - report->base;

	if (len >= HTTP2_PREFACE_BYTES) {
		if (read_user(s->head, HTTP2_PREFACE_BYTES, report->buffer))
			return 0;
		if (begins_with_preface(s->head)) {
			begin_http2(conn, s, HTTP2_PREFACE_BYTES, true, report->direction);
			conn->first = 1;
			return 0;
		}
	} else if (len < HTTP2_HEADER_BYTES || read_user(s->head, HTTP2_HEADER_BYTES, report->buffer)) {
		return 0;
	}
	if (begins_with_settings(s->head))
		begin_http2(conn, s, 0, false, report->direction);
	return 0;
}

/* What a stream begins with. Linux 6.1 takes keys and values of maps from the stack or from a map only,
 * and this is in one, while a report is memory of any kind to the functions here. */
const struct http2_stream http2_new_stream = {};

/* The stream of the frame that begins, or NULL. */
static __always_inline struct http2_stream *http2_known(const struct report *report)
{
	struct http2_key key = report->key;

	return bpf_map_lookup_elem(&http2_streams, &key);
}

/* A stream of which both directions have ended, or one that was reset. */
static __always_inline void http2_forget(const struct report *report)
{
	struct http2_key key = report->key;

	bpf_map_delete_elem(&http2_streams, &key);
}

/* A direction of the stream at report->key has nothing more to say. Returns whether both have not. */
static __always_inline int http2_end(struct report *report)
{
	struct http2_stream *known = http2_known(report);

	if (!known)
		return 0;
	known->ways[report->direction & 1].has_end = 1;
	return known->ways[0].has_end && known->ways[1].has_end;
}

/* Begins to follow a stream that may be a WebSocket. False if there is no room. */
static __always_inline int http2_follow(struct report *report, struct conn *conn)
{
	struct http2_key key = report->key;
	struct http2_stream *known;

	if (bpf_map_update_elem(&http2_streams, &key, &http2_new_stream, BPF_ANY))
		return 0;
	known = http2_known(report);
	if (!known)
		return 0;
	for (int i = 0; i < 2; i++) {
		known->ways[i].mode = STREAM_WALK;
		known->ways[i].is_carried = 1;
		known->ways[i].whole = 1;
		known->ways[i].since = conn->streams[i].offset;
	}
	known->ways[report->direction & 1].since = report->pos;
	conn->followed = 1;
	return 1;
}

/* A request passes, or what follows the body of one. */
static __noinline int http2_request(struct report *report, struct conn *conn, int head)
{
	struct stream *s = &conn->streams[report->direction & 1];
	__u32 id = report->key.stream;

	s->fields_at = 0;
	if (id <= conn->asked)
		return 0;
	/* A WebSocket is asked for by a request that has not ended. */
	if ((s->head[4] & HTTP2_END_STREAM) && (conn->first || head != HEAD_UNKNOWN))
		head = HEAD_OF_OTHER;
	/* All that were asked for before have lower numbers, but trailers have one of these. */
	if (!conn->first && head == HEAD_UNKNOWN)
		return 0;
	if (head != HEAD_OF_OTHER && !http2_follow(report, conn)) {
		conn->first = 0;
		return 0;
	}
	*(volatile __u32 *)&conn->asked = id;
	if (!conn->first)
		*(volatile __u32 *)&conn->first = id;
	return 0;
}

/* Content begins at report->field: sets how much of the frame is copied at once, and up to where what
 * follows is skipped. */
static __noinline int http2_data(struct report *report, struct conn *conn, struct stream *s)
{
	__u32 id = report->key.stream;
	__u64 content = report->field, moved;
	struct http2_stream *known = NULL;
	struct stream *own;

	/* No WebSocket is pushed. */
	if (id & 1) {
		if (!conn->first || id < conn->first || id > conn->asked)
			return 0;
		known = http2_known(report);
	}
	if (!known) {
		s->copy_until = content;
		report->piece_rest = s->next_header;
		return 0;
	}
	own = &known->ways[report->direction & 1];
	/* Some of its content may have passed unseen. */
	if (s->since > own->since)
		return 0;
	moved = content - own->offset;
	own->next_header += moved;
	own->copy_until += moved;
	own->offset = s->content_end;
	s->http2_stream = id;
	s->copy_until = content;
	if (own->mode == STREAM_WALK && own->copy_until <= content)
		report->piece_rest = min_u64(s->content_end, tail_start(own));
	return 0;
}

static __always_inline bool http2_is_possible(__u8 type, __u32 id)
{
	return id || (type != HTTP2_DATA && type != HTTP2_HEADERS && type != HTTP2_CONTINUATION);
}

/* Names the stream of the frame whose header is in s->head. */
static __always_inline void http2_name(struct report *report, const struct stream *s)
{
	report->key.tgid = report->thread >> 32;
	report->key.generation = report->generation;
	report->key.stream = (__u32)(s->head[5] & 0x7f) << 24 | (__u32)s->head[6] << 16 |
			     (__u32)s->head[7] << 8 | s->head[8];
}

/* The header in s->head is known, and its frame's payload begins at `payload`: sets where the
 * frame's parts end. Returns 0 if it is none. */
static __noinline int http2_begin(struct report *report, struct conn *conn, __u64 payload)
{
	struct stream *s = &conn->streams[report->direction & 1];
	__u32 length = (__u32)s->head[0] << 16 | (__u32)s->head[1] << 8 | s->head[2];
	__u8 type = s->head[3], padding = s->head[HTTP2_HEADER_BYTES];

	http2_name(report, s);
	s->next_header = payload + length;
	s->copy_until = s->next_header;
	s->content_end = s->next_header;
	report->piece_rest = 0;
	report->field = payload;
	if (!http2_is_possible(type, report->key.stream))
		return 0;
	if (length && (s->head[4] & HTTP2_PADDED) && type <= HTTP2_HEADERS) {
		report->field += 1;
		if (padding < length)
			s->content_end -= padding;
	}
	if (type == HTTP2_HEADERS && (s->head[4] & HTTP2_PRIORITY))
		report->field += 5;
	s->fields_at = 0;
	if (type == HTTP2_HEADERS && conn->asking == report->direction + 1U)
		s->fields_at = report->field;
	return 1;
}

/* What the frame tells about its stream. */
static __noinline int http2_ending(struct report *report, const struct stream *s)
{
	__u8 type = s->head[3];
	bool ends = s->head[4] & HTTP2_END_STREAM;

	if (type == HTTP2_RST_STREAM)
		http2_forget(report);
	/* The content of one that is walked must pass first. */
	else if (type <= HTTP2_HEADERS && ends && http2_end(report) && !s->http2_stream)
		http2_forget(report);
	return 0;
}

/* The frame before has passed. If its stream has ended with it, it is forgotten. */
static __noinline int http2_leave(struct report *report, struct stream *s)
{
	report->key.stream = s->http2_stream;
	s->http2_stream = 0;
	if ((s->head[4] & HTTP2_END_STREAM) && http2_end(report))
		http2_forget(report);
	return 0;
}

/* How a header was read. */
enum http2_read {
	HTTP2_UNREAD, /* the application's memory could not be read */
	HTTP2_CUT,    /* by the end of the call */
	HTTP2_READ,
};

/* Reads the frame header that begins here, or goes on, into s->head. */
static __always_inline int http2_read_how(struct report *report, struct stream *s, bool may_sleep)
{
	__u64 left;
	__u32 have, more;

	if (!report || !s)
		return HTTP2_UNREAD;
	left = report->end - report->pos;
	have = s->head_have & 15;
	more = left < HEADER_BYTES ? left : HEADER_BYTES;
	opaque(more);
	if (more > HEADER_BYTES)
		more = HEADER_BYTES;
	if (read_user_or_fail(s->head + have, more, report->buffer + (report->pos - report->base),
			      may_sleep))
		return HTTP2_UNREAD;
	have += more;
	/* The length of the padding is wanted, too. */
	if (have < HTTP2_HEADER_BYTES ||
	    (have == HTTP2_HEADER_BYTES && (s->head[4] & HTTP2_PADDED))) {
		s->head_have = have;
		return HTTP2_CUT;
	}
	return HTTP2_READ;
}

/* Functions of their own for the reason that emit_bytes_atomic() is one. */
__noinline int http2_read_atomic(struct report *report, struct stream *s)
{
	return http2_read_how(report, s, false);
}

#ifndef NEVER_SLEEPS
__noinline int http2_read_sleepable(struct report *report, struct stream *s)
{
	return http2_read_how(report, s, true);
}
#endif

static __always_inline int http2_read(struct report *report, struct stream *s, bool may_sleep)
{
#ifndef NEVER_SLEEPS
	if (may_sleep)
		return http2_read_sleepable(report, s);
#endif
	(void)may_sleep;
	return http2_read_atomic(report, s);
}

/* Copies the beginning of a frame. The part behind it that nobody wants is skipped in the same record,
 * as in copy_window(). */
static __always_inline void copy_beginning(struct report *report, struct stream *s, __u8 start,
					   bool may_sleep)
{
	__u64 stop = min_u64(report->end, s->copy_until);
	__u64 len = min_u64(stop - report->pos, PIECE_BYTES);
	__u64 rest = 0;

	if (report->pos + len == s->copy_until && report->piece_rest > s->copy_until)
		rest = min_u64(report->end, report->piece_rest) - s->copy_until;
	report->pos += emit_bytes(report, len, rest, start, may_sleep);
}

/* A request can be judged now: some of its fields are here, or it has none. Some programs read headers
 * and payload one after the other. */
static __noinline bool has_fields(struct report *report, const struct stream *s)
{
	if (!s->fields_at || (report->end <= s->fields_at && s->fields_at < s->content_end))
		return false;
	http2_name(report, s);
	report->field = s->fields_at;
	report->fields_end = min_u64(report->end, s->content_end);
	return true;
}

static __always_inline void walk_http2_header(struct report *report, struct conn *conn,
					      struct stream *s, bool may_sleep)
{
	__u8 start = s->head_have ? WSTAP_MIDDLE : WSTAP_HTTP2_HEADER;
	int read;

	report->key.tgid = report->thread >> 32;
	report->key.generation = report->generation;
	if (!s->head_have && s->http2_stream)
		http2_leave(report, s);
	read = http2_read(report, s, may_sleep);
	if (read == HTTP2_CUT) {
		copy_to(report, report->end, start, may_sleep);
		return;
	}
	if (read == HTTP2_UNREAD ||
	    !http2_begin(report, conn, report->pos - (s->head_have & 15) + HTTP2_HEADER_BYTES)) {
		/* If reading has failed, copying will likewise, and count it. */
		s->mode = STREAM_COPY;
		s->head_have = 0;
		return;
	}
	s->head_have = 0;
	if (s->head[3] == HTTP2_DATA)
		http2_data(report, conn, s);
	if (has_fields(report, s))
		http2_request(report, conn, http2_fields(report, may_sleep));
	http2_ending(report, s);
	copy_beginning(report, s, start, may_sleep);
}

/* Content passes of a stream that may be a WebSocket: the frames in it are to be walked. The call ends
 * with the content meanwhile. NULL if the stream was forgotten. */
static __noinline struct stream *begin_content(struct report *report, struct stream *s)
{
	struct http2_stream *known;

	report->key.tgid = report->thread >> 32;
	report->key.generation = report->generation;
	report->key.stream = s->http2_stream;
	known = http2_known(report);
	if (!known || known->ways[report->direction & 1].mode != STREAM_WALK) {
		s->http2_stream = 0;
		s->copy_until = s->next_header;
		return NULL;
	}
	report->call_end = report->end;
	report->end = min_u64(report->end, s->content_end);
	return &known->ways[report->direction & 1];
}

static __always_inline void end_content(struct report *report)
{
	if (report->call_end)
		report->end = report->call_end;
	report->call_end = 0;
}

/* The next piece of a frame that is copied whole. */
static __always_inline void walk_http2_payload(struct report *report, struct conn *conn,
					       struct stream *s, bool may_sleep)
{
	if (has_fields(report, s))
		http2_request(report, conn, http2_fields(report, may_sleep));
	copy_to(report, min_u64(report->end, s->copy_until), start_of(report), may_sleep);
}

/* The next piece of a connection that speaks HTTP/2. Returns the stream whose frames are to be walked
 * next, if there is one. */
static __always_inline struct stream *walk_http2(struct report *report, struct conn *conn,
						 struct stream *s, bool may_sleep)
{
	if (report->pos >= s->next_header)
		walk_http2_header(report, conn, s, may_sleep);
	else if (report->pos < s->copy_until)
		walk_http2_payload(report, conn, s, may_sleep);
	else if (!s->http2_stream)
		skip_to(report, s, min_u64(report->end, s->next_header));
	else if (report->pos < s->content_end)
		return begin_content(report, s);
	else
		copy_to(report, min_u64(report->end, s->next_header), start_of(report), may_sleep);
	return NULL;
}

#endif
