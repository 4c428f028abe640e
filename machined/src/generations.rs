//! The generations of this machine: which one runs, what the boot state in META says, and every change of it.
//!
//! ```text
//! Unknown --META read, firmware asked--> Generation(n) | Recovery | Foreign(why)      (changes again only when META comes late)
//! ```
//! Invariant: nobody else in machined writes the boot state. What is foreign (started by something else than the loader of this
//! disk) blesses, fails and settles nothing.

mod error;
mod fit;
mod follow;
pub mod partition;
mod running;
mod settle;
mod slots;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::boot::state::{Failure, Generation, Phase, State};
use tokio::sync::{Mutex, watch};

pub use error::Error;
pub use follow::{Follow, rejected};
pub use partition::Partition;
pub use settle::Settle;
pub use slots::Slots;

use crate::meta::{self, BootState, Failed};
use crate::trace::cut;

/// Failed generations that are remembered.
const FAILED: usize = 8;
/// Bytes of a reason in META.
const REASON: usize = 400;
/// For it to be known what runs, when somebody asks for a change: less than a client waits.
const KNOWN_WITHIN: Duration = Duration::from_secs(20);

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Running {
    /// Not known yet.
    #[default]
    Unknown,
    /// This generation of the system disk.
    Generation(u32),
    /// The recovery system of the system disk.
    Recovery,
    /// Something that the loader of the system disk did not start, as far as this says.
    Foreign(String),
}

/// What is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// What runs.
    pub running: Running,
    /// The boot state; none when there is none that can be read.
    pub state: Option<State>,
    /// Why there is none.
    pub problem: String,
}

impl View {
    /// The generation that runs.
    pub fn generation(&self) -> Option<&Generation> {
        match self.running {
            Running::Generation(number) => self.state.as_ref()?.generation(number),
            _ => None,
        }
    }

    /// The generation that runs is on trial.
    pub fn trial(&self) -> Option<u32> {
        self.generation().filter(|generation| generation.phase != Phase::Blessed).map(|generation| generation.number)
    }
}

/// Asks and changes; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    meta: meta::Handle,
    view: Arc<watch::Sender<Arc<View>>>,
    /// By when the trial that runs has to be proven, from the start of the machine.
    until: Arc<watch::Sender<Duration>>,
    /// The configuration was proven with what runs: its revision.
    proven: Arc<watch::Sender<Option<u64>>>,
    turn: Arc<Mutex<()>>,
}

impl Handle {
    /// A machine of which nothing is known yet.
    pub fn new(meta: meta::Handle) -> Self {
        let until = Arc::new(watch::Sender::new(Duration::ZERO));
        Self { meta, view: Arc::default(), until, proven: Arc::default(), turn: Arc::default() }
    }

    /// For tests: what runs is known from the start.
    #[cfg(test)]
    pub(crate) fn fixed(meta: meta::Handle, running: Running) -> Self {
        let handle = Self::new(meta);
        handle.look();
        handle.runs(running);
        handle
    }

    /// What is known, now and later.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// What is known now.
    pub fn view(&self) -> Arc<View> {
        self.view.borrow().clone()
    }

    /// Waits until it is known what runs, at most `within`. Cancel-safe.
    pub async fn known(&self, within: Duration) -> Arc<View> {
        let mut view = self.watch();
        let known = view.wait_for(|view| view.running != Running::Unknown);
        match tokio::time::timeout(within, known).await {
            Ok(Ok(view)) => view.clone(),
            _ => self.view(),
        }
    }

    /// The configuration was proven with what runs; 0: there is none, and the API answers.
    pub fn proven(&self, revision: u64) {
        self.proven.send_if_modified(|known| known.replace(revision) != Some(revision));
    }

    /// The trial that runs has its last deadline then, from the start of the machine: init waits so long for its proof.
    pub fn keep_until(&self, deadline: Duration) {
        self.until.send_if_modified(|until| {
            let changed = *until != deadline;
            *until = deadline;
            changed
        });
    }

    /// An operator says that the trial that runs is well: for this boot of it, also when machined is started again.
    ///
    /// # Errors
    /// What runs is not on trial, or META cannot be written.
    pub async fn confirm(&self) -> Result<u32, Error> {
        let view = self.known(KNOWN_WITHIN).await;
        let number = view.generation().filter(|generation| matches!(generation.phase, Phase::Trial { .. }));
        let number = number.map(|generation| generation.number).ok_or(Error::NoTrial)?;
        self.meta.update(|record| record.boot.get_or_insert_default().confirmed = Some(number)).await?;
        self.look_again();
        Ok(number)
    }

    /// Whether somebody did.
    pub fn confirmed(&self) -> bool {
        let confirmed = self.meta.record().boot.and_then(|mark| mark.confirmed);
        confirmed.is_some() && confirmed == self.view().trial()
    }

    /// Records the generation that runs as proven, with this revision of the configuration (0: none). One that is blessed only
    /// gets the revision.
    ///
    /// # Errors
    /// It is none of this disk's, or META cannot be written: then nothing has changed.
    pub async fn bless(&self, revision: u64) -> Result<(), Error> {
        let number = self.number()?;
        let state = self.change(move |state| Ok(state.bless(number, revision)?.up())).await?;
        self.proven_by_trial(number, &state).await;
        Ok(())
    }

    /// With the blessing: nothing below its floor is taken from now on, and its image has not failed here.
    async fn proven_by_trial(&self, number: u32, state: &State) {
        let digest = state.generation(number).map(|one| one.uki.digest.to_string()).unwrap_or_default();
        let before = self.meta.record();
        let staged = before.staged.as_ref().filter(|staged| staged.generation == number);
        let floor =
            staged.and_then(|staged| settle::higher(before.floor.clone(), &staged.floor)).or(before.floor.clone());
        if floor == before.floor && before.failed.iter().all(|failed| failed.digest != digest) {
            return;
        }
        let update = move |record: &mut meta::Record| {
            record.floor = floor;
            record.failed.retain(|failed| failed.digest != digest);
        };
        if let Err(error) = self.meta.update(update).await {
            tracing::warn!("META does not keep what a proof changes: {}", crate::trace::chain(&error));
        }
        self.look_again();
    }

    /// Records that the trial that runs is over, and why: the next start is of the current generation.
    ///
    /// # Errors
    /// As [`Handle::bless`]. The loader then still counts.
    pub async fn fail(&self, why: &str, phase: &str) -> Result<(), Error> {
        let number = self.number()?;
        // The reason first: a state that says "failed" is looked up here.
        let view = self.view();
        if let Some(generation) = view.generation() {
            self.remember(generation, why.into(), phase).await;
        }
        self.change(move |state| Ok(state.fail(number, Failure::Gate)?)).await?;
        Ok(())
    }

    /// Makes a blessed generation what starts next; none: the other one. A trial ends by it, for this reason. Returns its number.
    ///
    /// # Errors
    /// There is none, it runs already, the next start is by no loader of this disk, or META cannot be written.
    pub async fn roll_back(&self, to: Option<u32>, why: &str) -> Result<u32, Error> {
        let view = self.ours().await?;
        let trial = view.generation().filter(|generation| generation.phase != Phase::Blessed);
        let running = view.generation().map(|generation| generation.number);
        let roll_back = move |state: &State| {
            let to = to.or_else(|| other(state, running)).ok_or(Error::NoOther)?;
            if Some(to) == running && to == state.current {
                return Err(Error::Runs(to));
            }
            Ok(state.roll_back(to)?.up())
        };
        view.state.as_ref().ok_or(Error::NoState).and_then(roll_back)?;
        // The reason first: a state that says "rolled back" is looked up here.
        if let Some(trial) = trial {
            self.remember(trial, why.into(), "machined").await;
        }
        Ok(self.change(roll_back).await?.current)
    }

    /// Takes a rollback back, whose reboot is not going to happen: everything is as it was before it.
    ///
    /// # Errors
    /// Something else was changed since, or META cannot be written.
    pub async fn take_back(&self, before: State, rolled_to: u32) -> Result<(), Error> {
        let numbers = |state: &State| state.slots.map(|slot| slot.map(|one| one.number));
        let take_back = move |state: &State| {
            let untouched =
                state.current == rolled_to && state.next == before.next && numbers(state) == numbers(&before);
            if untouched {
                Ok(State { chosen: state.chosen, boots: state.boots, ..before })
            } else {
                Err(Error::Moved(rolled_to))
            }
        };
        self.change(take_back).await?;
        if let Some(trial) = before.trial().map(|trial| trial.number) {
            self.meta.update(|record| record.failed.retain(|failed| failed.generation != trial)).await?;
            self.look_again();
        }
        Ok(())
    }

    /// The next start is recovery, once; or not any more.
    ///
    /// # Errors
    /// There is no recovery system, the next start is by no loader of this disk, or META cannot be written.
    pub async fn recover(&self, once: bool) -> Result<(), Error> {
        self.ours().await?;
        self.change(move |state| match state.recovery {
            None if once => Err(Error::NoRecovery),
            _ => Ok(State { recover: once, ..*state }),
        })
        .await?;
        Ok(())
    }

    /// The configuration was wiped: no generation was proven with any revision of the next one. Without a boot state that can be
    /// read there is nothing to forget.
    ///
    /// # Errors
    /// META cannot be written: then nothing has changed.
    pub async fn forget_revisions(&self) -> Result<(), Error> {
        if !matches!(self.meta.boot(), BootState::Known(_)) {
            return Ok(());
        }
        let forget = |state: &State| {
            let mut new = *state;
            new.slots.iter_mut().flatten().for_each(|generation| generation.revision = 0);
            Ok(new)
        };
        self.change(forget).await.map(drop)
    }

    /// What was started has come up: it has its full number of starts again.
    ///
    /// # Errors
    /// META cannot be written.
    pub async fn up(&self) -> Result<(), Error> {
        self.change(|state| Ok(state.up())).await?;
        Ok(())
    }

    /// Any other change, as [`State`]'s own rules allow it.
    ///
    /// # Errors
    /// What the rules say, or META: then nothing has changed.
    pub async fn change(
        &self,
        change: impl FnOnce(&State) -> Result<State, Error> + Send + 'static,
    ) -> Result<State, Error> {
        let _turn = self.turn.lock().await;
        let changed = self.meta.change_boot(move |state| state.ok_or(Error::NoState).and_then(change)).await?;
        let state = changed?;
        self.look();
        Ok(state)
    }

    /// Writes a boot state where there is none that can be read.
    ///
    /// # Errors
    /// There is one, or META.
    pub(crate) async fn rebuild(&self, new: State) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        let write = move |state: Option<&State>| if state.is_none() { Ok(new) } else { Err(Error::Moved(new.current)) };
        self.meta.change_boot(write).await??;
        self.look();
        Ok(())
    }

    /// The trial failed for this reason; kept for who asks, and so that the same image is not staged again by itself.
    async fn remember(&self, generation: &Generation, why: String, phase: &str) {
        let digest = generation.uki.digest.to_string();
        let starts = match generation.phase {
            Phase::Trial { tries } => u32::from(::boot::state::TRIES.saturating_sub(tries)),
            _ => u32::from(::boot::state::TRIES),
        };
        let version = self.meta.record().versions.get(&digest).cloned().unwrap_or_default();
        let failed = Failed {
            generation: generation.number,
            digest,
            version,
            why: cut(why, REASON),
            phase: phase.into(),
            starts,
            time_unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        };
        let update = move |record: &mut meta::Record| {
            record.failed.retain(|known| known.generation != failed.generation);
            record.failed.push(failed);
            let over = record.failed.len().saturating_sub(FAILED);
            record.failed.drain(..over);
        };
        if let Err(error) = self.meta.update(update).await {
            tracing::warn!("META does not keep why a generation failed: {}", crate::trace::chain(&error));
        }
        self.look_again();
    }

    /// What the loader of the system disk started; it starts what is next, too.
    async fn ours(&self) -> Result<Arc<View>, Error> {
        let view = self.known(KNOWN_WITHIN).await;
        match &view.running {
            Running::Generation(_) | Running::Recovery => Ok(view),
            Running::Foreign(why) => Err(Error::Foreign(why.clone())),
            Running::Unknown => Err(Error::Unknown),
        }
    }

    fn number(&self) -> Result<u32, Error> {
        match &self.view().running {
            Running::Generation(number) => Ok(*number),
            Running::Recovery => Err(Error::Recovery),
            Running::Foreign(why) => Err(Error::Foreign(why.clone())),
            Running::Unknown => Err(Error::Unknown),
        }
    }

    /// What META says of generations beside the boot state has changed: who waits for a view looks again.
    fn look_again(&self) {
        self.view.send_modify(|_| {});
    }

    /// Takes over what META knows.
    fn look(&self) {
        let (state, problem) = match self.meta.boot() {
            BootState::Known(state) => (Some(*state), String::new()),
            BootState::None => (None, "META holds no boot state that can be read".into()),
            BootState::Unusable(why) => (None, why),
        };
        self.view.send_if_modified(|view| {
            let new = View { running: view.running.clone(), state, problem };
            let changed = **view != new;
            if changed {
                *view = Arc::new(new);
            }
            changed
        });
    }

    fn runs(&self, running: Running) {
        self.view.send_modify(|view| *view = Arc::new(View { running, ..(**view).clone() }));
    }
}

/// The blessed generation that is meant when none is named: it does not run, and is not current if there is a choice.
fn other(state: &State, running: Option<u32>) -> Option<u32> {
    let blessed = state.slots.iter().flatten().filter(|generation| generation.phase == Phase::Blessed);
    let others = blessed.map(|generation| generation.number).filter(|number| Some(*number) != running);
    others.min_by_key(|number| *number == state.current)
}
