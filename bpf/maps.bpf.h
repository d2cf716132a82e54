/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* Settings, maps and counters, shared by both objects. Rust owns the numbers: it writes the settings
 * before load and resizes the maps from its configuration. */
#ifndef WSTAP_MAPS_BPF_H
#define WSTAP_MAPS_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "events.h"

/* Payload bytes copied of each message. */
const volatile __u32 window_bytes = 64 << 10;
/* The same for a narrow direction, in messages whose first frame is longer than long_bytes. */
const volatile __u64 long_bytes = 1 << 10;
const volatile __u64 narrow_bytes = 256;
/* The reader is woken when the ring buffer holds this much; 0 wakes it for every record. */
const volatile __u64 wake_bytes = 1 << 20;
/* The programs are sleepable and may fault the application's pages in (>= 6.1). */
const volatile bool sleepable = false;
/* bpf_probe_read_user() exists. Lockdown to confidentiality removes it. */
const volatile bool reads_at_once = true;
/* bpf_loop() exists (>= 5.17). */
const volatile bool has_loop = false;

/* Connections that are followed at the same time. */
const volatile __u32 connections_max = 32768;

/* Both objects write to the same variables, which lie in one map. */
struct wstap_losses losses SEC(".bss.shared");

/* The last generation given. */
__u32 generations SEC(".bss.shared");

/* Connections that are followed now: entries of `conns`. */
__u32 connections_open SEC(".bss.shared");

/* The reader sleeps long, because nothing came: the next record wakes it. Userspace sets this, and the
 * kernel side resets it. */
__u32 reader_sleeps SEC(".bss.shared");

/* Grows with every change of `tapped`. A thread that remembers an older epoch asks `tapped`
 * again. */
__u64 epoch SEC(".bss.shared");

enum {
	/* Calls in flight that a thread keeps itself. There is more than one where TLS is inside
	 * TLS. Others go to `more_calls`. */
	CALL_DEPTH = 4,
	/* Largest piece copied into one record. */
	PIECE_BYTES = 16 << 10,
	/* A stream that is shorter is in its handshake. */
	URGENT_BYTES = 512,
	/* A thread asks for the fill of `events` when it has put in this part of `wake_bytes`. */
	ASKS_SHIFT = 8,
	/* Skipped bytes are reported with the first call after this many, or after this long. */
	SKIP_REPORT_BYTES = 4 << 20,
	SKIP_REPORT_NS = 250000000,
	/* RFC 6455, section 5.2: 2 + 8 bytes of length + 4 of mask. */
	HEADER_BYTES = 14,
};

/* A TLS call between its entry and its return. */
struct call_args {
	__u64 sp; /* at entry: tells nested calls apart, and fibers; 0 = free */
	__u64 at_ns; /* at entry, if bytes are sent */
	__u64 handle;
	__u64 buffer;
	__u64 count_at;
	__u64 asked; /* length of a write that may be known to pass all of it; else 0 */
	struct wstap_tapped process;
};

/* One that may send several slices. */
struct sliced_call {
	struct call_args args; /* the buffer, if there is one */
	__u64 slices;	       /* else the address of an array of slices, */
	__u64 from;	       /* and how much of what they hold is not meant */
};

enum stream_mode {
	STREAM_COPY = 0, /* frame borders unknown: every byte is copied */
	STREAM_WALK,	 /* next_header is the offset of a frame header */
	STREAM_IGNORE,	 /* proven not to be WebSocket */
	STREAM_HTTP2,	 /* next_header is the offset of a header of an HTTP/2 frame */
};

/* One direction of a connection. All offsets are absolute. */
struct stream {
	__u64 offset;	   /* of the next byte */
	__u64 next_header; /* in WALK: copy and skip up to here, then decode a header */
	__u64 copy_until;  /* in WALK: payload below is copied, the rest skipped */
	__u64 skip_from;   /* in skipping: start of the stretch not yet reported */
	__u64 skip_since;  /* in skipping: when it began, CLOCK_MONOTONIC ns */
	__u64 window_left; /* of the message whose frames are passing */
	__u64 fields_at;   /* in HTTP2: of a request that is to be judged; else 0 */
	__u64 content_end; /* in HTTP2: of the frame that is passing, without its padding */
	__u64 since;	   /* in HTTP2: where the walk began */
	__u8 mode;	   /* enum stream_mode */
	__u8 skipping;
	__u8 whole;	   /* compressed messages are copied whole */
	__u8 head_have;	   /* bytes of a header cut in two by the end of a call */
	__u8 head[32];	   /* HEADER_BYTES used; room for a second read at any of them */
	__u8 upgraded; /* left IGNORE because of a later upgrade: never goes back */
	__u8 has_seq;
	__u8 has_end; /* all that was to pass has: of a socket, to be received */
	__u8 narrow;  /* long messages that are not compressed are copied in part */
	__u8 is_carried; /* by HTTP/2 */
	__u8 parted; /* the last frame was not all of a call */
	__u16 wholly; /* bytes of the longest write that has passed all of them; none has failed since */
	__u32 seq; /* of a socket: TCP's own number of the byte at `offset` */
	__u32 http2_stream; /* in HTTP2: whose content is passing, if it may be a WebSocket's */
	__u32 steered;	    /* the upper half of the steering word that was followed last */
	__u64 record_at; /* of a socket: if it carries TLS a record begins here; 0 = not known */
};

struct conn {
	__u32 generation;
	__u32 encrypted; /* a socket that carries TLS: for others to tap */
	/* Of HTTP/2. Streams from `first` to `asked` have been judged by their requests: those that
	 * may be WebSockets are in `http2_streams`. */
	__u32 first; /* 0 = none was judged */
	__u32 asked;
	__u32 asking;	/* direction of requests, plus one; 0 = not known */
	__u32 followed; /* some were put into `http2_streams` */
	__u32 opener;	/* tgid of the process that used it first: records bear it, whoever uses it then */
	__u32 pad;
	struct stream streams[2]; /* by enum wstap_direction */
};

/* A stream of HTTP/2. */
struct http2_key {
	__u32 tgid;
	__u32 generation;
	__u32 stream;
};

/* One that may be a WebSocket. Offsets are those of the connection, moved with each frame that carries
 * its content, so that they are true while that passes. `offset` is where its content was last seen to
 * end, and `since` is where the connection was when the stream was asked for. */
struct http2_stream {
	struct stream ways[2]; /* by enum wstap_direction */
};

/* The bytes [base, end) of one direction of a connection, while they are reported. */
struct report {
	__u64 at_ns;
	__u64 ids;    /* bpf_get_current_pid_tgid(), asked for once in an epoch */
	__u64 thread; /* the same; of a connection in shared memory with the tgid of its opener */
	__u64 handle;
	__u64 buffer; /* user address of the byte at stream offset `base` */
	__u64 base;
	__u64 pos; /* offset of the next byte to report */
	__u64 end;
	__u32 generation;
	__u16 target;
	__u8 direction;
	__u8 pad;
	__u64 unasked; /* bytes put into `events` since this thread asked for its fill */
	/* The HTTP/2 frame that begins: its stream, up to where what follows its copied beginning
	 * is skipped, and its fields or other content. */
	struct http2_key key;
	__u32 pad_2;
	__u64 piece_rest;
	__u64 field;
	__u64 fields_end;
	__u64 call_end; /* while `end` is only that of the content of one HTTP/2 frame; else 0 */
	struct conn fresh; /* what a new connection begins with */
};

/*
 * The state of one thread of a tapped process. Large values are here and not on the stack, for two
 * reasons. First, the verifier follows every value on the stack, so it would follow every turn of a
 * loop that moves `pos`. Second, since 6.13 a function whose stack frame has 64 bytes or more gets it
 * from memory that all threads of a processor share (kernel/bpf/verifier.c, BPF_PRIV_STACK_MIN_SIZE).
 * A thread that is preempted in a uprobe program then finds what another thread left there. build.rs
 * refuses such frames.
 */
struct thread {
	__u64 epoch; /* of `process`, plus one: 0 is none */
	struct wstap_tapped process;
	__u64 entered; /* an entry of a call was seen on this thread */
	struct call_args calls[CALL_DEPTH];
	__u64 displaced; /* how often a call has given its place in `calls` to another */
	struct sliced_call entering; /* on its way to or from one of the maps of calls */
	struct report report;
};

struct conn_key {
	__u64 handle;
	__u32 tgid; /* or WSTAP_IN_MEMORY and an index */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread);
} threads SEC(".maps");

/* A stack pointer of a process: its stacks do not overlap. */
struct call_key {
	__u64 sp;
	__u32 tgid;
	__u32 pad;
};

/* Calls in flight for which a thread has no place: it may run many fibers, each of which waits
 * in a call. Some calls never return (longjmp), so the ones unused for longest are dropped
 * first. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 32768);
	__type(key, struct call_key);
	__type(value, struct call_args);
} more_calls SEC(".maps");

/* Ends of connections that found no room in `events`. A connection whose end is lost would seem to be
 * open until its process ends. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} closings SEC(".maps");

/* No entry gives way to another: when it is full, new connections are not followed. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, struct conn_key);
	__type(value, struct conn);
} conns SEC(".maps");

/* If it is full, what passes on another stream is copied whole. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct http2_key);
	__type(value, struct http2_stream);
} http2_streams SEC(".maps");

/* How many entries of `conns` each process has, and each memory that several share. If one ends with some
 * left, all of `conns` must be searched for them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32); /* as `tgid` in struct conn_key */
	__type(value, __u32);
} conns_of_process SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WSTAP_MEMORIES);
	__type(key, __u32);
	__type(value, struct wstap_memory);
} memories SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WSTAP_STEER_SLOTS);
	__type(key, __u32);
	__type(value, struct wstap_steer);
} steering SEC(".maps");

#endif
