//! What may become of a boot state: staging, blessing, failing, rolling back. Pure; machined and the installer write the result.
//!
//! Invariant: the current generation and the one that runs are never emptied, and only what is blessed becomes current.

use core::fmt;

use crate::entry::NUMBER_MAX;
use crate::state::{Failure, Generation, Phase, State, TRIES};
use crate::uki::Uki;

/// Why a change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This generation runs and that one is current: there is no slot left.
    NoSlot {
        /// What runs.
        running: u32,
        /// What boots next.
        current: u32,
    },
    /// A generation is on trial already.
    OnTrial(u32),
    /// It is not there any more, or never was.
    Unknown(u32),
    /// It was never blessed.
    Unproven(u32),
    /// It is not on trial.
    NoTrial(u32),
    /// All numbers are used up.
    Numbers,
}

impl fmt::Display for Refusal {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSlot { running, current } => write!(
                to,
                "generation {running} runs and generation {current} starts next, and there are two slots: reboot first"
            ),
            Self::OnTrial(number) => write!(to, "generation {number} is on trial"),
            Self::Unknown(number) => write!(to, "there is no generation {number}"),
            Self::Unproven(number) => write!(to, "generation {number} was never proven"),
            Self::NoTrial(number) => write!(to, "generation {number} is not on trial"),
            Self::Numbers => write!(to, "there are no numbers left for generations: install anew"),
        }
    }
}

impl core::error::Error for Refusal {}

impl State {
    /// The slot that a new generation takes: an empty one, or one that neither runs nor is current. `running` is the generation
    /// that runs, none when that is recovery or unknown.
    ///
    /// # Errors
    /// [`Refusal::OnTrial`], [`Refusal::NoSlot`].
    pub fn free_slot(&self, running: Option<u32>) -> Result<usize, Refusal> {
        if let Some(trial) = self.trial() {
            return Err(Refusal::OnTrial(trial.number));
        }
        let taken = |slot: &Option<Generation>| {
            slot.is_some_and(|generation| generation.number == self.current || Some(generation.number) == running)
        };
        // What failed goes before what is blessed.
        let worth = |slot: &Option<Generation>| match slot {
            None => 0,
            Some(generation) if generation.phase == Phase::Blessed => 2,
            Some(_) => 1,
        };
        let free = (0..self.slots.len()).filter(|index| !taken(&self.slots[*index]));
        free.min_by_key(|index| worth(&self.slots[*index]))
            .ok_or(Refusal::NoSlot { running: running.unwrap_or(self.current), current: self.current })
    }

    /// Forgets what a slot holds, before its files go.
    #[must_use]
    pub fn empty(&self, slot: usize) -> Self {
        let mut new = *self;
        new.slots[slot] = None;
        new
    }

    /// Puts a UKI, whose file is complete on the disk, on trial. The slot must be empty. Returns its number with the state.
    ///
    /// # Errors
    /// [`Refusal::OnTrial`], [`Refusal::Numbers`].
    pub fn stage(&self, slot: usize, uki: Uki) -> Result<(Self, u32), Refusal> {
        if let Some(trial) = self.trial() {
            return Err(Refusal::OnTrial(trial.number));
        }
        let number = self.next;
        if number >= NUMBER_MAX {
            return Err(Refusal::Numbers);
        }
        let mut new = *self;
        new.slots[slot] = Some(Generation { number, uki, phase: Phase::Trial { tries: TRIES }, revision: 0 });
        new.next = number + 1;
        Ok((new, number))
    }

    /// A state for a disk that lost its own, once `running`, which has an entry, has proven itself: it is current, and what has an
    /// entry beside it is blessed. `next` is higher than any number that anybody remembers.
    #[must_use]
    pub fn rebuilt(running: u32, found: &[(u32, Uki)], recovery: Option<Uki>, next: u32) -> Option<Self> {
        let of =
            |(number, uki): &(u32, Uki)| Generation { number: *number, uki: *uki, phase: Phase::Blessed, revision: 0 };
        let own = found.iter().find(|(number, _)| *number == running).map(of)?;
        let other = found.iter().filter(|(number, _)| *number != running).max_by_key(|(number, _)| *number).map(of);
        let highest = found.iter().map(|(number, _)| *number).max().unwrap_or(running);
        let mut state = Self::first(own.uki, recovery);
        state.current = running;
        state.next = next.max(highest.saturating_add(1)).min(NUMBER_MAX);
        state.slots = [Some(own), other];
        Some(state)
    }

    /// What runs has proven itself, and what is current could not be started: it is current from now on.
    ///
    /// # Errors
    /// As [`State::roll_back`].
    pub fn stay(&self, running: u32) -> Result<Self, Refusal> {
        self.roll_back(running)
    }

    /// The trial has proven itself: it is what boots from now on. Blessing what is blessed notes the newer revision.
    ///
    /// # Errors
    /// [`Refusal::Unknown`]; [`Refusal::NoTrial`] when it failed before.
    pub fn bless(&self, number: u32, revision: u64) -> Result<Self, Refusal> {
        let mut new = *self;
        let generation = new.generation_mut(number).ok_or(Refusal::Unknown(number))?;
        match generation.phase {
            Phase::Failed(_) => return Err(Refusal::NoTrial(number)),
            Phase::Blessed => generation.revision = revision,
            Phase::Trial { .. } => {
                generation.phase = Phase::Blessed;
                generation.revision = revision;
                new.current = number;
            }
        }
        Ok(new)
    }

    /// The trial is over: the next boot starts the current generation.
    ///
    /// # Errors
    /// [`Refusal::Unknown`]; [`Refusal::NoTrial`] when it is blessed.
    pub fn fail(&self, number: u32, why: Failure) -> Result<Self, Refusal> {
        let mut new = *self;
        let generation = new.generation_mut(number).ok_or(Refusal::Unknown(number))?;
        match generation.phase {
            Phase::Blessed => return Err(Refusal::NoTrial(number)),
            Phase::Trial { .. } => generation.phase = Phase::Failed(why),
            Phase::Failed(_) => {}
        }
        Ok(new)
    }

    /// Makes a blessed generation current. A trial ends by it.
    ///
    /// # Errors
    /// [`Refusal::Unknown`], [`Refusal::Unproven`].
    pub fn roll_back(&self, number: u32) -> Result<Self, Refusal> {
        let to = self.generation(number).ok_or(Refusal::Unknown(number))?;
        if to.phase != Phase::Blessed {
            return Err(Refusal::Unproven(number));
        }
        let mut new = *self;
        new.current = number;
        for generation in new.slots.iter_mut().flatten() {
            if matches!(generation.phase, Phase::Trial { .. }) {
                generation.phase = Phase::Failed(Failure::Operator);
            }
        }
        Ok(new)
    }
}
