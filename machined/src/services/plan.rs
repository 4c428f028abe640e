//! What to do next with one service: a pure function of what is declared and what is the case. The unit that calls it
//! does the one thing it says, then asks again.
//!
//! ```text
//!              needs are there          ready, by its own word
//!  waiting ----------------> starting --------------------> ready
//!     ^                         |  | not in time              |
//!     |                  ended  |  +-------> stopping <-------+  a stop is wanted
//!     |                         v               | ended, or killed after the deadline
//!     +----- backing-off <------+------ ended --+----> stopped (wanted, or ended well and not to run again)
//!              pause over                       +----> failed  (ended badly and not to run again)
//! ```

use std::time::Duration;

use config::service::{Service, When};
use sys::link::ExitStatus;
use tokio::time::Instant;

use crate::resources::service::State;

/// Ready for this long, and earlier failures are forgotten.
pub(super) const PROVEN: Duration = Duration::from_secs(60);

/// What is the case.
#[derive(Clone, Debug)]
pub(super) struct Observed {
    /// Whether it is meant to run.
    pub(super) wanted: bool,
    /// What it needs and is not there: one sentence.
    pub(super) unmet: Option<String>,
    /// Its process.
    pub(super) process: Process,
    /// Ends in a row without a minute of being ready.
    pub(super) failures: u32,
}

/// The first process of a service.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Process {
    /// Never started, or to be started as if so.
    New,
    /// Gone.
    Ended { how: End, at: Instant },
    /// Runs, not ready.
    Starting { since: Instant },
    /// Runs.
    Ready { since: Instant },
    /// Asked to end, and why.
    Stopping { since: Instant, killed: bool },
}

/// How it came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Exit(ExitStatus),
    /// Before this machined started, as an earlier one wrote down.
    Before(String),
    /// It ended while nobody could learn how.
    Unknown,
    /// It was not ready in time and was ended.
    NotReady,
    /// It could not be started.
    NoStart(String),
    /// As wanted.
    Stopped,
}

/// What to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    /// What to show.
    pub(super) state: State,
    /// Why it is not ready; empty when it is.
    pub(super) why: String,
    /// To be done now.
    pub(super) act: Option<Act>,
    /// When to ask again even if nothing has changed.
    pub(super) wake: Option<Instant>,
}

/// One deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Start the process.
    Start,
    /// Send the stop signal.
    Ask,
    /// Kill everything in its cgroup.
    Kill,
}

pub(super) fn decide(service: &Service, seen: &Observed, now: Instant) -> Decision {
    let is = |state, why: String| Decision { state, why, act: None, wake: None };
    match &seen.process {
        Process::Stopping { since, killed } => {
            let deadline = *since + service.stop.within.0;
            let kill = !killed && now >= deadline;
            let why = if *killed { "killed, not gone yet".into() } else { "asked to stop".into() };
            let wake = (!killed && !kill).then_some(deadline);
            Decision { act: kill.then_some(Act::Kill), wake, ..is(State::Stopping, why) }
        }
        Process::Starting { .. } | Process::Ready { .. } if !seen.wanted => {
            Decision { act: Some(Act::Ask), ..is(State::Stopping, "stop wanted".into()) }
        }
        Process::Starting { since } => {
            let deadline = *since + service.ready.within.0;
            let late = now >= deadline;
            let why = if late {
                format!("not ready within {}", service.ready.within)
            } else {
                "has not said that it is ready".into()
            };
            Decision { act: late.then_some(Act::Ask), wake: (!late).then_some(deadline), ..is(State::Starting, why) }
        }
        Process::Ready { .. } => is(State::Ready, String::new()),
        Process::New | Process::Ended { .. } if !seen.wanted => is(State::Stopped, "stop wanted".into()),
        Process::New => start(service, seen),
        Process::Ended { how, at } => {
            let ended_well = matches!(how, End::Exit(status) if status.success()) || *how == End::Stopped;
            let again = match service.restart.when {
                When::Always => true,
                When::OnFailure => !ended_well,
                When::Never => false,
            };
            let until = *at + pause(service, seen.failures);
            match (again, ended_well) {
                (false, true) => is(State::Stopped, format!("{how}, and is not to run again")),
                (false, false) => is(State::Failed, format!("{how}, and is not to run again")),
                (true, _) if now < until => Decision { wake: Some(until), ..is(State::BackingOff, how.to_string()) },
                (true, _) => start(service, seen),
            }
        }
    }
}

fn start(service: &Service, seen: &Observed) -> Decision {
    let (state, why, act) = match &seen.unmet {
        Some(unmet) => (State::Waiting, unmet.clone(), None),
        None => (State::Starting, format!("starting {}", service.name), Some(Act::Start)),
    };
    Decision { state, why, act, wake: None }
}

/// The pause before the next start: doubled with each failure in a row.
fn pause(service: &Service, failures: u32) -> Duration {
    let backoff = &service.restart.backoff;
    backoff.from.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(backoff.to)
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exit(status) => write!(f, "ended with {status}"),
            Self::Unknown => f.write_str("ended while nobody watched"),
            Self::NotReady => f.write_str("was not ready in time"),
            Self::NoStart(why) | Self::Before(why) => f.write_str(why),
            Self::Stopped => f.write_str("stopped as wanted"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(more: &str) -> Service {
        config::service::parse(&format!(
            "apiVersion: stele/v1\nkind: Service\nname: web\nrun: [/web]\nready: {{ notify: true, within: 20s }}\nstop: {{ within: 10s }}\n{more}"
        ))
        .unwrap()
    }

    fn seen(process: Process) -> Observed {
        Observed { wanted: true, unmet: None, process, failures: 0 }
    }

    const EXIT_0: End = End::Exit(ExitStatus::Exited(0));
    const EXIT_1: End = End::Exit(ExitStatus::Exited(1));

    #[test]
    fn every_situation_has_one_answer() {
        let now = Instant::now();
        let ago = |s| now - Duration::from_secs(s);
        let later = |ms| Some(now + Duration::from_millis(ms));
        let ended = |how: End| Process::Ended { how, at: now };
        let unwanted = |process| Observed { wanted: false, ..seen(process) };
        let lacks = Observed { unmet: Some("needs db".into()), ..seen(Process::New) };
        let failed = |failures, how: &End| Observed { failures, ..seen(ended(how.clone())) };
        let (always, on_failure, never) =
            ("restart: { when: always }", "restart: { when: on-failure }", "restart: { when: never }");
        use State::{BackingOff, Failed, Ready, Starting, Stopped, Stopping, Waiting};
        let table = [
            ("first start", always, seen(Process::New), Starting, Some(Act::Start), None),
            ("needs are missing", always, lacks, Waiting, None, None),
            ("not wanted, never ran", always, unwanted(Process::New), Stopped, None, None),
            ("young", always, seen(Process::Starting { since: ago(5) }), Starting, None, later(15_000)),
            ("late", always, seen(Process::Starting { since: ago(20) }), Starting, Some(Act::Ask), None),
            ("runs", always, seen(Process::Ready { since: ago(5) }), Ready, None, None),
            ("stop", always, unwanted(Process::Ready { since: ago(5) }), Stopping, Some(Act::Ask), None),
            (
                "asked",
                always,
                unwanted(Process::Stopping { since: ago(4), killed: false }),
                Stopping,
                None,
                later(6_000),
            ),
            (
                "deaf",
                always,
                unwanted(Process::Stopping { since: ago(10), killed: false }),
                Stopping,
                Some(Act::Kill),
                None,
            ),
            ("killed", always, unwanted(Process::Stopping { since: ago(10), killed: true }), Stopping, None, None),
            ("ended as wanted", always, unwanted(ended(End::Stopped)), Stopped, None, None),
            ("first failure", always, failed(1, &EXIT_1), BackingOff, None, later(200)),
            ("fourth failure", always, failed(4, &EXIT_1), BackingOff, None, later(1_600)),
            ("hundredth failure", always, failed(100, &EXIT_1), BackingOff, None, later(30_000)),
            ("ended well, always", always, failed(1, &EXIT_0), BackingOff, None, later(200)),
            ("ended well, on-failure", on_failure, failed(1, &EXIT_0), Stopped, None, None),
            ("ended badly, on-failure", on_failure, failed(1, &EXIT_1), BackingOff, None, later(200)),
            ("ended well, never", never, failed(1, &EXIT_0), Stopped, None, None),
            ("ended badly, never", never, failed(1, &EXIT_1), Failed, None, None),
            ("no program", never, failed(1, &End::NoStart("no such file".into())), Failed, None, None),
        ];
        for (name, declared, seen, state, act, wake) in table {
            let decision = decide(&service(declared), &seen, now);
            assert_eq!((decision.state, decision.act, decision.wake), (state, act, wake), "{name}");
            assert_eq!(decision.why.is_empty(), state == Ready, "{name} says why");
        }
    }

    #[test]
    fn after_the_pause_it_starts_again() {
        let at = Instant::now();
        let seen = Observed { failures: 1, ..seen(Process::Ended { how: EXIT_1, at }) };
        let decision = decide(&service(""), &seen, at + Duration::from_millis(200));
        assert_eq!(decision.act, Some(Act::Start));
    }
}
