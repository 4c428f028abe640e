//! How often what strangers cause may be logged: ten lines at once, then one a minute that counts the rest. Used by the
//! gateway and by the server, each with a meter of its own.
//!
//! Invariant: no client can push the rest out of a log's ring, however long it tries.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines at once: enough for anything true.
const LINES: u32 = 10;

/// What one of them is paid back in: a ring of 256 KiB holds days of such lines.
const EACH: Duration = Duration::from_secs(60);

/// How much was said lately.
#[derive(Debug)]
pub struct Meter(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Lines that may be said at once.
    left: u32,
    /// When the last one was paid back; none while none is owed.
    paid: Option<Instant>,
    left_out: u64,
}

impl Meter {
    /// One that has said nothing.
    pub const fn new() -> Self {
        Self(Mutex::new(State { left: LINES, paid: None, left_out: 0 }))
    }

    /// Whether a line may be said now, and how many were left out since the last one that was.
    pub fn may_say(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while state.left < LINES
            && let Some(next) = state.paid.map(|paid| paid + EACH).filter(|next| *next <= now)
        {
            (state.left, state.paid) = (state.left + 1, Some(next));
        }
        if state.left == 0 {
            state.left_out += 1;
            return None;
        }
        if state.left == LINES {
            state.paid = Some(now);
        }
        state.left -= 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

impl Default for Meter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_then_one_a_minute_with_the_rest_counted() {
        let meter = Meter::new();
        let start = Instant::now();
        let said = (0..25).filter(|_| meter.may_say(start).is_some()).count();
        assert_eq!(said, 10);
        assert_eq!(meter.may_say(start + EACH - Duration::from_secs(1)), None);
        assert_eq!(meter.may_say(start + EACH), Some(16));
        assert_eq!(meter.may_say(start + EACH), None);
    }

    #[test]
    fn who_never_stops_is_heard_once_a_minute_and_after_a_silence_all_is_as_at_first() {
        let meter = Meter::new();
        let start = Instant::now();
        let second = |n| start + Duration::from_secs(n);
        let said = (0..3600).filter(|n| meter.may_say(second(*n)).is_some()).count();
        assert!((60..=70).contains(&said), "{said} lines in an hour");
        let later = second(3600) + EACH * (LINES + 1);
        assert_eq!((0..25).filter(|_| meter.may_say(later).is_some()).count(), 10);
    }
}
