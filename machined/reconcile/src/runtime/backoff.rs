//! How long to wait after a failure: twice as long each time, with jitter, up to a limit.

use std::time::Duration;

/// After the first failure: long enough not to spin, short enough that a race at boot costs nothing one notices.
pub(crate) const FIRST: Duration = Duration::from_millis(200);
/// At most: what a person who has repaired the cause will still wait for.
pub(crate) const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure. Jitter takes up to a quarter off, so that controllers which failed together do
    /// not all come back together; never less than [`FIRST`].
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        full.mul_f64(1.0 - fastrand::f64() / 4.0).max(FIRST)
    }

    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

/// When news (a changed input, a wake-up) may cut such a wait short: what failed may have been waiting just for that.
/// Not at once, because the news may be the failure's own doing.
pub(crate) fn earliest(wait: Duration) -> Duration {
    (wait / 8).max(FIRST.min(wait))
}
