//! What is started: [`decide`], one pure function, and [`choose`], the loop around it that the loader runs.
//!
//! ```text
//! recovery, when asked for -> the trial, if it has tries left -> the current generation -> the other blessed one
//!   -> what has an entry, lowest number first -> recovery -> nothing
//! ```
//! Something blessed that was started [`STRIKES`] times in a row and never came up makes room: for the other blessed one, then for
//! recovery, then it begins anew. Without a boot state only the last three are left. Invariants: a trial is started only after its lowered count is on the disk;
//! a boot without a writable state starts nothing that is on trial; what was rejected in a boot is not chosen again in it.

use crate::entry::{Entry, Which};
use crate::state::{Cause, Chosen, Failure, Generation, Phase, ROUND, Reject, STRIKES, State};
use crate::uki::Digest;

/// Most entries that are looked at.
pub const ENTRIES_MAX: usize = 16;
/// Most UKIs that can be rejected in one boot: all entries, both slots and recovery.
const REJECTS_MAX: usize = ENTRIES_MAX + 3;

/// What this boot has met so far.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The boot state can be written.
    pub writable: bool,
    /// This start is counted in the state already.
    counted: bool,
    /// And as one that has yet to come up.
    struck: bool,
    rejected: [Option<(Digest, Reject)>; REJECTS_MAX],
}

impl Default for Seen {
    fn default() -> Self {
        Self { writable: true, counted: false, struck: false, rejected: [None; REJECTS_MAX] }
    }
}

impl Seen {
    /// Why this UKI was rejected, if it was.
    #[must_use]
    pub fn rejected(&self, digest: Digest) -> Option<Reject> {
        self.rejected.iter().flatten().find(|(known, _)| *known == digest).map(|(_, reject)| *reject)
    }

    /// Notes that this UKI cannot be started. False when there is no room, after which nothing more should be tried.
    #[must_use]
    pub fn reject(&mut self, digest: Digest, why: Reject) -> bool {
        let free = self.rejected.iter_mut().find(|place| place.is_none());
        free.map(|place| *place = Some((digest, why))).is_some()
    }
}

/// A UKI to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What it is.
    pub which: Which,
    /// Its content, and by that its path.
    pub digest: Digest,
    /// Its length, where that is known.
    pub size: Option<u64>,
    /// Why it.
    pub cause: Cause,
}

impl Choice {
    /// It may be started only when the state is on the disk: its count, or that recovery was asked for just once.
    #[must_use]
    pub const fn needs_write(&self) -> bool {
        matches!(self.cause, Cause::Trial | Cause::Asked)
    }
}

/// What to start, and what to write before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// None: there is nothing to start.
    pub choice: Option<Choice>,
    /// The state as it is to be on the disk before the choice is started; none without a boot state.
    pub state: Option<State>,
}

/// Decides. `entries` in any order; what lies beyond [`ENTRIES_MAX`] may be left out.
#[must_use]
pub fn decide(state: Option<&State>, entries: &[Entry], seen: &Seen) -> Decision {
    let mut new = state.copied();
    let choice = new
        .as_mut()
        .and_then(|new| {
            let turn = if seen.writable { new.strikes / STRIKES } else { 0 };
            let recovery = |new: &State| if turn == 2 { last(Some(new), &[], seen) } else { None };
            asked(new, seen)
                .or_else(|| trial(new, seen))
                .or_else(|| recovery(new))
                .or_else(|| blessed(new, turn == 1, seen))
        })
        .or_else(|| listed(new.as_ref(), entries, seen))
        .or_else(|| last(new.as_ref(), entries, seen));
    if let Some(new) = &mut new {
        note(new, choice.as_ref(), seen);
    }
    Decision { choice, state: new }
}

fn asked(new: &mut State, seen: &Seen) -> Option<Choice> {
    if !new.recover || !seen.writable {
        return None;
    }
    new.recover = false;
    let uki = new.recovery.filter(|uki| seen.rejected(uki.digest).is_none())?;
    Some(Choice { which: Which::Recovery, digest: uki.digest, size: Some(uki.size), cause: Cause::Asked })
}

fn trial(new: &mut State, seen: &Seen) -> Option<Choice> {
    if !seen.writable {
        return None;
    }
    for generation in new.slots.iter_mut().flatten() {
        let Phase::Trial { tries } = generation.phase else { continue };
        if let Some(why) = seen.rejected(generation.uki.digest) {
            // A disk that did not answer may the next time; that try is used up.
            if why != Reject::Unreadable {
                generation.phase = Phase::Failed(Failure::File(why));
            }
        } else if let Some(left) = tries.checked_sub(1) {
            generation.phase = Phase::Trial { tries: left };
            return Some(of(generation, Cause::Trial));
        } else {
            generation.phase = Phase::Failed(Failure::Tries);
        }
    }
    None
}

/// The current generation or the other one, whichever can be started; `other_first`: the current one never came up.
fn blessed(new: &State, other_first: bool, seen: &Seen) -> Option<Choice> {
    let can =
        |generation: &&Generation| generation.phase == Phase::Blessed && seen.rejected(generation.uki.digest).is_none();
    let is_current = |generation: &&Generation| generation.number == new.current;
    let mut slots = new.slots.iter().flatten().filter(can);
    let current = slots.clone().find(is_current).map(|generation| of(generation, Cause::Current));
    let other = slots.find(|generation| !is_current(generation)).map(|generation| of(generation, Cause::Other));
    if other_first { other.or(current) } else { current.or(other) }
}

/// Entries are only of what was blessed once; a state that knows better than an entry counts more.
fn listed(state: Option<&State>, entries: &[Entry], seen: &Seen) -> Option<Choice> {
    let numbered = entries.iter().filter_map(|entry| match entry.which {
        Which::Generation(number) => Some((number, entry.digest)),
        Which::Recovery => None,
    });
    numbered
        .filter(|(number, digest)| {
            let known = state.and_then(|state| state.generation(*number)).filter(|known| known.uki.digest == *digest);
            known.is_none_or(|known| known.phase == Phase::Blessed) && seen.rejected(*digest).is_none()
        })
        .min_by_key(|(number, _)| *number)
        .map(|(number, digest)| Choice {
            which: Which::Generation(number),
            digest,
            size: None,
            cause: Cause::Stateless,
        })
}

fn last(state: Option<&State>, entries: &[Entry], seen: &Seen) -> Option<Choice> {
    let known = state.and_then(|state| state.recovery).map(|uki| (uki.digest, Some(uki.size)));
    let listed = entries.iter().filter(|entry| entry.which == Which::Recovery).map(|entry| (entry.digest, None));
    known.into_iter().chain(listed).find(|(digest, _)| seen.rejected(*digest).is_none()).map(|(digest, size)| Choice {
        which: Which::Recovery,
        digest,
        size,
        cause: Cause::Last,
    })
}

fn of(generation: &Generation, cause: Cause) -> Choice {
    let Generation { number, uki, .. } = *generation;
    Choice { which: Which::Generation(number), digest: uki.digest, size: Some(uki.size), cause }
}

fn note(new: &mut State, choice: Option<&Choice>, seen: &Seen) {
    let Some(choice) = choice else { return };
    let [a, b] = new.slots.map(|slot| slot.and_then(|generation| seen.rejected(generation.uki.digest)));
    let recovery = new.recovery.and_then(|uki| seen.rejected(uki.digest));
    if !seen.counted {
        new.boots = new.boots.wrapping_add(1);
    }
    if choice.cause != Cause::Trial && !seen.struck {
        new.strikes = (new.strikes + 1) % ROUND;
    }
    new.chosen = Some(Chosen { which: choice.which, cause: choice.cause, rejected: [a, b, recovery] });
}

/// The machine that the loader runs on.
pub trait Machine {
    /// A UKI that was checked and can be started.
    type Loaded;

    /// Writes the state and reads it back; false when it is not on the disk for sure.
    fn save(&mut self, state: &State) -> bool;

    /// Reads the UKI, checks its length and SHA-256, and lets the firmware load it.
    ///
    /// # Errors
    /// Why it cannot be started.
    fn load(&mut self, choice: &Choice) -> Result<Self::Loaded, Reject>;
}

/// Finds something to start, with everything that has to be written before it written; none when there is nothing at all.
pub fn choose<M: Machine>(machine: &mut M, state: Option<&State>, entries: &[Entry]) -> Option<(Choice, M::Loaded)> {
    let mut seen = Seen::default();
    let mut state = state.copied();
    loop {
        let decision = decide(state.as_ref(), entries, &seen);
        let choice = decision.choice?;
        if let Some(new) = decision.state.filter(|_| seen.writable)
            && state != Some(new)
        {
            if machine.save(&new) {
                state = Some(new);
                seen.counted = true;
                seen.struck |= choice.cause != Cause::Trial;
            } else {
                seen.writable = false;
                if choice.needs_write() {
                    continue;
                }
            }
        }
        match machine.load(&choice) {
            Ok(loaded) => return Some((choice, loaded)),
            Err(why) if seen.reject(choice.digest, why) => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests;
