/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Reports bytes that were skipped and not yet reported when a process ends.
 * Skipped stretches are added up before they are reported (stream/walk.bpf.h), and a process may end
 * without closing its connections.
 */
#ifndef WSTAP_REMAINDER_BPF_H
#define WSTAP_REMAINDER_BPF_H

#include "stream/emit.bpf.h"

/* Whether a connection belongs to an earlier process of this pid, or to the program before exec. */
static __always_inline bool is_stale(const struct conn *conn, __u32 born)
{
	return (__s32)(conn->generation - born) <= 0;
}

struct remainder {
	struct report *report; /* of the process */
	__u64 born;
};

/* Reports one connection, of any process. */
static long tell_remainder(void *map __attribute__((unused)), const struct conn_key *key,
			   struct conn *conn, const struct remainder *of)
{
	struct report *report = of->report;

	if (key->tgid != report->thread >> 32 || is_stale(conn, of->born))
		return 0;
	/* Nothing was reported for sockets that carry TLS. */
	if (conn->encrypted)
		return 0;
	report->handle = key->handle;
	report->generation = conn->generation;
	for (int i = 0; i < 2; i++) {
		struct stream *s = &conn->streams[i];

		if (s->skipping)
			emit_hole(report, i, s->skip_from, s->offset, WSTAP_SKIPPED);
		s->skipping = 0;
	}
	return 0;
}

/* Reports all connections of the process that `thread` belongs to. */
static __noinline int tell_remainders(struct thread *thread, const struct wstap_tapped *process)
{
	struct remainder of = { .report = &thread->report, .born = process->born };

	of.report->thread = bpf_get_current_pid_tgid();
	of.report->at_ns = bpf_ktime_get_ns();
	of.report->target = process->target;
	bpf_for_each_map_elem(&conns, tell_remainder, &of, 0);
	return 0;
}

#endif
