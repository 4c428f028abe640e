//! Waiting for an event, with a deadline. The only place of the harness that sleeps.

use std::time::{Duration, Instant};

/// How often a condition that cannot be waited for is looked at.
const INTERVAL: Duration = Duration::from_millis(100);

/// A wait that ended without its event.
#[derive(Debug, thiserror::Error)]
#[error("waited {waited:?} for {what}")]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// For how long.
    pub waited: Duration,
}

/// Looks until `probe` gives a value, at most for `limit`.
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Result<T, TimedOut> {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return Ok(value);
        }
        if start.elapsed() >= limit {
            return Err(TimedOut { what: what.into(), waited: start.elapsed() });
        }
        pause(INTERVAL);
    }
}

/// Lets time pass where the passing of time itself is what a story is about.
#[expect(clippy::disallowed_methods, reason = "the harness has no runtime to block; this is its one sleep")]
pub fn pause(duration: Duration) {
    std::thread::sleep(duration);
}
