//! Trials: a revision that goes by itself unless somebody who still reaches the machine confirms it.
//!
//! Invariant: the record is in META before the revision runs. Time is the machine's own running time, written down every
//! [`KEEP`], so a wrong clock changes nothing and a reboot costs the trial at most that much.

use std::time::Duration;

use tokio::time::Instant;

use super::choice::{self, Run};
use super::engine::{Engine, load};
use super::error::Error;
use super::revisions::Id;
use crate::resources::config_status::State;
use crate::trace::chain;

/// META is written so often while a trial lasts.
const KEEP: Duration = Duration::from_secs(10);

/// The trial under way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    /// What is tried.
    pub revision: Id,
    /// What comes back.
    pub back: Id,
    /// When.
    pub deadline: Instant,
    /// Boots that are left.
    pub boots: u32,
    next: Instant,
}

impl Running {
    pub(super) fn new(revision: Id, trial: &choice::Trial) -> Self {
        let now = Instant::now();
        let deadline = now + Duration::from_secs(trial.left_s.into());
        Self { revision, back: trial.back, deadline, boots: trial.boots, next: (now + KEEP).min(deadline) }
    }

    /// When there is something to do; never without a trial. Cancel-safe.
    pub(super) async fn tick(trial: &mut Option<Self>) {
        match trial {
            Some(trial) => tokio::time::sleep_until(trial.next).await,
            None => std::future::pending().await,
        }
    }
}

impl Engine {
    /// Goes on with what META says, after a start.
    pub(super) fn resume_trial(&mut self) {
        let run = self.parts.meta.record().run;
        self.trial = run.and_then(|run| Some(Running::new(run.revision, run.trial.as_ref()?)));
    }

    /// Writes down how much time is left, or goes back.
    pub(super) async fn trial_tick(&mut self) {
        let Some(trial) = &mut self.trial else { return };
        let now = Instant::now();
        let left = trial.deadline.saturating_duration_since(now);
        if left.is_zero() {
            let back = trial.back;
            return self.go_back(back, "it was on trial, and nobody confirmed it in time").await;
        }
        trial.next = (now + KEEP).min(trial.deadline);
        let left_s = u32::try_from(left.as_secs()).unwrap_or(u32::MAX).max(1);
        let run = self
            .parts
            .meta
            .record()
            .run
            .map(|run| Run { trial: run.trial.map(|trial| choice::Trial { left_s, ..trial }), ..run });
        self.count(run).await;
    }

    /// Ends the trial: the revision stays. That the machine is reached is proven by the way the confirmation came.
    pub(super) async fn confirm(&mut self, asked: Option<Id>) -> Result<Id, Error> {
        let Some(running) = self.trial.as_ref().map(|trial| trial.revision) else {
            // Asked twice: an answer may have been lost.
            return match asked {
                Some(id) if self.pointers().current == Some(id) => Ok(id),
                _ => Err(Error::NoTrial),
            };
        };
        if let Some(asked) = asked.filter(|asked| *asked != running) {
            return Err(Error::OtherTrial { asked, running });
        }
        // From here on it is a revision as any other: proven as soon as every document is applied.
        let before = self.parts.meta.record().run;
        if let Err(error) = self.must_count(Run { revision: running, attempts: 0, trial: None }).await {
            // Memory goes on as the disk does: it is still on trial.
            self.count(before).await;
            return Err(error);
        }
        self.trial = None;
        if let Some(prove) = &mut self.prove {
            prove.reached();
        }
        self.parts.events.info("config", format!("the trial of revision {running} was confirmed"));
        // Before that the answers may be those of the revision before.
        if self.active().state == State::Reached {
            self.judge().await;
        }
        self.tell();
        self.list().await;
        Ok(running)
    }

    /// Gives the revision in effect up for an older one.
    pub(super) async fn go_back(&mut self, to: Id, why: &str) {
        let why = why.to_owned();
        let done = self
            .with(move |revisions| {
                let loaded = load(revisions, to)?;
                let pointed = revisions.point(|now| choice::give_up(now, Some(to), &why));
                Ok::<_, String>((loaded, pointed.err().map(|error| chain(&error))))
            })
            .await;
        self.trial = None;
        match done {
            Ok((loaded, unwritten)) => {
                match unwritten {
                    // A STATE that cannot be written takes the way back from nobody; META goes on to say what was tried.
                    Some(why) => {
                        let told = format!("back to revision {to}; STATE does not keep that: {why}");
                        self.parts.events.error("config", told);
                    }
                    None => {
                        self.parts.events.error("config", self.pointers().given_up);
                        self.count(Some(Run { revision: to, attempts: 0, trial: None })).await;
                    }
                }
                self.pending.gone();
                self.activate(loaded).await;
            }
            Err(why) => {
                let why = format!("revision {to} should come back, and cannot: {why}");
                self.parts.events.error("config", &why);
                self.reason = why;
                self.tell();
            }
        }
    }
}
