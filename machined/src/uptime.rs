//! Time since the kernel started, the clock of everything that waits: it never jumps, counts through a suspend, and is the
//! same before and after a restart of machined. Written into resources as `…_uptime_ms`.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since the kernel started.
pub fn now_ms() -> u64 {
    sys::tsc::uptime_ns() / 1_000_000
}

/// Unix time of the zero of the kernel's log, in ns, by the clock as it is set now. That log's time stands still in a
/// suspend, unlike ours.
pub fn log_zero_unix_ns() -> u64 {
    let ns = |clock| {
        let now = clock_gettime(clock);
        u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
    };
    ns(ClockId::Realtime).saturating_sub(ns(ClockId::Monotonic))
}
