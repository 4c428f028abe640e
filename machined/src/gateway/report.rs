//! What the gateway says: one line each on stderr, which the supervisor keeps as its log.
//!
//! Invariant: strangers cannot make it say more than ten lines a second; what was left out is counted and said. Used by
//! the whole gateway.

use std::{
    fmt,
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Lines per window: enough for anything true, too few to push the rest out of the log's ring.
const LINES: u32 = 10;

const WINDOW: Duration = Duration::from_secs(1);

/// How much was said lately.
#[derive(Debug)]
struct Meter {
    window: Option<Instant>,
    said: u32,
    left_out: u64,
}

impl Meter {
    const fn new() -> Self {
        Self { window: None, said: 0, left_out: 0 }
    }

    /// Whether a line may be said now, and how many were left out since the last one that was.
    fn may_say(&mut self, now: Instant) -> Option<u64> {
        if self.window.is_none_or(|start| now.duration_since(start) >= WINDOW) {
            (self.window, self.said) = (Some(now), 0);
        }
        if self.said == LINES {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// Says one line.
pub fn say(line: fmt::Arguments<'_>) {
    static METER: Mutex<Meter> = Mutex::new(Meter::new());
    let Some(left_out) = METER.lock().unwrap_or_else(PoisonError::into_inner).may_say(Instant::now()) else { return };
    // Text of errors may come from outside: it must not begin a line of its own.
    let mut text: String = line.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if left_out > 0 {
        text.push_str(&format!(" ({left_out} lines before this one were left out)"));
    }
    text.push('\n');
    // One write for each line. There is nobody to tell when it fails.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// An error with its causes, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_and_the_rest_counted() {
        let mut meter = Meter::new();
        let start = Instant::now();
        let said = (0..25).filter(|_| meter.may_say(start).is_some()).count();
        assert_eq!(said, 10);
        assert_eq!(meter.may_say(start + WINDOW), Some(15));
        assert_eq!(meter.may_say(start + WINDOW), Some(0));
    }
}
