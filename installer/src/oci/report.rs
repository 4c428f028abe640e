//! The lines on standard output.

use std::io::Write;
use std::time::{Duration, Instant};

use config::image::pull::{Check, Line, Progress, Step, Warning};

use super::failure::Failure;

/// Twice a second is enough to see that it moves.
const EVERY: Duration = Duration::from_millis(500);

/// Tells how far it is.
pub struct Report<W> {
    to: W,
    last: Option<(Instant, Step, Option<String>)>,
}

impl<W: Write> Report<W> {
    /// Into this.
    pub const fn new(to: W) -> Self {
        Self { to, last: None }
    }

    /// One line.
    ///
    /// # Errors
    /// When nobody listens any more: then nobody wants the result.
    pub fn line(&mut self, line: &Line) -> Result<(), Failure> {
        let mut text = serde_json::to_string(line).unwrap_or_default();
        text.push('\n');
        let written = self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush());
        written.map_err(|error| Failure::passing(Check::Request, format!("nobody listens any more: {error}")))
    }

    /// How far it is: when that is a new step, or enough time is over.
    pub(super) fn progress(&mut self, step: Step, part: Option<&str>, done: u64, total: u64) -> Result<(), Failure> {
        let known = self.last.as_ref().is_some_and(|(at, known, name)| {
            at.elapsed() < EVERY && *known == step && name.as_deref() == part && done < total
        });
        if known {
            return Ok(());
        }
        self.last = Some((Instant::now(), step, part.map(str::to_owned)));
        self.line(&Line::Progress(Progress { step, part: part.map(str::to_owned), done, total }))
    }

    pub(super) fn warning(&mut self, failure: Failure) -> Result<(), Failure> {
        self.line(&Line::Warning(Warning { check: failure.check, message: failure.message }))
    }
}
