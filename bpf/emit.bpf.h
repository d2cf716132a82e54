/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* The only place that writes to the ring buffer. A record that finds no room, or whose bytes
 * cannot be read, is counted here; its place in the stream shows the reader the same hole. */
#ifndef WSTAP_EMIT_BPF_H
#define WSTAP_EMIT_BPF_H

#include "maps.bpf.h"

/* Keeps clang from proving a bound by itself and dropping the check that the verifier needs. */
#define opaque(var) asm volatile("" : "+r"(var))

/* The call being reported; lives on the stack of the return program. */
struct report {
	struct conn *conn;
	__u64 at_ns;
	__u64 handle;
	__u64 buffer; /* user address of the byte at stream offset `base` */
	__u64 base;
	__u64 pos; /* offset of the next byte to report */
	__u64 end;
	__u16 target;
	__u8 direction;
};

/* What the next record stands for: [offset, offset + len), of which `want` bytes are copied. */
struct piece {
	__u64 offset;
	__u64 len;
	__u32 want;
	__u8 start;
	__u8 absent;
};

static __always_inline long read_user(void *to, __u32 size, __u64 from)
{
	if (sleepable)
		return bpf_copy_from_user(to, size, (const void *)from);
	return bpf_probe_read_user(to, size, (const void *)from);
}

/* No wake-up per record: the reader polls on a timer, and is woken when the fill crosses the
 * threshold upwards (once, not for every record above it). The first bytes of a connection are
 * urgent: once the reader knows the handshake, payload need not be copied any more. */
static __always_inline __u64 wakeup_flag(__u32 size, __u64 offset)
{
	__u64 held;

	if (!wake_bytes || offset < URGENT_BYTES)
		return BPF_RB_FORCE_WAKEUP;
	held = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);
	if (held < wake_bytes || held >= wake_bytes + size)
		return BPF_RB_NO_WAKEUP;
	return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void fill_header(struct wstap_record *r, const struct report *report,
					const struct piece *piece)
{
	__u64 id = bpf_get_current_pid_tgid();

	r->at_ns = report->at_ns;
	r->handle = report->handle;
	r->offset = piece->offset;
	r->len = piece->len;
	r->tgid = id >> 32;
	r->tid = (__u32)id;
	r->generation = report->conn->generation;
	r->captured = piece->want;
	r->target = report->target;
	r->kind = WSTAP_DATA;
	r->direction = report->direction;
	r->absent = piece->absent;
	r->start = piece->start;
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

/* Reserve needs a constant size, so records come in classes: a 100-byte message must not take
 * the room of a 16 KiB one. */
#define EMIT_CLASS(SIZE)                                                                           \
	do {                                                                                       \
		struct {                                                                           \
			struct wstap_record header;                                                \
			__u8 bytes[SIZE];                                                          \
		} *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);                                \
		if (!r) {                                                                          \
			count_ring_full(piece->len);                                               \
			return 0;                                                                  \
		}                                                                                  \
		fill_header(&r->header, report, piece);                                            \
		opaque(want);                                                                      \
		if (want > SIZE)                                                                   \
			want = SIZE;                                                               \
		if (read_user(r->bytes, want, from)) {                                             \
			r->header.captured = 0;                                                    \
			r->header.absent = WSTAP_COPY_FAILED;                                      \
			count_copy_failed(piece->len);                                             \
		}                                                                                  \
		bpf_ringbuf_submit(r, wakeup_flag(sizeof(*r), piece->offset));                                    \
		return 0;                                                                          \
	} while (0)

static __noinline int emit(const struct report *report, const struct piece *piece)
{
	__u64 from = report->buffer + (piece->offset - report->base);
	__u32 want = piece->want;

	if (want == 0) {
		struct wstap_record *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);

		if (!r) {
			count_ring_full(piece->len);
			return 0;
		}
		fill_header(r, report, piece);
		bpf_ringbuf_submit(r, wakeup_flag(sizeof(*r), piece->offset));
		return 0;
	}
	if (want <= 64)
		EMIT_CLASS(64);
	if (want <= 256)
		EMIT_CLASS(256);
	if (want <= 1024)
		EMIT_CLASS(1024);
	if (want <= 4096)
		EMIT_CLASS(4096);
	EMIT_CLASS(PIECE_BYTES);
}

#endif
