//! Time since the kernel started, the clock of everything that waits: it never jumps, counts through a suspend, and is the
//! same before and after a restart of machined. Written into resources as `…_uptime_ms`.

/// Milliseconds since the kernel started (CLOCK_BOOTTIME).
pub fn now_ms() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * 1000 + u64::try_from(now.tv_nsec).unwrap_or(0) / 1_000_000
}
