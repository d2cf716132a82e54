/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Reads arguments, results and flags at a probe by the numbers that an attach cookie has for them
 * (events.h).
 */
#ifndef WSTAP_REGISTERS_BPF_H
#define WSTAP_REGISTERS_BPF_H

#include "vmlinux.h"
#include <bpf/bpf_tracing.h>
#include "stream/emit.bpf.h" /* opaque() */

#if defined(__TARGET_ARCH_x86)
/* `ret` has popped the return address when the return program runs. */
#define SP_AT_ENTRY(ctx) (PT_REGS_SP(ctx) - 8)
#else
#define SP_AT_ENTRY(ctx) (PT_REGS_SP(ctx))
#endif

/* The verifier wants constant offsets into the registers; without the fence clang would choose the
 * address first and load once. */
#define VALUE_CASE(number, expression)                                                             \
	case number:                                                                               \
		value = expression;                                                                \
		opaque(value);                                                                     \
		return value
#define ARGUMENT_CASE(number, parameter) VALUE_CASE(number, parameter(ctx))

static __always_inline __u64 argument(struct pt_regs *ctx, __u32 number)
{
	__u64 value;

	switch (number & 15) {
		ARGUMENT_CASE(0, PT_REGS_PARM1);
		ARGUMENT_CASE(1, PT_REGS_PARM2);
		ARGUMENT_CASE(2, PT_REGS_PARM3);
		ARGUMENT_CASE(3, PT_REGS_PARM4);
		ARGUMENT_CASE(4, PT_REGS_PARM5);
	default:
		value = PT_REGS_PARM6(ctx);
		opaque(value);
		return value;
	}
}

#if defined(__TARGET_ARCH_x86)
#define REGISTER_CASE(number, name) VALUE_CASE(number, (ctx)->name)

/* A register by its number in machine code: where a function returns its result, or one that it keeps
 * for its caller. */
static __always_inline __u64 numbered_register(struct pt_regs *ctx, __u32 number)
{
	__u64 value;

	switch (number & 15) {
		REGISTER_CASE(3, bx);
		REGISTER_CASE(5, bp);
		REGISTER_CASE(12, r12);
		REGISTER_CASE(13, r13);
		REGISTER_CASE(14, r14);
		REGISTER_CASE(15, r15);
	default:
		value = (ctx)->ax;
		opaque(value);
		return value;
	}
}

/* The result of a call in any register. Calls whose result is in none have failed. */
static __always_inline __u64 result_in(struct pt_regs *ctx, __u32 number)
{
	__u64 value;

	switch (number & 15) {
		REGISTER_CASE(1, cx);
		REGISTER_CASE(2, dx);
		REGISTER_CASE(6, si);
		REGISTER_CASE(7, di);
		REGISTER_CASE(8, r8);
		REGISTER_CASE(9, r9);
		REGISTER_CASE(10, r10);
		REGISTER_CASE(11, r11);
	case 4:
		return 0;
	default:
		return numbered_register(ctx, number);
	}
}

/* Whether a conditional jump is taken whose condition has this number in machine code. Bit 0 of the
 * number inverts. */
static __always_inline bool holds(struct pt_regs *ctx, __u32 condition)
{
	enum { CARRY = 0x1, PARITY = 0x4, ZERO = 0x40, SIGN = 0x80, OVERFLOW = 0x800 };
	__u64 flags = ctx->flags;
	bool less = !(flags & SIGN) != !(flags & OVERFLOW);
	bool holds;

	switch ((condition >> 1) & 7) {
	case 0:
		holds = flags & OVERFLOW;
		break;
	case 1:
		holds = flags & CARRY;
		break;
	case 2:
		holds = flags & ZERO;
		break;
	case 3:
		holds = flags & (CARRY | ZERO);
		break;
	case 4:
		holds = flags & SIGN;
		break;
	case 5:
		holds = flags & PARITY;
		break;
	case 6:
		holds = less;
		break;
	default:
		holds = less || (flags & ZERO);
	}
	return holds != (condition & 1);
}
#else
/* Return sites are found on x86-64 only. */
static __always_inline __u64 numbered_register(struct pt_regs *ctx, __u32 number)
{
	(void)ctx, (void)number;
	return 0;
}

static __always_inline __u64 result_in(struct pt_regs *ctx, __u32 number)
{
	(void)ctx, (void)number;
	return 0;
}

static __always_inline bool holds(struct pt_regs *ctx, __u32 condition)
{
	(void)ctx, (void)condition;
	return false;
}
#endif

#endif
