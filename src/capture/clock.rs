//! The clock that events are stamped with.

/// `CLOCK_MONOTONIC` now, in nanoseconds: what the kernel side's `bpf_ktime_get_ns()` reads.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// What to add to a `CLOCK_MONOTONIC` time to get nanoseconds since 1970, at this moment.
#[must_use]
pub fn wall_offset_ns() -> i64 {
    read(libc::CLOCK_REALTIME).cast_signed() - monotonic_ns().cast_signed()
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to. The call cannot fail for these clocks; if
    // it did, `time` would stay 0.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}
