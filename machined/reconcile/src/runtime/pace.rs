//! How often a controller may run: often enough for every honest one, too seldom to take the processor from the rest.

use std::time::Duration;

use tokio::time::Instant;

/// A burst of changes becomes few cycles by itself; who wants more than this in a second wakes itself, or plays
/// ping-pong with another controller.
const CYCLES: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// Counts the cycles of a window.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    cycles: u32,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), cycles: 0 }
    }

    /// Counts one more cycle; or says until when to wait before asking again.
    pub(super) fn next(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let end = self.since + WINDOW;
        if now >= end {
            *self = Self { since: now, cycles: 0 };
        }
        self.cycles += 1;
        if self.cycles <= CYCLES {
            return None;
        }
        *self = Self { since: end, cycles: 0 };
        Some(end)
    }
}
