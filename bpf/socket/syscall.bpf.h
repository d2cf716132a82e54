/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Finds the bytes that a system call on a socket passes: in one buffer, in several buffers, or in
 * several messages of several buffers. Which connection they belong to is left to socket.bpf.h.
 */
#ifndef WSTAP_SYSCALL_BPF_H
#define WSTAP_SYSCALL_BPF_H

#include "stream/walk.bpf.h"
#include <bpf/bpf_core_read.h>

#if defined(__TARGET_ARCH_x86)
/* arch/x86/entry/syscalls/syscall_64.tbl */
enum {
	SYS_READ = 0,
	SYS_WRITE = 1,
	SYS_READV = 19,
	SYS_WRITEV = 20,
	SYS_SENDTO = 44,
	SYS_RECVFROM = 45,
	SYS_SENDMSG = 46,
	SYS_RECVMSG = 47,
	SYS_RECVMMSG = 299,
	SYS_SENDMMSG = 307,
	SYS_PREADV2 = 327,
	SYS_PWRITEV2 = 328,
};
#define SYSCALL_NUMBER(regs) ((regs)->orig_ax)
#define SYSCALL_SECOND(regs) ((regs)->si)
#define SYSCALL_THIRD(regs) ((regs)->dx)
#else
/* include/uapi/asm-generic/unistd.h */
enum {
	SYS_READ = 63,
	SYS_WRITE = 64,
	SYS_READV = 65,
	SYS_WRITEV = 66,
	SYS_SENDTO = 206,
	SYS_RECVFROM = 207,
	SYS_SENDMSG = 211,
	SYS_RECVMSG = 212,
	SYS_RECVMMSG = 243,
	SYS_SENDMMSG = 269,
	SYS_PREADV2 = 286,
	SYS_PWRITEV2 = 287,
};
#define SYSCALL_NUMBER(regs) ((regs)->user_regs.regs[8])
#define SYSCALL_SECOND(regs) ((regs)->user_regs.regs[1])
#define SYSCALL_THIRD(regs) ((regs)->user_regs.regs[2])
#endif

/* The system call that is being reported. */
struct socket_call {
	__u64 vector;	/* user address of the next iovec, or of the one buffer */
	__u64 segments; /* buffers left, that one included */
	__u64 spare;	/* bytes of the last buffer that the call had no use for */
	__u64 end;	/* stream offset of the call's end */
	__u32 seq;	/* TCP's own number of the byte there */
	__u32 count;	/* bytes that the call passed */
	__u32 one;	/* there is one buffer */
	/* In sendmmsg() and recvmmsg(): which message is next. */
	__u32 next_message;
	__u64 messages; /* user address of the first; 0 outside of such a call */
	struct user_msghdr message;
	struct report report;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_call);
} socket_calls SEC(".maps");

static __always_inline bool take_message(struct socket_call *call, __u64 at)
{
	if (bpf_probe_read_user(&call->message, sizeof(call->message), (void *)at))
		return false;
	call->vector = call->message.msg_iov;
	call->segments = call->message.msg_iovlen;
	return true;
}

/* The next message of a call that passes several. It ends where the kernel ends it: with the last
 * message, with an error, or with one that was not sent whole. */
static __always_inline bool take_next_message(struct socket_call *call, __u64 messages, __u64 count)
{
	__u64 at;

	if (call->messages != messages)
		call->next_message = 0;
	at = messages + call->next_message * sizeof(struct mmsghdr);
	call->next_message++;
	call->messages = call->next_message < count ? messages : 0;
	return take_message(call, at);
}

/* Finds the bytes. False if they are not in the application's memory, or the call is unknown. */
static __noinline int take_buffers(struct socket_call *call)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(bpf_get_current_task_btf());
	__u64 number = SYSCALL_NUMBER(regs);
	__u64 second = SYSCALL_SECOND(regs);
	__u64 third = SYSCALL_THIRD(regs);

	call->one = 0;
	switch (number) {
	case SYS_READ:
	case SYS_WRITE:
	case SYS_SENDTO:
	case SYS_RECVFROM:
		call->one = 1;
		call->vector = second;
		call->segments = 1;
		return true;
	case SYS_READV:
	case SYS_WRITEV:
	case SYS_PREADV2:
	case SYS_PWRITEV2:
		call->vector = second;
		call->segments = third;
		return true;
	case SYS_SENDMSG:
	case SYS_RECVMSG:
		return take_message(call, second);
	case SYS_SENDMMSG:
	case SYS_RECVMMSG:
		return take_next_message(call, second, third);
	default:
		return false;
	}
}

/* Moves on to the next buffer of the call. False if there is none, or it cannot be found. */
static __always_inline bool next_segment(struct socket_call *call)
{
	struct report *report = &call->report;
	__u64 left = call->end - report->pos;
	struct iovec segment;

	if (!left || !call->segments)
		return false;
	call->segments--;
	if (call->one) {
		segment.iov_base = call->vector;
		segment.iov_len = left;
	} else {
		if (bpf_probe_read_user(&segment, sizeof(segment), (void *)call->vector))
			return false;
		call->vector += sizeof(segment);
	}
	/* The report counts addresses from where the call began. */
	report->buffer = segment.iov_base - (report->pos - report->base);
	report->end = report->pos + min_u64(segment.iov_len, left);
	call->spare = segment.iov_len - (report->end - report->pos);
	return true;
}

/* The next piece of a call, of one buffer. Returns 1 at the end of the call. */
static __noinline int walk_segments_on(struct socket_call *call, struct conn *conn, __u32 turn)
{
	struct report *report = &call->report;

	if (report->pos >= report->end && !next_segment(call))
		return 1;
	if (report->pos < report->end)
		walk_on(report, conn, turn);
	return report->pos >= call->end;
}

struct socket_walk {
	struct socket_call *call;
	struct conn *conn;
};

static long socket_turn(__u32 turn, void *ctx)
{
	const struct socket_walk *walk = ctx;
	int ended = walk_segments_on(walk->call, walk->conn, turn);

	/* The verifier wants to see that it is 0 or 1. */
	opaque(ended);
	return ended ? 1 : 0;
}

/* The pieces after the first; a function of its own for the reason that walk_rest() is one. */
static __noinline int walk_other_segments(struct socket_call *call, struct conn *conn)
{
	struct socket_walk walk = { call, conn };

	if (has_loop) {
		bpf_loop(WALK_STEPS + COPY_STEPS, socket_turn, &walk, 0);
	} else {
		for (__u32 turn = 0; turn < UNROLLED_STEPS; turn++)
			if (walk_segments_on(call, conn, turn))
				break;
	}
	return 0;
}

#endif
