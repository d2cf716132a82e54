//! The clock that events are stamped with.

use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_MONOTONIC` now, in nanoseconds: what the kernel side's `bpf_ktime_get_ns()` reads.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read(ClockId::Monotonic)
}

/// Nanoseconds to add to a `CLOCK_MONOTONIC` time to get nanoseconds since 1970, as of now.
#[must_use]
pub fn wall_offset_ns() -> i64 {
    let look = || {
        let before_ns = monotonic_ns();
        let wall_ns = read(ClockId::Realtime);
        let took_ns = monotonic_ns() - before_ns;
        (took_ns, wall_ns.cast_signed() - (before_ns + took_ns / 2).cast_signed())
    };
    // Between the two clocks the thread may have to wait for a processor: the quickest look is right.
    let looks = [look(), look(), look()];
    looks.into_iter().min().unwrap_or_default().1
}

/// One clock tick of `/proc/PID/stat`, nanoseconds (`include/uapi/asm-generic/param.h`, `USER_HZ`).
const TICK_NS: u64 = 10_000_000;

/// The `CLOCK_MONOTONIC` time, in nanoseconds, of a moment that is given in clock ticks since boot.
/// It is up to a tick too early. Unlike this clock, the ticks go on while the machine is suspended.
#[must_use]
pub fn of_boot_ticks(ticks: u64) -> u64 {
    let suspended_ns = read(ClockId::Boottime).saturating_sub(monotonic_ns());
    ticks.saturating_mul(TICK_NS).saturating_sub(suspended_ns)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::procfs::process::Process;

    #[test]
    fn this_process_began_before_now() {
        let me = Process::read(std::process::id()).unwrap();
        let began_ns = of_boot_ticks(me.start_ticks);
        assert!(0 < began_ns && began_ns <= monotonic_ns(), "{began_ns}");
    }
}
