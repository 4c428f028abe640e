//! How often what strangers cause may be logged: ten lines a second, and the rest is counted. Used by the gateway and by
//! the server, each with a meter of its own.
//!
//! Invariant: no client can push the rest out of a log's ring.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines per window: enough for anything true.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// How much was said lately.
#[derive(Debug)]
pub struct Meter(Mutex<State>);

#[derive(Debug)]
struct State {
    window: Option<Instant>,
    said: u32,
    left_out: u64,
}

impl Meter {
    /// One that has said nothing.
    pub const fn new() -> Self {
        Self(Mutex::new(State { window: None, said: 0, left_out: 0 }))
    }

    /// Whether a line may be said now, and how many were left out since the last one that was.
    pub fn may_say(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.window.is_none_or(|start| now.duration_since(start) >= WINDOW) {
            (state.window, state.said) = (Some(now), 0);
        }
        if state.said == LINES {
            state.left_out += 1;
            return None;
        }
        state.said += 1;
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
    fn ten_lines_a_second_and_the_rest_counted() {
        let meter = Meter::new();
        let start = Instant::now();
        let said = (0..25).filter(|_| meter.may_say(start).is_some()).count();
        assert_eq!(said, 10);
        assert_eq!(meter.may_say(start + WINDOW), Some(15));
        assert_eq!(meter.may_say(start + WINDOW), Some(0));
    }
}
