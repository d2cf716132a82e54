/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The contract between the kernel side and src/capture/bpf/wire.rs: the layout of a ring buffer
 * record, of an attach cookie, and of a steering word.
 *
 * Fixed-width fields, units in the names, no padding that is not named. The Rust types are
 * generated from this header's BTF, so there is no second copy to drift.
 */
#ifndef WSTAP_EVENTS_H
#define WSTAP_EVENTS_H

enum wstap_record_kind {
	WSTAP_DATA = 0,
	WSTAP_CLOSED = 1,
	/* struct wstap_process */
	WSTAP_FORKED = 2,   /* tgid is a new child of parent */
	WSTAP_EXECUTED = 3, /* runs another program now */
	WSTAP_LOADED = 4,   /* the dynamic loader has changed what is mapped */
	WSTAP_EXITED = 5,   /* the last thread has ended; no record of it follows */
	/* struct wstap_record, of a socket; nothing follows */
	WSTAP_ENCRYPTED = 6, /* what passes there is TLS */
	/* struct wstap_zlib_call */
	WSTAP_ZLIB_CALL = 7,
};

enum wstap_direction {
	WSTAP_SENT = 0,
	WSTAP_RECEIVED = 1,
};

/* Why captured < len. */
enum wstap_absent {
	WSTAP_SKIPPED = 0,	  /* left out on purpose */
	WSTAP_COPY_FAILED = 1,	  /* the application's memory could not be read */
	WSTAP_CALL_TOO_LARGE = 2, /* beyond the bounded work for one call */
};

/* What the first byte of a record is known to be. */
enum wstap_start {
	WSTAP_MIDDLE = 0,
	WSTAP_CALL = 1,		/* the first byte that a call passed */
	WSTAP_FRAME_HEADER = 2, /* the first byte of a frame header, walked to from a proven one */
	WSTAP_STREAM_FRAME_HEADER = 3, /* the same on a stream of HTTP/2 */
	WSTAP_HTTP2_HEADER = 4, /* the first byte of a header of an HTTP/2 frame, likewise */
};

/*
 * A record stands for the plaintext bytes [offset, offset + len) of one direction of one
 * connection; `captured` of them, from the start, follow this header. In a CLOSED record offset
 * and len are the totals sent and received over the connection's life, and nothing follows.
 */
struct wstap_record {
	__u64 at_ns;	  /* CLOCK_MONOTONIC: entry of the call if sent, return if received */
	__u64 handle;	  /* SSL *, *tls.Conn, or the equal of another library; or a socket */
	__u64 offset;	  /* bytes from the first one seen in this direction */
	__u64 len;	  /* bytes this record stands for */
	__u32 tgid;
	__u32 tid;
	__u32 generation; /* never given twice in a run */
	__u32 captured;	  /* bytes that follow */
	__u16 target;	  /* index of the selector that the process was tapped for */
	__u8 kind;	  /* enum wstap_record_kind */
	__u8 direction;	  /* enum wstap_direction */
	__u8 absent;	  /* enum wstap_absent */
	__u8 start;	  /* enum wstap_start */
	__u8 reserved[2];
};
_Static_assert(sizeof(struct wstap_record) == 56, "wire.rs asserts the same size");

/*
 * The handle of a socket is its inode number, as /proc/PID/fd has it, with the upper 16 bits set.
 * No address in an application's memory has them.
 */
#define WSTAP_SOCKET_HANDLE (0xffffULL << 48)

/*
 * The handle of a layer of NSPR is its address with these bits set: it may be TLS or something else.
 */
#define WSTAP_LAYER_HANDLE (0xfffeULL << 48)

/* What happened to a process. The kind is at the same offset as in a wstap_record. */
struct wstap_process {
	__u64 at_ns;
	__u64 reserved[3];
	__u32 tgid;
	__u32 parent; /* WSTAP_FORKED */
	__u64 reserved_2;
	__u16 target; /* of a tapped process */
	__u8 kind;    /* enum wstap_record_kind */
	__u8 is_tapped;
	__u8 reserved_3[4];
};
_Static_assert(sizeof(struct wstap_process) == 56, "wire.rs asserts the same size");
_Static_assert(__builtin_offsetof(struct wstap_process, kind) ==
		       __builtin_offsetof(struct wstap_record, kind),
	       "the kind tells which one it is");

enum wstap_zlib_verdict {
	WSTAP_ZLIB_RAW = 0,	/* a raw stream that has done something before */
	WSTAP_ZLIB_OTHER = 1,	/* another format, or one that only begins: nothing but counts */
	WSTAP_ZLIB_UNKNOWN = 2, /* the state is not laid out as zlib's */
};

enum {
	WSTAP_ZLIB_INPUT_BYTES = 256,
	WSTAP_ZLIB_TAIL_BYTES = 256,
};

/*
 * A call of inflate() or deflate(), at its entry. The kind is at the same offset as in a
 * wstap_record. The window, if it was copied, follows: window_bytes of it, as they lie in memory.
 */
struct wstap_zlib_call {
	__u64 at_ns;
	__u64 stream; /* z_stream * */
	__u64 total_in;
	__u64 total_out;
	__u32 tgid;
	__u32 tid;
	__u32 input_len;    /* bytes that the call is given */
	__u32 window_size;  /* how far back the stream may refer */
	__u16 target;
	__u8 kind;	    /* enum wstap_record_kind */
	__u8 direction;	    /* of what is inflated it is received */
	__u8 verdict;	    /* enum wstap_zlib_verdict */
	__u8 reserved[3];
	__u32 window_bytes; /* 0 if it was not copied */
	__u32 window_next;  /* where in the window the oldest byte is */
	__u32 input_bytes;  /* of `input` */
	__u32 tail_bytes;   /* of `tail` */
	__u32 missed;	    /* calls before this one that are not reported, of all processes; it wraps */
	__u8 input[WSTAP_ZLIB_INPUT_BYTES];
	__u8 tail[WSTAP_ZLIB_TAIL_BYTES]; /* the last of the plaintext before the call */
	__u8 reserved_2[4];
};
_Static_assert(sizeof(struct wstap_zlib_call) == 592, "wire.rs asserts the same size");
_Static_assert(__builtin_offsetof(struct wstap_zlib_call, kind) ==
		       __builtin_offsetof(struct wstap_record, kind),
	       "the kind tells which one it is");

/* What the kernel side knows of a tapped process. Userspace writes it with the tgid as key. */
struct wstap_tapped {
	__u32 born;   /* generations up to this one belong to an earlier process or program */
	__u16 target; /* index of the selector */
	__u8 flags;   /* enum wstap_tapped_flags */
	__u8 execs;   /* kernel side only: task_struct.self_exec_id at the exec last reported */
	__u8 memory;  /* index of the memory that it shares with others; 0 = none is known */
	__u8 reserved[3];
};
_Static_assert(sizeof(struct wstap_tapped) == 12, "wire.rs asserts the same size");

/*
 * Memory that processes have at the same addresses [start, end) and share, by index. An object that lies
 * there is one connection, whichever of them uses it.
 */
struct wstap_memory {
	__u64 start;
	__u64 end;
};

enum wstap_memory_bits {
	WSTAP_MEMORIES = 256,
	/* In place of a tgid in the key of such a connection, with the index. No tgid is so large. */
	WSTAP_IN_MEMORY = 0x80000000,
};

enum wstap_tapped_flags {
	WSTAP_FOLLOW = 0x1, /* its children are tapped, too */
	WSTAP_HOLD = 0x2,   /* stop it at each exec and load, until userspace lets it go on */
	WSTAP_SOCKETS = 0x4, /* its TCP sockets are tapped, too */
};

/* What was lost in the kernel, by reason. Bytes are bytes of a stream that were never delivered. */
struct wstap_losses {
	__u64 ring_full_records;
	__u64 ring_full_bytes;
	__u64 copy_failed_records;
	__u64 copy_failed_bytes;
	__u64 call_too_large_records;
	__u64 call_too_large_bytes;
	/* Calls that could not be followed, because there was no room for their arguments, or these
	 * could not be read. How many bytes they passed is not known, so the offsets of the
	 * connection do not include them. */
	__u64 untracked_calls;
	/* Forks, execs, loads and exits that could not be reported. Userspace inspects all
	 * processes after one. */
	__u64 process_records;
	/* Calls on connections beyond the bound, which are not followed. */
	__u64 too_many_calls;
	__u64 too_many_bytes;
	/* Calls that had begun before their probes were in place: only the return was seen. */
	__u64 in_flight_calls;
	__u64 in_flight_bytes;
	/* Ends of connections that found no room. */
	__u64 connection_ends;
};
_Static_assert(sizeof(struct wstap_losses) == 104, "wire.rs asserts the same size");

/*
 * The attach cookie says what the probed function is, so that one entry and one return program
 * serve every C-ABI TLS function. Argument numbers count from 0.
 *
 *   bit   0       direction
 *   bit   1       result: a status, and a size_t through an argument; else the count itself
 *   bit   2       the count itself is 64 bits wide; else an int
 *   bit   3       handles are NSPR's, of which only layers are connections
 *   bits  4-7     argument that is the handle
 *   bits  8-11    argument that is the buffer
 *   bits 12-15    argument that points to the count (status only)
 *   bit  16       of a function that ends connections: only those that bytes have passed both ways
 *   bit  17       of a read: it is a peek if a register says so
 *   bit  18       at a return site: calls of functions that are not probed return here as well
 *   bit  19       at a return site: the call returns only if a condition holds for the flags
 *   bits 20-23    at an entry: the argument that is the length, if a short call that succeeds passes
 *                 all of it; else 0
 *   bits 20-23    at a return site: the register with the result, as machine code numbers it; the
 *                 stack pointer's number where only calls return that have failed
 *   bits 24-27    of a read: the register that says whether it is a peek
 *   bits 28-31    at a return site: the condition, as machine code numbers it
 *   bits 32-63    at a return site: how far the stack pointer is above the one at entry, signed
 *
 * Of a read for which one probe is enough, bits 4-15 number registers instead of arguments.
 *
 * Go's methods pass everything in known registers, so only bit 0 of their cookie counts. The cookie
 * of a function of rustls is an offset, see tls/rustls.bpf.h.
 */
enum wstap_cookie {
	WSTAP_COOKIE_DIRECTION = 0x1,
	WSTAP_COOKIE_STATUS = 0x2,
	WSTAP_COOKIE_LONG = 0x4,
	WSTAP_COOKIE_LAYERS = 0x8,
	WSTAP_COOKIE_HANDLE_SHIFT = 4,
	WSTAP_COOKIE_BUFFER_SHIFT = 8,
	WSTAP_COOKIE_COUNT_SHIFT = 12,
	WSTAP_COOKIE_USED = 0x10000,
	WSTAP_COOKIE_PEEK = 0x20000,
	WSTAP_COOKIE_SHARED = 0x40000,
	WSTAP_COOKIE_CONDITIONAL = 0x80000,
	WSTAP_COOKIE_LENGTH_SHIFT = 20,
	WSTAP_COOKIE_REGISTER_SHIFT = 20,
	WSTAP_COOKIE_PEEK_SHIFT = 24,
	WSTAP_COOKIE_CONDITION_SHIFT = 28,
	WSTAP_COOKIE_DISTANCE_SHIFT = 32,
};

/*
 * Steering, written by userspace into mapped memory: one word for each direction, at the slot
 * generation % WSTAP_STEER_SLOTS. A word is valid on its own, whatever was in the slot before:
 *
 *   bits  0-44    absolute offset at which a frame header starts; all ones = ignore the stream
 *   bit  45       the frames are those of HTTP/2
 *   bit  46       copy only the beginning of long messages that are not compressed;
 *                 of HTTP/2: requests pass in this direction
 *   bit  47       copy compressed messages whole (the inflater needs every byte)
 *   bits 48-63    bits 14-28 of the generation, plus one, so that 0 is "no word"
 */
enum wstap_steer_bits {
	WSTAP_STEER_SLOTS = 16384,
	WSTAP_STEER_SLOT_BITS = 14,
	WSTAP_STEER_OFFSET_BITS = 45,
	WSTAP_STEER_TAG_SHIFT = 48,
	WSTAP_STEER_TAG_MASK = 0x7fff,
};
#define WSTAP_STEER_IGNORE ((1ULL << WSTAP_STEER_OFFSET_BITS) - 1)
#define WSTAP_STEER_HTTP2 (1ULL << WSTAP_STEER_OFFSET_BITS)
#define WSTAP_STEER_NARROW (WSTAP_STEER_HTTP2 << 1)
#define WSTAP_STEER_ASKS WSTAP_STEER_NARROW
#define WSTAP_STEER_WHOLE (WSTAP_STEER_NARROW << 1)

struct wstap_steer {
	__u64 word[2]; /* by enum wstap_direction */
};

#endif
