/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The program at the entry of zlib's inflate() and deflate(), while a compressed connection of the
 * process waits for the plaintext before its next message.
 *
 * It reads what zlib.h promises (z_stream), and from the private state behind it what zlib 1.2.11 to
 * 1.3.x and Chromium's form of it have in the same places (inflate.h and deflate.h). The state must
 * point back to its stream, and its sizes must fit together, or nothing of it is used. Userspace
 * checks everything again, against what passes on the connection.
 */
#ifndef WSTAP_ZLIB_BPF_H
#define WSTAP_ZLIB_BPF_H

#include "process.bpf.h"

#define ZLIB_WORDS(type, at) (*(const type *)((const char *)look->state + (at)))

enum {
	/* Windows of streams are copied with the first calls that are seen: any of them may be the first
	 * that helps. Then with every so many. */
	WINDOWS_AT_FIRST = 6,
	WINDOW_EVERY = 3,
	STREAM_BYTES = 64,
	STATE_BYTES = 272,
	CHECKSUM_BYTES = 80,
	/* RFC 7692, section 7.2.1: what is put behind each message before it is inflated. */
	TRAILER = 0xffff0000,
};

/* z_stream, of zlib.h. */
struct z_stream {
	__u64 next_in;
	__u32 avail_in;
	__u32 pad;
	__u64 total_in;
	__u64 next_out;
	__u32 avail_out;
	__u32 pad_too;
	__u64 total_out;
	__u64 msg;
	__u64 state;
};

/* One call, while it is looked at: too much for the stack. */
struct zlib_look {
	struct z_stream z;
	__u64 state[STATE_BYTES / 8];
	__u64 stream;
	__u64 window; /* address of what is to be copied, */
	__u64 tail;   /* and of the last bytes before the call */
	__u32 have;   /* bytes of it */
	__u32 next;   /* where the oldest of them is */
	__u32 size;   /* how far back the stream may refer */
	__u32 tail_bytes;
	__u16 target;
	__u8 direction;
	__u8 verdict; /* enum wstap_zlib_verdict */
	__u8 pad[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct zlib_look);
} zlib_looks SEC(".maps");

/* Calls that could not be reported. Each report says how many there were before it, so that userspace
 * knows where it has seen all of them. */
__u32 zlib_missed SEC(".bss.zlib");

static __always_inline void miss_zlib_call(void)
{
	__sync_fetch_and_add(&zlib_missed, 1);
}

struct zlib_key {
	__u64 stream;
	__u32 tgid;
	__u32 direction;
};

/* How many calls on a stream were seen. One that gives way to another begins anew. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct zlib_key);
	__type(value, __u32);
} zlib_streams SEC(".maps");

/* struct inflate_state. */
static __always_inline void look_at_inflater(struct zlib_look *look)
{
	enum { WRAP = 16, BITS = 56, SIZE = 60, HAVE = 64, NEXT = 68, WINDOW = 72 };
	__u32 bits = ZLIB_WORDS(__u32, BITS), size = ZLIB_WORDS(__u32, SIZE);
	__u32 have = ZLIB_WORDS(__u32, HAVE), next = ZLIB_WORDS(__u32, NEXT);
	__u64 window = ZLIB_WORDS(__u64, WINDOW);

	if (bits < 8 || bits > 15)
		return;
	/* It has no window before it needs one. */
	if (ZLIB_WORDS(__u32, WRAP) || (!window && !size && !have)) {
		look->verdict = WSTAP_ZLIB_OTHER;
		return;
	}
	if (!window || size != 1U << bits || have > size || next > size)
		return;
	if (have < size && next != have)
		return;
	look->size = size;
	look->window = window;
	look->have = have;
	look->next = have == size ? next : 0;
	look->tail_bytes = next ? next : have;
	if (look->tail_bytes > WSTAP_ZLIB_TAIL_BYTES)
		look->tail_bytes = WSTAP_ZLIB_TAIL_BYTES;
	look->tail = window + (next ? next : have) - look->tail_bytes;
	look->verdict = WSTAP_ZLIB_RAW;
}

/* struct internal_state of deflate.h. Chromium's zlib of some years has 80 bytes more in front of the
 * sizes, for a checksum (crc0): Node.js 20 has that form. */
static __always_inline bool look_at_deflater(struct zlib_look *look, const __u32 more)
{
	enum { WRAP = 48, SIZE = 80, BITS = 84, MASK = 88, WINDOW = 96, START = 172, AHEAD = 180 };
	__u32 bits = ZLIB_WORDS(__u32, BITS + more), size = ZLIB_WORDS(__u32, SIZE + more);
	__u32 start = ZLIB_WORDS(__u32, START + more), ahead = ZLIB_WORDS(__u32, AHEAD + more);
	__u64 window = ZLIB_WORDS(__u64, WINDOW + more);

	if (bits < 8 || bits > 15 || size != 1U << bits)
		return false;
	if (ZLIB_WORDS(__u32, MASK + more) != size - 1)
		return false;
	if (!window || start > 2 * size || ahead > 2 * size)
		return false;
	/* With something ahead the call goes on with what an earlier one was given. */
	if (ZLIB_WORDS(__u32, WRAP) || ahead) {
		look->verdict = WSTAP_ZLIB_OTHER;
		return true;
	}
	look->size = size;
	look->have = start < size ? start : size;
	look->window = window + start - look->have;
	look->next = 0;
	look->tail_bytes = look->have < WSTAP_ZLIB_TAIL_BYTES ? look->have : WSTAP_ZLIB_TAIL_BYTES;
	look->tail = window + start - look->tail_bytes;
	look->verdict = WSTAP_ZLIB_RAW;
	return true;
}

/* Whether userspace is to be told of the call that `look` is at. */
static __noinline bool look_at_call(struct zlib_look *look)
{
	__u32 first = 0;

	/* A flush, or a call that only drains what is left. */
	if (read_user(&look->z, sizeof(look->z), look->stream)) {
		miss_zlib_call();
		return false;
	}
	if (!look->z.avail_in)
		return false;
	look->verdict = WSTAP_ZLIB_UNKNOWN;
	look->have = 0;
	look->tail_bytes = 0;
	if (read_user(look->state, sizeof(look->state), look->z.state))
		return true;
	if (look->state[0] != look->stream)
		return true;
	if (look->direction == WSTAP_RECEIVED)
		look_at_inflater(look);
	else if (!look_at_deflater(look, 0))
		look_at_deflater(look, CHECKSUM_BYTES);
	if (look->verdict == WSTAP_ZLIB_RAW && !look->z.total_in)
		look->verdict = WSTAP_ZLIB_OTHER;
	if (look->direction == WSTAP_RECEIVED && look->z.avail_in == sizeof(first) &&
	    !read_user(&first, sizeof(first), look->z.next_in) && first == TRAILER)
		return false;
	return true;
}

/* Whether the window should be copied with this call. */
static __noinline bool is_window_due(const struct zlib_look *look)
{
	struct zlib_key key = { .stream = look->stream, .direction = look->direction };
	__u32 first = 1, before, *seen;

	key.tgid = bpf_get_current_pid_tgid() >> 32;
	seen = bpf_map_lookup_elem(&zlib_streams, &key);
	if (!seen) {
		bpf_map_update_elem(&zlib_streams, &key, &first, BPF_ANY);
		return true;
	}
	before = __sync_fetch_and_add(seen, 1);
	return before < WINDOWS_AT_FIRST || before % WINDOW_EVERY == 0;
}

/* Copies the input of the call, at most so much. These two are functions of their own: between a
 * comparison and a read, a larger function keeps a length on the stack, where Linux 6.1 does not know any
 * more that it is bounded. */
static __noinline int copy_zlib_input(struct wstap_zlib_call *r, const struct zlib_look *look)
{
	__u32 input = look->z.avail_in;

	if (input > WSTAP_ZLIB_INPUT_BYTES)
		input = WSTAP_ZLIB_INPUT_BYTES;
	opaque(input);
	if (input <= WSTAP_ZLIB_INPUT_BYTES && !read_user(r->input, input, look->z.next_in))
		r->input_bytes = input;
	return 0;
}

/* Copies the end of the window. */
static __noinline int copy_zlib_tail(struct wstap_zlib_call *r, const struct zlib_look *look)
{
	__u32 tail = look->tail_bytes;

	opaque(tail);
	if (tail <= WSTAP_ZLIB_TAIL_BYTES && !read_user(r->tail, tail, look->tail))
		r->tail_bytes = tail;
	return 0;
}

static __always_inline void fill_zlib_call(struct wstap_zlib_call *r, const struct zlib_look *look)
{
	__u64 thread = bpf_get_current_pid_tgid();

	r->at_ns = bpf_ktime_get_ns();
	r->stream = look->stream;
	r->total_in = look->z.total_in;
	r->total_out = look->z.total_out;
	r->tgid = thread >> 32;
	r->tid = (__u32)thread;
	r->input_len = look->z.avail_in;
	r->window_size = look->size;
	r->target = look->target;
	r->kind = WSTAP_ZLIB_CALL;
	r->direction = look->direction;
	r->verdict = look->verdict;
	__builtin_memset(r->reserved, 0, sizeof(r->reserved));
	r->window_bytes = 0;
	r->window_next = look->next;
	r->input_bytes = 0;
	r->tail_bytes = 0;
	r->missed = zlib_missed;
	__builtin_memset(r->reserved_2, 0, sizeof(r->reserved_2));
	if (look->verdict != WSTAP_ZLIB_RAW)
		return;
	copy_zlib_input(r, look);
	copy_zlib_tail(r, look);
}

static __noinline int report_zlib_call(const struct zlib_look *look)
{
	struct wstap_zlib_call *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);

	if (!r) {
		miss_zlib_call();
		return 0;
	}
	fill_zlib_call(r, look);
	bpf_ringbuf_submit(r, wakeup_by_fill());
	return 0;
}

/* With its window. A call whose window could not be read is reported without one. */
#define REPORT_WITH_WINDOW(name, SIZE)                                                             \
	static __noinline int name(const struct zlib_look *look)                                   \
	{                                                                                          \
		struct {                                                                           \
			struct wstap_zlib_call call;                                               \
			__u8 window[SIZE];                                                         \
		} *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);                                \
		if (!r) {                                                                          \
			miss_zlib_call();                                                          \
			return 0;                                                                  \
		}                                                                                  \
		fill_zlib_call(&r->call, look);                                                    \
		__u32 have = look->have;                                                           \
		opaque(have);                                                                      \
		if (have <= SIZE && !read_user(r->window, have, look->window)) {                   \
			r->call.window_bytes = have;                                               \
		} else {                                                                           \
			bpf_ringbuf_discard(r, BPF_RB_NO_WAKEUP);                                  \
			miss_zlib_call();                                                          \
			return 0;                                                                  \
		}                                                                                  \
		bpf_ringbuf_submit(r, wakeup_by_fill());                                           \
		return 0;                                                                          \
	}

REPORT_WITH_WINDOW(report_small_window, 4096)
REPORT_WITH_WINDOW(report_large_window, 32768)

/* The part of the ring buffer that is filled, in quarters. What passes on connections has the first
 * right to it. */
static __always_inline __u64 quarters_filled(void)
{
	__u64 size = bpf_ringbuf_query(&events, BPF_RB_RING_SIZE);
	__u64 held = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);

	return size ? held / (size / 4) : 4;
}

/* The cookie is the direction. */
SEC("uprobe")
int zlib_call(struct pt_regs *ctx)
{
	struct thread *thread = tapped_thread();
	struct zlib_look *look;
	__u64 quarters;

	if (!thread)
		return 0;
	look = bpf_task_storage_get(&zlib_looks, bpf_get_current_task_btf(), NULL,
				    BPF_LOCAL_STORAGE_GET_F_CREATE);
	quarters = quarters_filled();
	if (!look || quarters >= 2) {
		miss_zlib_call();
		return 0;
	}
	look->stream = PT_REGS_PARM1(ctx);
	look->target = thread->process.target;
	look->direction = bpf_get_attach_cookie(ctx) & WSTAP_COOKIE_DIRECTION;
	if (!look_at_call(look))
		return 0;
	if (look->verdict != WSTAP_ZLIB_RAW || quarters >= 1 || !is_window_due(look))
		return report_zlib_call(look);
	if (look->have <= 4096)
		return report_small_window(look);
	return report_large_window(look);
}

#endif
