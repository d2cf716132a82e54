/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * Keeps which processes are tapped, and reports when they fork, exec, load a library or exit.
 *
 * The programs on TLS functions ask here first whether their process is tapped. The programs below
 * follow a fork at once, without waiting for userspace: a worker is tapped before it runs its first
 * instruction.
 *
 * Each program on a tracepoint is attached twice. The kernel does not start a program on a
 * processor where the same program is running (kernel/trace/bpf_trace.c, __bpf_trace_run). Since
 * 7.0 a thread may be preempted inside the program, and the kernel then skips it for all other
 * threads of that processor. The second copy does what the first one missed.
 */
#ifndef WSTAP_PROCESS_BPF_H
#define WSTAP_PROCESS_BPF_H

#include "connections.bpf.h"

/* Report every exec, not only those of tapped processes: a selector may match a newcomer. */
const volatile bool watch_execs = false;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, __u32); /* tgid */
	__type(value, struct wstap_tapped);
} tapped SEC(".maps");

/* Programs of these names are tapped before they run their first instruction. */
struct comm {
	char name[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct comm);
	__type(value, struct wstap_tapped);
} comms SEC(".maps");

enum {
	SIGNAL_STOP = 19,
};

static __always_inline struct wstap_tapped *tapped_process(void)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;

	return bpf_map_lookup_elem(&tapped, &tgid);
}

static __always_inline struct thread *this_thread(__u64 flags)
{
	return bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, flags);
}

/* The state of this thread, or NULL if its process is not tapped. The process is looked up again only
 * after the table of tapped processes has changed. */
static __always_inline struct thread *tapped_thread(void)
{
	struct thread *thread = this_thread(0);
	/* Read before the look-up: a change in between makes its result old. */
	__u64 now = *(volatile __u64 *)&epoch + 1;
	struct wstap_tapped *process;

	if (thread && thread->epoch == now)
		return thread;
	process = tapped_process();
	if (!process)
		return NULL;
	if (!thread)
		thread = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!thread) {
		__sync_fetch_and_add(&losses.untracked_calls, 1);
		return NULL;
	}
	thread->process = *process;
	thread->report.ids = bpf_get_current_pid_tgid();
	thread->epoch = now;
	return thread;
}

/* The handles of this process are gone. All connections of all processes must be searched, so
 * this is done only if some are left. */
static __always_inline void handles_end(const struct wstap_tapped *process)
{
	__u32 tgid = bpf_get_current_pid_tgid() >> 32;
	__u32 *count = bpf_map_lookup_elem(&conns_of_process, &tgid);
	__u32 left = count ? *count : 0;
	struct thread *thread;

	bpf_map_delete_elem(&conns_of_process, &tgid);
	if (!left)
		return;
	thread = this_thread(BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (thread)
		leave_connections(thread, process);
	else
		__sync_fetch_and_add(&losses.untracked_calls, 1);
}

/* After each change of `tapped`. */
static __always_inline void begin_epoch(void)
{
	__sync_fetch_and_add(&epoch, 1);
}

/* Records of processes wake the reader. There are few of them, and userspace must act at once. */
static __always_inline void report_process(__u8 kind, __u32 tgid, __u32 parent,
					   const struct wstap_tapped *known)
{
	struct wstap_process *r = bpf_ringbuf_reserve(&events, sizeof(*r), 0);

	if (!r) {
		__sync_fetch_and_add(&losses.process_records, 1);
		return;
	}
	__builtin_memset(r, 0, sizeof(*r));
	r->at_ns = bpf_ktime_get_ns();
	r->tgid = tgid;
	r->parent = parent;
	r->kind = kind;
	if (known) {
		r->target = known->target;
		r->is_tapped = 1;
		/* The stop comes before userspace can read the record and continue the process. */
		if ((known->flags & WSTAP_HOLD) && (kind == WSTAP_EXECUTED || kind == WSTAP_LOADED))
			bpf_send_signal(SIGNAL_STOP);
	}
	bpf_ringbuf_submit(r, BPF_RB_FORCE_WAKEUP);
}

static __always_inline void admit(__u32 tgid, const struct wstap_tapped *like, __u8 flags,
				  __u8 execs)
{
	struct wstap_tapped entry = *like;

	entry.born = generations;
	entry.flags = flags;
	entry.execs = execs;
	if (bpf_map_update_elem(&tapped, &tgid, &entry, BPF_ANY))
		__sync_fetch_and_add(&losses.process_records, 1);
	begin_epoch();
}

static __always_inline int forked(struct task_struct *parent, struct task_struct *child, bool again)
{
	__u32 from = parent->tgid;
	__u32 to = child->tgid;
	struct wstap_tapped *known;

	/* A thread is not a process. */
	if (from == to)
		return 0;
	known = bpf_map_lookup_elem(&tapped, &from);
	if (!known || !(known->flags & WSTAP_FOLLOW))
		return 0;
	if (again && bpf_map_lookup_elem(&tapped, &to))
		return 0;
	/* Only a process that wstap itself has started is ever stopped. */
	admit(to, known, known->flags & ~WSTAP_HOLD, known->execs);
	report_process(WSTAP_FORKED, to, from, known);
	return 0;
}

/* struct task_struct *parent, struct task_struct *child */
SEC("tp_btf/sched_process_fork")
int process_fork(__u64 *args)
{
	return forked((struct task_struct *)args[0], (struct task_struct *)args[1], false);
}

SEC("tp_btf/sched_process_fork")
int process_fork_backup(__u64 *args)
{
	return forked((struct task_struct *)args[0], (struct task_struct *)args[1], true);
}

/* A program that was not tapped has begun. */
static __always_inline void newcomer(__u32 tgid, __u8 execs, bool again)
{
	struct wstap_tapped *wanted;
	struct comm comm = {};

	bpf_get_current_comm(comm.name, sizeof(comm.name));
	wanted = bpf_map_lookup_elem(&comms, &comm);
	if (wanted)
		admit(tgid, wanted, wanted->flags, execs);
	/* Only the first copy reports a process that is not tapped: the second could not see
	 * whether the first one did. Userspace finds a missed one later. */
	if (wanted || (watch_execs && !again))
		report_process(WSTAP_EXECUTED, tgid, 0, wanted);
}

static __always_inline int executed(struct task_struct *task, bool again)
{
	__u32 tgid = task->tgid;
	__u8 execs = task->self_exec_id;
	struct wstap_tapped *known = bpf_map_lookup_elem(&tapped, &tgid);

	if (!known) {
		newcomer(tgid, execs, again);
		return 0;
	}
	if (again && known->execs == execs)
		return 0;
	/* The handles of the old program are gone, and the new one may use their addresses. Its
	 * calls in flight will not return either. */
	handles_end(known);
	known->born = generations;
	known->execs = execs;
	known->memory = 0;
	begin_epoch();
	bpf_task_storage_delete(&threads, bpf_get_current_task_btf());
	report_process(WSTAP_EXECUTED, tgid, 0, known);
	return 0;
}

/* struct task_struct *task: the one that is running */
SEC("tp_btf/sched_process_exec")
int process_exec(__u64 *args)
{
	return executed((struct task_struct *)args[0], false);
}

SEC("tp_btf/sched_process_exec")
int process_exec_backup(__u64 *args)
{
	return executed((struct task_struct *)args[0], true);
}

static __always_inline int exited(struct task_struct *task)
{
	__u32 tgid = task->tgid;
	struct wstap_tapped *known;
	struct wstap_tapped last;

	if (task->signal->live.counter > 0)
		return 0;
	known = bpf_map_lookup_elem(&tapped, &tgid);
	if (!known)
		return 0;
	last = *known;
	/* The last threads may come here together: one of them deletes. */
	if (bpf_map_delete_elem(&tapped, &tgid))
		return 0;
	handles_end(&last);
	report_process(WSTAP_EXITED, tgid, 0, &last);
	return 0;
}

/* struct task_struct *task */
SEC("tp_btf/sched_process_exit")
int process_exit(__u64 *args)
{
	return exited((struct task_struct *)args[0]);
}

SEC("tp_btf/sched_process_exit")
int process_exit_backup(__u64 *args)
{
	return exited((struct task_struct *)args[0]);
}

/* _dl_debug_state(): the dynamic loader calls it when it has changed its list of libraries. */
SEC("uprobe")
int loader_changed(void *ctx __attribute__((unused)))
{
	struct wstap_tapped *known = tapped_process();

	if (!known)
		return 0;
	report_process(WSTAP_LOADED, bpf_get_current_pid_tgid() >> 32, 0, known);
	return 0;
}

#endif
