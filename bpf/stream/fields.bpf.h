/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Looks at the first fields of an HTTP/2 request (RFC 7541, section 6): may it be an extended CONNECT?
 *
 * Nothing is decompressed. A field is passed by its length, and what refers to an earlier request stays
 * unknown.
 */
#ifndef WSTAP_FIELDS_BPF_H
#define WSTAP_FIELDS_BPF_H

#include "stream/emit.bpf.h"

enum {
	/* Fields of a request that are looked at: its pseudo-header fields come first. */
	HTTP2_FIELDS = 6,
	/* Bytes of "CONNECT", with Huffman's code or without. */
	CONNECT_BYTES = 7,
};

/* What the first fields of a head tell. */
enum http2_head {
	HEAD_UNKNOWN,	 /* it may be trailers, too */
	HEAD_OF_REQUEST, /* it may ask for a WebSocket */
	HEAD_OF_OTHER,	 /* it asks for something else */
};

/* A field that is one of the table of RFC 7541, appendix A, or has its name from there. */
enum {
	TABLE_AUTHORITY = 1,
	TABLE_GET = 2,
	TABLE_POST = 3,
	TABLE_HTTPS = 7,
};

/* Passes the rest of a number in the size of the table of earlier fields (RFC 7541, section 5.1): its
 * last byte has no upper bit. Returns HEAD_UNKNOWN, or -1 if it is longer than any that makes sense. */
static __always_inline int http2_long_size(struct report *report, bool may_sleep)
{
	__u8 rest[4];

	if (report->field + sizeof(rest) > report->fields_end ||
	    read_user_or_fail(rest, sizeof(rest), report->buffer + (report->field - report->base),
			      may_sleep))
		return -1;
	for (int i = 0; i < (int)sizeof(rest); i++) {
		report->field += 1;
		if (!(rest[i] & 0x80))
			return HEAD_UNKNOWN;
	}
	return -1;
}

/*
 * Looks at the field at report->field, which has at least two bytes (RFC 7541, section 6), and moves
 * on to the next one. Returns what it tells of the request, or -1 if no further field can be read.
 */
static __always_inline int http2_field(struct report *report, bool may_sleep)
{
	__u8 field[2];
	__u32 name, value;

	if (read_user_or_fail(field, sizeof(field), report->buffer + (report->field - report->base),
			      may_sleep))
		return -1;
	value = field[1] & 0x7f;
	if (field[0] & 0x80) {
		name = field[0] & 0x7f;
		report->field += 1;
		if (name == TABLE_GET || name == TABLE_POST)
			return HEAD_OF_OTHER;
		if (!name || name == 0x7f)
			return -1;
		return name <= TABLE_HTTPS ? HEAD_OF_REQUEST : HEAD_UNKNOWN;
	}
	if ((field[0] & 0xe0) == 0x20) {
		report->field += 1;
		return (field[0] & 0x1f) == 0x1f ? http2_long_size(report, may_sleep) : HEAD_UNKNOWN;
	}
	name = field[0] & 0x40 ? field[0] & 0x3f : field[0] & 0x0f;
	if (name < TABLE_AUTHORITY || name > TABLE_HTTPS || value == 0x7f)
		return -1;
	report->field += 2 + value;
	/* What is not in the table is written out. */
	if ((name == TABLE_GET || name == TABLE_POST) && value != CONNECT_BYTES)
		return HEAD_OF_OTHER;
	return HEAD_OF_REQUEST;
}

/* Looks at the fields from report->field on, as far as they are here. */
static __always_inline int http2_fields_how(struct report *report, bool may_sleep)
{
	int head = HEAD_UNKNOWN;

	if (!report)
		return 0;
	for (int i = 0; i < HTTP2_FIELDS; i++) {
		int told;

		if (report->field + 2 > report->fields_end)
			break;
		told = http2_field(report, may_sleep);
		if (told < 0)
			break;
		if (told > head)
			head = told;
		if (head == HEAD_OF_OTHER)
			break;
	}
	return head;
}

/* Functions of their own for the reason that emit_bytes_atomic() is one. */
__noinline int http2_fields_atomic(struct report *report)
{
	return http2_fields_how(report, false);
}

#ifndef NEVER_SLEEPS
__noinline int http2_fields_sleepable(struct report *report)
{
	return http2_fields_how(report, true);
}
#endif

static __always_inline int http2_fields(struct report *report, bool may_sleep)
{
#ifndef NEVER_SLEEPS
	if (may_sleep)
		return http2_fields_sleepable(report);
#endif
	(void)may_sleep;
	return http2_fields_atomic(report);
}

#endif
