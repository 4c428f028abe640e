//! What the gateway says: one line each on stderr, which the supervisor keeps as its log.
//!
//! Invariant: what strangers cause is said through `stranger`, ten lines at once and then one a minute that counts what was
//! left out; so they cannot push the rest out of the log, nor keep it from being said. Used by the whole gateway.

use std::{fmt, io::Write, time::Instant};

use crate::meter::Meter;

/// Says one line.
pub fn say(line: fmt::Arguments<'_>) {
    write(line.to_string());
}

/// Says one line that a stranger caused.
pub fn stranger(line: fmt::Arguments<'_>) {
    static METER: Meter = Meter::new();
    match METER.may_say(Instant::now()) {
        None => {}
        Some(0) => write(line.to_string()),
        Some(left_out) => write(format!("{line} ({left_out} lines before this one were left out)")),
    }
}

fn write(line: String) {
    // Text of errors may come from outside: it must not begin a line of its own.
    let mut text: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.push('\n');
    // One write for each line. There is nobody to tell when it fails.
    let _ = std::io::stderr().write_all(text.as_bytes());
}
