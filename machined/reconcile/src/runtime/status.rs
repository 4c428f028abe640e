//! How each controller is doing: written by its task, read by the Diagnostics API.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// What a controller is doing.
///
/// ```text
/// Waiting --> Running --Ok--> Idle --change, wake-up, time--> Running
///                |--Unready-> Unready --change, wake-up-----> Running
///                '--failure-> BackingOff --time, news-------> Running
/// any but Running --stop--> Stopped
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The runtime has not started it yet.
    Waiting,
    /// In a cycle.
    Running,
    /// Done until something changes.
    Idle,
    /// Its inputs are incomplete.
    Unready,
    /// Its last cycle failed.
    BackingOff,
    /// The runtime has stopped it.
    Stopped,
}

impl State {
    /// As the API spells it: kebab-case.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Idle => "idle",
            Self::Unready => "unready",
            Self::BackingOff => "backing-off",
            Self::Stopped => "stopped",
        }
    }
}

/// One controller's state, as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerStatus {
    /// The controller.
    pub name: &'static str,
    /// What it is doing.
    pub state: State,
    /// Cycles begun.
    pub cycles: u64,
    /// Cycles that failed.
    pub failures: u64,
    /// Failures since the last cycle that did not.
    pub failures_in_a_row: u64,
    /// The last failure; kept after recovery.
    pub last_error: Option<String>,
    /// From now until the next cycle, when backing off or waiting for its own time.
    pub next_cycle: Option<Duration>,
}

#[derive(Debug)]
struct Line {
    status: ControllerStatus,
    next: Option<Instant>,
}

/// The handle on all of them; cheap to clone, outlives the runtime.
#[derive(Clone, Debug, Default)]
pub struct Status {
    lines: Arc<Mutex<BTreeMap<&'static str, Line>>>,
}

impl Status {
    /// All controllers, ordered by name.
    #[must_use]
    pub fn controllers(&self) -> Vec<ControllerStatus> {
        let now = Instant::now();
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |line: &Line| ControllerStatus {
            next_cycle: line.next.map(|next| next.saturating_duration_since(now)),
            ..line.status.clone()
        };
        lines.values().map(read).collect()
    }

    /// One controller.
    #[must_use]
    pub fn controller(&self, name: &str) -> Option<ControllerStatus> {
        self.controllers().into_iter().find(|status| status.name == name)
    }

    pub(super) fn add(&self, name: &'static str) {
        let status = ControllerStatus {
            name,
            state: State::Waiting,
            cycles: 0,
            failures: 0,
            failures_in_a_row: 0,
            last_error: None,
            next_cycle: None,
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.insert(name, Line { status, next: None });
    }

    pub(super) fn running(&self, name: &str) {
        self.change(name, None, |status| {
            status.state = State::Running;
            status.cycles += 1;
        });
    }

    /// The failures in a row that this ended, and the last error.
    pub(super) fn succeeded(&self, name: &str, state: State, next: Option<Instant>) -> u64 {
        self.change(name, next, |status| {
            status.state = state;
            std::mem::take(&mut status.failures_in_a_row)
        })
        .unwrap_or_default()
    }

    /// Whether this is news: the first failure in a row, or another error than the last.
    pub(super) fn failed(&self, name: &str, error: String, next: Instant) -> bool {
        self.change(name, Some(next), |status| {
            let news = status.failures_in_a_row == 0 || status.last_error.as_ref() != Some(&error);
            status.state = State::BackingOff;
            status.failures += 1;
            status.failures_in_a_row += 1;
            status.last_error = Some(error);
            news
        })
        .unwrap_or(true)
    }

    pub(super) fn stopped(&self, name: &str) {
        self.change(name, None, |status| status.state = State::Stopped);
    }

    fn change<T>(&self, name: &str, next: Option<Instant>, act: impl FnOnce(&mut ControllerStatus) -> T) -> Option<T> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.get_mut(name)?;
        line.next = next;
        Some(act(&mut line.status))
    }
}
