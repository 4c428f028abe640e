//! What the generation that runs asks of the configuration.
//!
//! ```text
//! blessed, the same as before      -> nothing
//! blessed, another than before     -> its own revision comes back first: the one that was proven with it
//! on trial                         -> `current` as it is, or the trial fails; nothing is chosen, counted or given up
//! recovery                         -> `current` as it is, if it can be read; nothing changes
//! ```
//! Invariant: META says which generation's configuration was settled (`ran`) before that generation does anything with it, so that
//! a change made under a trial goes with the trial.

use std::time::Duration;

use super::choice;
use super::engine::{Engine, load};
use super::error::Error;
use super::revisions::Id;
use crate::generations::{Running, View};
use crate::resources::config_status::State;
use crate::trace::chain;

/// What runs is known soon after META; without firmware variables it takes as long as their module may.
const WITHIN: Duration = Duration::from_secs(45);

/// Why revisions are left as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// This generation is on trial.
    Trial(u32),
    /// The recovery system runs.
    Recovery,
}

impl Engine {
    /// Finds out what runs, and brings its revision back when that is another one. Called once the revisions are open.
    pub(super) async fn settle_generation(&mut self) {
        let view = self.parts.generations.known(WITHIN).await;
        self.held = held(&view, self.parts.recovery);
        let Some(generation) = view.generation().copied() else { return };
        let ran = self.parts.meta.record().ran;
        if ran == Some(generation.number) {
            return;
        }
        let back = generation.revision;
        if self.held.is_none() && ran.is_some() && back > 0 && self.pointers().current != Some(back) {
            self.bring_back(generation.number, back).await;
        }
        let number = generation.number;
        if let Err(error) = self.parts.meta.update(|record| record.ran = Some(number)).await {
            tracing::warn!("META does not keep whose configuration runs: {}", chain(&error));
        }
    }

    async fn bring_back(&mut self, generation: u32, revision: Id) {
        let why = format!("generation {generation} came back, and revision {revision} with it");
        let told = why.clone();
        let done = self
            .with(move |revisions| {
                load(revisions, revision)?;
                let pointed = revisions.point(|now| {
                    choice::give_up(now, Some(revision), &why);
                    now.blessed = Some(revision);
                    now.before = now.before.filter(|before| *before < revision);
                    now.staged = None;
                });
                pointed.map_err(|error| chain(&error))
            })
            .await;
        match done {
            Ok(()) => self.parts.events.warn("config", told),
            Err(why) => {
                let told = format!(
                    "generation {generation} was proven with revision {revision}, which cannot come back: {why}; what is \
                     current is used"
                );
                self.parts.events.error("config", told);
            }
        }
    }

    /// Whether the configuration may be changed while this runs.
    pub(super) fn may_settle(&self, force: bool) -> Result<(), Error> {
        match self.held {
            Some(Held::Recovery) => Err(Error::Recovery),
            Some(Held::Trial(generation)) if !force => Err(Error::Generation(generation)),
            _ => Ok(()),
        }
    }

    /// The trial of a generation is over, if one was: from now on revisions are chosen as ever.
    pub(super) fn look_at_generation(&mut self) {
        self.held = held(&self.parts.generations.view(), self.parts.recovery);
    }

    /// The revision that was proven belongs to the generation that runs.
    pub(super) async fn belongs(&mut self, revision: Id) {
        self.parts.generations.proven(revision);
        let view = self.parts.generations.view();
        if view.state.is_none() {
            return;
        }
        let known = view.generation().is_some_and(|one| one.revision == revision);
        let ours = matches!(view.running, Running::Generation(_)) && view.trial().is_none();
        if known || !ours || self.active().state == State::Unreadable {
            return;
        }
        if let Err(error) = self.parts.generations.bless(revision).await {
            tracing::warn!("the generation that runs does not keep its revision: {}", chain(&error));
        }
    }
}

fn held(view: &View, recovery: bool) -> Option<Held> {
    match (&view.running, view.trial()) {
        _ if recovery => Some(Held::Recovery),
        (Running::Recovery, _) => Some(Held::Recovery),
        (_, Some(number)) => Some(Held::Trial(number)),
        _ => None,
    }
}
