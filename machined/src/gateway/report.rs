//! What the gateway says: one line each on stderr, which the supervisor keeps as its log.
//!
//! Invariant: strangers cannot make it say more than ten lines a second; what was left out is counted and said. Used by
//! the whole gateway.

use std::{fmt, io::Write, time::Instant};

use crate::meter::Meter;

/// Says one line.
pub fn say(line: fmt::Arguments<'_>) {
    static METER: Meter = Meter::new();
    let Some(left_out) = METER.may_say(Instant::now()) else { return };
    // Text of errors may come from outside: it must not begin a line of its own.
    let mut text: String = line.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if left_out > 0 {
        text.push_str(&format!(" ({left_out} lines before this one were left out)"));
    }
    text.push('\n');
    // One write for each line. There is nobody to tell when it fails.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
