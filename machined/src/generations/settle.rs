//! What follows a proof: the recovery system and the loader that came with the generation take their places, and the EFI partition
//! says what is proven.
//!
//! ```text
//! blessed -> boot state: the new recovery -> ESP: entries, the loader -> META: floor, nothing staged any more
//! ```
//! Invariant: recovery and loader are never replaced by those of a version that was not proven here. Each step may be begun again;
//! it is, at the next start, until it is done.

use std::sync::Arc;
use std::time::Duration;

use ::boot::entry::Which;
use ::boot::state::{Cause, Phase, State};
use ::boot::uki::{Digest, Uki};
use config::image::Digest as Named;
use config::image::esp::{Entry, Found, Request, Source};
use semver::Version;

use super::partition::Partition;
use super::slots::{keep, keep_all, nothing, uki};
use super::{Handle, Running, View};
use crate::events::Events;
use crate::meta::{self, BootState, Record, Staged};
use crate::trace::chain;

/// Between two tries.
const AGAIN: Duration = Duration::from_secs(300);

/// The task.
pub struct Settle {
    /// The generations.
    pub handle: Handle,
    /// META.
    pub meta: meta::Handle,
    /// The EFI partition.
    pub partition: Arc<Partition>,
    /// The log for people.
    pub events: Events,
}

/// How the files of the EFI partition name a digest.
pub(super) fn named(digest: Digest) -> Named {
    Named::of_bytes(&digest.0)
}

/// Entries of all that is proven, and of recovery.
pub(super) fn entries(state: &State, record: &Record) -> Vec<Entry> {
    let version =
        |digest: Digest| record.versions.get(&digest.to_string()).cloned().unwrap_or_else(|| "unknown".into());
    let blessed = state.slots.iter().flatten().filter(|one| one.phase == Phase::Blessed);
    let entry = |which, digest| Entry {
        generation: match which {
            Which::Generation(number) => Some(number),
            Which::Recovery => None,
        },
        digest: named(digest),
        version: version(digest),
    };
    let blessed = blessed.map(|one| entry(Which::Generation(one.number), one.uki.digest));
    blessed.chain(state.recovery.map(|uki| entry(Which::Recovery, uki.digest))).collect()
}

/// What the partition is to be, as META keeps it: a boot that finds nothing new leaves the partition alone.
fn key(entries: &[Entry]) -> String {
    let one = |entry: &Entry| {
        let name = entry.generation.map_or("recovery".to_owned(), |number| number.to_string());
        format!("{name}:{}", &entry.digest.hex()[..16])
    };
    entries.iter().map(one).collect::<Vec<_>>().join(" ")
}

impl Settle {
    /// For ever.
    pub async fn run(self) {
        let (mut views, mut proven) = (self.handle.watch(), self.handle.proven.subscribe());
        loop {
            let (view, proof) = (views.borrow_and_update().clone(), *proven.borrow_and_update());
            let settled = async {
                if let Some(revision) = proof {
                    self.mend(&view, revision).await?;
                }
                self.settle(&view).await
            };
            let again = match settled.await {
                Ok(()) => Duration::MAX,
                Err(why) => {
                    self.events.error("generation", format!("the EFI partition is not as it should be: {why}"));
                    AGAIN
                }
            };
            tokio::select! {
                changed = views.changed() => if changed.is_err() { return std::future::pending().await },
                Ok(()) = proven.changed() => {}
                () = tokio::time::sleep(again) => {}
            }
        }
    }

    /// What runs has proven itself: a boot state that was lost is made anew, and what could not be started is current no more.
    async fn mend(&self, view: &View, revision: u64) -> Result<(), String> {
        let Running::Generation(running) = view.running else { return Ok(()) };
        let Some(state) = &view.state else {
            if self.meta.boot() != BootState::None {
                return Ok(());
            }
            return self.rebuild(running, revision).await;
        };
        let chosen = state.chosen.filter(|chosen| chosen.cause == Cause::Other);
        let slot = state.slots.iter().position(|slot| slot.is_some_and(|one| one.number == state.current));
        let lost = chosen.is_some_and(|chosen| slot.is_none_or(|slot| chosen.rejected[slot].is_some()));
        if lost && state.current != running {
            let told = format!("generation {} cannot be started: generation {running} is current now", state.current);
            self.handle.change(move |state| Ok(state.stay(running)?)).await.map_err(|error| chain(&error))?;
            self.events.warn("generation", told);
        }
        Ok(())
    }

    async fn rebuild(&self, running: u32, revision: u64) -> Result<(), String> {
        let request = Request { look: true, ..nothing() };
        let warn = |what: &str| self.events.warn("generation", what);
        let done = self.partition.ensure_quietly(request, warn).await.map_err(|error| chain(&error))?;
        let uki = |found: &Found| {
            let digest = Digest::parse(found.digest.hex())?;
            Some(Uki { digest, size: found.size })
        };
        let found: Vec<_> = done.found.iter().filter_map(|one| Some((one.generation?, uki(one)?))).collect();
        let recovery = done.found.iter().find(|one| one.generation.is_none()).and_then(uki);
        let record = self.meta.record();
        let known = record.failed.iter().map(|one| one.generation).chain(record.staged.map(|one| one.generation));
        let next = known.chain(record.ran).max().unwrap_or(0) + 1;
        let state = State::rebuilt(running, &found, recovery, next);
        let state = state.ok_or_else(|| format!("generation {running} has no entry, and the boot state is lost"))?;
        self.handle.rebuild(state).await.map_err(|error| chain(&error))?;
        self.handle.bless(revision).await.map_err(|error| chain(&error))?;
        self.events.warn("generation", "the boot state was lost: it was made anew from what is proven");
        Ok(())
    }

    async fn settle(&self, view: &View) -> Result<(), String> {
        // What runs is proven, and one of ours; a stage under way has the partition to itself.
        let Some(running) = view.generation().filter(|one| one.phase == Phase::Blessed) else { return Ok(()) };
        let (Some(state), record) = (view.state, self.meta.record()) else { return Ok(()) };
        let staged = match record.staged.clone().map(|staged| (whose(&staged, running.number, &state), staged)) {
            None => None,
            Some((Whose::UnderWay, _)) => return Ok(()),
            Some((Whose::Runs, staged)) => Some(staged),
            Some((Whose::Other, _)) => None,
            Some((Whose::Nobody, staged)) => {
                self.forget(staged.generation, None).await?;
                None
            }
        };
        let record = self.meta.record();
        let wanted = key(&entries(&state, &record));
        // As an image or an installer made it.
        let fresh = record.settled.is_none() && state.next == 2;
        if staged.is_none() && (fresh || record.settled.as_ref() == Some(&wanted)) {
            return Ok(());
        }
        self.make(state, staged).await?;
        let record = self.meta.record();
        let now = key(&entries(&self.handle.view().state.unwrap_or(state), &record));
        let kept = self.meta.update(|record| record.settled = Some(now)).await;
        // A stage may wait for this.
        self.handle.look_again();
        kept.map(drop).map_err(|error| chain(&error))
    }

    /// What was staged as this generation is done with, and nothing that was staged since.
    async fn forget(&self, generation: u32, floor: Option<&str>) -> Result<(), String> {
        let update = |record: &mut Record| {
            record.floor = higher(record.floor.take(), floor.unwrap_or_default());
            record.staged.take_if(|staged| staged.generation == generation);
        };
        self.meta.update(update).await.map(drop).map_err(|error| chain(&error))
    }

    async fn make(&self, state: State, staged: Option<Staged>) -> Result<(), String> {
        let recovery = staged.as_ref().and_then(|staged| uki(&staged.recovery));
        let state = match recovery.filter(|recovery| state.recovery != Some(*recovery)) {
            Some(recovery) => {
                let change = move |state: &State| Ok(State { recovery: Some(recovery), ..*state });
                self.handle.change(change).await.map_err(|error| chain(&error))?
            }
            None => state,
        };
        // The loader goes once it is in its place; what waits for another generation stays.
        let record = self.meta.record();
        let keep = if staged.is_some() { keep(&state) } else { keep_all(&state, &record) };
        let loader = staged.as_ref().and_then(|staged| uki(&staged.loader)).map(|loader| {
            let path = self.partition.mount().join(loader.digest.path().as_str().trim_start_matches('/'));
            Source { path: path.display().to_string(), digest: named(loader.digest), size: loader.size }
        });
        let entries = entries(&state, &record);
        let request = Request { keep, entries, loader, ..nothing() };
        let warn = |what: &str| self.events.warn("generation", what);
        self.partition.ensure_quietly(request, warn).await.map_err(|error| chain(&error))?;
        let Some(staged) = staged else { return Ok(()) };
        self.forget(staged.generation, Some(&staged.floor)).await?;
        self.events.info("generation", "recovery system, loader and entries are those of the proven generation");
        Ok(())
    }
}

/// Whose files those are that were staged last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Of one that is being written, waits for its trial, or is on trial.
    UnderWay,
    /// Of what runs, which is proven.
    Runs,
    /// Of another that is proven: they take their places when it runs again.
    Other,
    /// Of none that is there any more, or is ever started.
    Nobody,
}

fn whose(staged: &Staged, running: u32, state: &State) -> Whose {
    match state.generation(staged.generation).map(|one| one.phase) {
        Some(Phase::Blessed) if staged.generation == running => Whose::Runs,
        Some(Phase::Blessed) => Whose::Other,
        Some(Phase::Trial { .. }) => Whose::UnderWay,
        // Its job forgets it, should it end without a trial.
        None if staged.generation >= state.next => Whose::UnderWay,
        Some(Phase::Failed(_)) | None => Whose::Nobody,
    }
}

/// The higher of two version floors.
pub(super) fn higher(known: Option<String>, new: &str) -> Option<String> {
    let old = known.as_deref().and_then(|known| known.parse::<Version>().ok());
    match (old, new.parse::<Version>()) {
        (Some(old), Ok(new)) if new <= old => known,
        (_, Ok(new)) => Some(new.to_string()),
        (_, Err(_)) => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_only_rises() {
        assert_eq!(higher(None, "1.2.0").as_deref(), Some("1.2.0"));
        assert_eq!(higher(Some("1.10.0".into()), "1.9.0").as_deref(), Some("1.10.0"));
        assert_eq!(higher(Some("1.9.0".into()), "1.10.0").as_deref(), Some("1.10.0"));
        assert_eq!(higher(Some("1.9.0".into()), "").as_deref(), Some("1.9.0"));
    }

    #[test]
    fn what_was_staged_and_came_to_nothing_is_in_nobodys_way() {
        let uki = |number| Uki { digest: Digest([number; 32]), size: 10 };
        let (trial, number) = State::first(uki(1), Some(uki(9))).stage(1, uki(2)).unwrap();
        let staged = |generation| Staged { generation, ..Staged::default() };
        let blessed = trial.bless(number, 0).unwrap();
        let failed = trial.fail(number, ::boot::state::Failure::Gate).unwrap();
        for (state, generation, running, expected) in [
            (&trial, 2, 1, Whose::UnderWay),
            (&blessed, 2, 2, Whose::Runs),
            (&blessed, 2, 1, Whose::Other),
            (&failed, 2, 1, Whose::Nobody),
            (&failed, 3, 1, Whose::UnderWay),
            (&failed.empty(1), 2, 1, Whose::Nobody),
        ] {
            assert_eq!(whose(&staged(generation), running, state), expected, "{generation} with {state:?}");
        }
        let record =
            Record { staged: Some(Staged { recovery: ("07".repeat(32), 5), ..staged(2) }), ..Record::default() };
        assert_eq!(keep_all(&blessed, &record).len(), 4, "what waits to take its place stays");
    }

    #[test]
    fn a_boot_that_finds_nothing_new_is_told_by_what_starts_and_not_by_its_version() {
        let uki = |number| Uki { digest: Digest([number; 32]), size: 10 };
        let state = State::first(uki(1), Some(uki(9)));
        let (unknown, named) = (
            Record::default(),
            Record { versions: [(uki(1).digest.to_string(), "1.0.0".to_owned())].into(), ..Record::default() },
        );
        assert_eq!(key(&entries(&state, &unknown)), key(&entries(&state, &named)));
        assert_eq!(key(&entries(&state, &named)), "1:0101010101010101 recovery:0909090909090909");
    }

    #[test]
    fn only_what_is_proven_has_an_entry() {
        let uki = |number| Uki { digest: Digest([number; 32]), size: 10 };
        let (state, trial) = State::first(uki(1), Some(uki(9))).stage(1, uki(2)).unwrap();
        let numbers =
            |state: &State| entries(state, &Record::default()).iter().map(|entry| entry.generation).collect::<Vec<_>>();
        assert_eq!(numbers(&state), [Some(1), None]);
        assert_eq!(numbers(&state.bless(trial, 0).unwrap()), [Some(1), Some(2), None]);
        assert_eq!(keep(&state).len(), 3, "the file of the trial stays, too");
    }
}
