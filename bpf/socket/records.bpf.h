/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Recognises TLS on a socket by the records at the beginning of its calls. Streams that are met in the
 * middle of a record are left to src/decode/resync/tls_records.rs.
 */
#ifndef WSTAP_RECORDS_BPF_H
#define WSTAP_RECORDS_BPF_H

#include "socket/syscall.bpf.h"

enum {
	/* RFC 8446, sections 4 and 5.1; the length as TLS 1.2 allows it. */
	RECORD_HEADER_BYTES = 5,
	RECORD_LENGTH_MAX = (1 << 14) + 2048,
	RECORD_HANDSHAKE = 22,
	CLIENT_HELLO = 1,
	SERVER_HELLO = 2,
};

static __always_inline bool read_record(const struct report *report, __u64 offset, __u8 *header)
{
	if (offset < report->base || offset + RECORD_HEADER_BYTES > report->end)
		return false;
	if (read_user(header, RECORD_HEADER_BYTES, report->buffer + (offset - report->base)))
		return false;
	return header[0] >= 20 && header[0] <= 23 && header[1] == 3 && header[2] <= 4 &&
	       (header[3] << 8 | header[4]) <= RECORD_LENGTH_MAX;
}

/* The first record of a connection, seen whole. */
static __always_inline bool is_hello(const struct report *report)
{
	__u8 kind;

	if (report->end - report->base <= RECORD_HEADER_BYTES)
		return false;
	if (read_user(&kind, sizeof(kind), report->buffer + RECORD_HEADER_BYTES))
		return false;
	return kind == CLIENT_HELLO || kind == SERVER_HELLO;
}

enum tls_verdict {
	TLS_NOT,
	TLS_PERHAPS, /* the next record will tell */
	TLS_CERTAINLY,
};

/* Whether a stream of which nothing else is known carries TLS (RFC 8446, section 5.1). A hello
 * proves it, and so do two records in a row. Without this check the bytes would be searched for
 * frames, and some would look like frames by chance. */
static __noinline int recognise_tls(struct socket_call *call, struct stream *s)
{
	struct report *report = &call->report;
	__u8 header[RECORD_HEADER_BYTES] = {};

	if (s->mode != STREAM_COPY)
		return TLS_NOT;
	if (!s->has_seq) {
		if (!read_record(report, report->base, header))
			return TLS_NOT;
		if (header[0] == RECORD_HANDSHAKE && is_hello(report))
			return TLS_CERTAINLY;
		s->record_at = report->base + RECORD_HEADER_BYTES + (header[3] << 8 | header[4]);
	}
	if (!s->record_at)
		return TLS_NOT;
	if (s->record_at >= call->end)
		return TLS_PERHAPS;
	if (read_record(report, s->record_at, header))
		return TLS_CERTAINLY;
	s->record_at = 0;
	return TLS_NOT;
}

#endif
