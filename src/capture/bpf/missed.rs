//! What the programs on tracepoints have missed: the kernel counts it.
//!
//! Each of them is attached twice, and a fork or an exec is told unless both have missed it
//! (`bpf/process.bpf.h` says how that can be). The kernel counts for each program how often it was
//! missed, of all processes on the machine, and not when. So the smaller count of a pair is a bound.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::ProgramMut;

use super::Tap;

impl Tap<'_> {
    /// Forks, execs and exits, of any process, that both programs may have missed: at most so many.
    /// Needs no privilege. 0 where the kernel does not say (before 5.12).
    #[must_use]
    pub fn perhaps_missed(&self) -> u64 {
        let progs = &self.skel.progs;
        let pairs = [
            (&progs.process_fork, &progs.process_fork_too),
            (&progs.process_exec, &progs.process_exec_too),
            (&progs.process_exit, &progs.process_exit_too),
        ];
        pairs.iter().map(|(one, other)| missed(one).min(missed(other))).sum()
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
