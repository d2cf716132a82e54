//! The programs on tracepoints, each of which is loaded and attached twice.
//!
//! The kernel may miss one run of a program, and hardly ever misses both (`bpf/process.bpf.h` says how
//! that can be). It counts for each program how often it was missed, by any process on the machine,
//! and does not say when. So the smaller count of a pair is an upper bound.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::{Link, ProgramMut};

use crate::capture::bpf::skeleton::TracerProgs;
use crate::capture::bpf::skeleton::socket::SocketProgs;

/// A program and its copy.
pub(in crate::capture::bpf) struct Pair<'a, 'obj>([&'a ProgramMut<'obj>; 2]);

/// What reports forks, execs and exits.
pub(in crate::capture::bpf) fn of_processes<'a, 'obj>(
    progs: &'a TracerProgs<'obj>,
) -> [Pair<'a, 'obj>; 3] {
    [
        Pair([&progs.process_fork, &progs.process_fork_backup]),
        Pair([&progs.process_exec, &progs.process_exec_backup]),
        Pair([&progs.process_exit, &progs.process_exit_backup]),
    ]
}

/// What reports bytes on TCP sockets. Ends come first: none must be missed once there is a beginning.
pub(in crate::capture::bpf) fn of_sockets<'a, 'obj>(
    progs: &'a SocketProgs<'obj>,
) -> [Pair<'a, 'obj>; 4] {
    [
        Pair([&progs.socket_changed, &progs.socket_changed_backup]),
        Pair([&progs.socket_destroyed, &progs.socket_destroyed_backup]),
        Pair([&progs.socket_sent, &progs.socket_sent_backup]),
        Pair([&progs.socket_received, &progs.socket_received_backup]),
    ]
}

/// Attaches all of them, in this order.
pub(in crate::capture::bpf) fn attach(pairs: &[Pair<'_, '_>]) -> libbpf_rs::Result<Vec<Link>> {
    pairs.iter().flat_map(|Pair(programs)| programs).map(|program| program.attach_trace()).collect()
}

impl Pair<'_, '_> {
    /// How often both may have missed the same event: this is an upper bound. Needs no privilege. 0
    /// where the kernel does not say (before 5.12).
    pub(in crate::capture::bpf) fn missed_at_most(&self) -> u64 {
        let Self([program, backup]) = self;
        missed(program).min(missed(backup))
    }
}

fn missed(program: &ProgramMut<'_>) -> u64 {
    let fd = program.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}"));
    info.ok().and_then(|info| recursion_misses(&info)).unwrap_or(0)
}

/// `kernel/bpf/syscall.c`, bpf_prog_show_fdinfo
fn recursion_misses(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::recursion_misses;

    #[test]
    fn the_kernel_s_count_is_found_among_its_other_figures() {
        let info =
            "pos:\t0\nflags:\t02000002\nprog_type:\t26\nrun_cnt:\t7\nrecursion_misses:\t12\n";
        assert_eq!(recursion_misses(info), Some(12));
        assert_eq!(recursion_misses("pos:\t0\n"), None);
    }
}
