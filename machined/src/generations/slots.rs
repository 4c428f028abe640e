//! What an upgrade does with generations: another one beside what runs, its trial, and what came of it.
//!
//! ```text
//! stage:  ESP looked at: what must stay is whole, there is room -> point of no return -> META: what is to come
//!         -> boot state: the slot is empty -> ESP: its files go, the new ones come
//! trial:  boot state: on trial
//! proven (see `settle`): recovery, entries, loader
//! ```
//! Invariant: what runs and what is current is never touched; until the trial begins a cut leaves what was, with an empty slot.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::boot::state::{Generation, Phase, State, VERSION};
use ::boot::uki::{Digest, Uki};
use config::image::esp::{Done, Request, Source};
use config::image::pull::Pulled;
use config::image::{Digest as Named, Part};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::fit::may_empty;
use super::partition::Partition;
use super::settle::{entries, higher, named};
use super::{Error, Handle, Running, View};
use crate::jobs::upgrade::{Facts, Generations};
use crate::jobs::{Failed, Job};
use crate::meta::{self, Staged};
use crate::program::Program;
use crate::trace::chain;

/// Format of the files on the EFI partition.
const ESP: u32 = 1;
/// Format of STATE.
const STATE: u32 = 1;
/// For what runs to be known after a start.
const KNOWN: Duration = Duration::from_secs(120);
/// For recovery system and loader of what runs to be in their places: moments, and a repair of the partition before.
const SETTLED: Duration = Duration::from_secs(300);

/// The slots of this machine.
pub struct Slots {
    handle: Handle,
    meta: meta::Handle,
    partition: Arc<Partition>,
}

impl Slots {
    /// With these.
    pub fn new(handle: Handle, meta: meta::Handle, partition: Arc<Partition>) -> Self {
        Self { handle, meta, partition }
    }

    async fn view(&self) -> Arc<View> {
        self.handle.known(KNOWN).await
    }

    /// The view of a machine that can be upgraded.
    async fn ready(&self) -> Result<(Arc<View>, State), Failed> {
        let view = self.view().await;
        if let Running::Foreign(why) = &view.running {
            let remedy = "install it: apictl install, or write the disk's image";
            return Err(Failed::refused(format!("this machine has no generations: {why}"), remedy));
        }
        let Some(state) = view.state else {
            return Err(Failed::refused(
                format!("this machine has no generations: {}", view.problem),
                "apictl get waits",
            ));
        };
        if let Some(number) = view.trial() {
            let remedy = "wait until it is proven or goes back: apictl get generations -w";
            return Err(Failed::refused(format!("generation {number} runs on trial"), remedy));
        }
        self.no_other_trial()?;
        Ok((view, state))
    }

    async fn update(&self, change: impl FnOnce(&mut meta::Record)) -> Result<(), Failed> {
        match self.meta.update(change).await {
            Ok(meta::Saved::Disk) => Ok(()),
            Ok(meta::Saved::Memory) => Err(Failed::because("META cannot be written", "apictl get system-disk")),
            Err(error) => Err(Failed::because(chain(&error), "apictl get conditions; the system disk may be failing")),
        }
    }

    async fn facts(&self) -> Result<Facts, Failed> {
        self.ready().await?;
        let formats = [("meta", ::boot::meta::VERSION), ("bootState", VERSION.into()), ("state", STATE), ("esp", ESP)];
        let formats: BTreeMap<String, u32> = formats.map(|(name, version)| (name.to_owned(), version)).into();
        let floor = self.meta.record().floor.and_then(|floor| floor.parse().ok());
        Ok(Facts { floor, formats, ..Facts::default() })
    }

    /// Nobody may confirm a configuration by an upgrade: what is on trial would be proven with the new generation.
    fn no_other_trial(&self) -> Result<(), Failed> {
        let run = self.meta.record().run.filter(|run| run.trial.is_some());
        run.map_or(Ok(()), |run| {
            let remedy = "confirm it (apictl config confirm), or wait until it goes back: apictl get config-status -w";
            Err(Failed::refused(format!("revision {} of the configuration is on trial", run.revision), remedy))
        })
    }

    async fn look(&self, job: &Job, pulled: &Pulled, retry_failed: bool) -> Result<Option<u32>, Failed> {
        let (view, state) = self.ready().await?;
        let wanted = part(pulled, "uki")?.digest.hex().to_owned();
        let known = state.slots.iter().flatten().find(|one| one.uki.digest.to_string() == wanted);
        if let Some(Generation { number, phase: Phase::Blessed, uki, .. }) = known {
            let request = Request { keep: vec![named(uki.digest)], look: true, ..nothing() };
            let mut whole = self.ensure(job, pulled, request).await?.damaged.is_empty();
            if !whole && *number == state.current {
                // In its own place: the slot beside it may hold the only one that can be started.
                self.put_back(job, pulled, &state).await?;
                job.warn(&format!(
                    "the UKI of generation {number} on the EFI partition was damaged: it was written anew"
                ));
                whole = true;
            }
            let runs = view.generation().is_some_and(|running| running.number == *number);
            let refused = |remedy: String| {
                Err(Failed::refused(format!("it is here already, proven, as generation {number}"), remedy))
            };
            match (whole, *number == state.current) {
                (true, true) if runs => return Ok(Some(*number)),
                (true, true) => return refused("it starts next: apictl reboot".into()),
                (true, false) => return refused(format!("go to it: apictl rollback --to {number}")),
                (false, _) => job.warn(&format!(
                    "the UKI of generation {number} on the EFI partition is damaged: the same is staged anew"
                )),
            }
        }
        let record = self.meta.record();
        let failed = record.failed.iter().rev().find(|failed| failed.digest == wanted);
        match failed {
            Some(failed) if !retry_failed => {
                let reason = format!("this image failed here as generation {}: {}", failed.generation, failed.why);
                Err(Failed::refused(reason, "take another version, or give --retry-failed"))
            }
            _ => Ok(None),
        }
    }

    async fn stage(&self, job: &Job, pulled: &Pulled) -> Result<u32, Failed> {
        self.settled().await?;
        let (view, state) = self.ready().await?;
        let running = view.generation().map(|one| one.number);
        let slot = state.free_slot(running).map_err(|error| Failed::refused(error.to_string(), "apictl reboot"))?;
        let staged = staged(pulled, &state, slot)?;
        let emptied = state.empty(slot);
        let request = Request {
            keep: keep(&emptied),
            entries: entries(&emptied, &self.meta.record()),
            add: missing(pulled, &emptied, &["uki", "recovery", "loader"]),
            ..nothing()
        };
        // Before the slot is emptied: what it holds may be all there is to go back to.
        let look = self.ensure(job, pulled, Request { look: true, ..request.clone() }).await?;
        for warning in may_empty(&state, slot, &look)? {
            job.warn(&warning);
        }
        job.commit().await?;
        let blessed = blessed(&state);
        self.update({
            let staged = staged.clone();
            move |record| {
                for (digest, _) in [&staged.uki, &staged.recovery] {
                    record.versions.insert(digest.clone(), staged.version.clone());
                }
                // One that was proven and never settled, as another runs: its floor counts.
                if let Some(before) = record.staged.replace(staged).filter(|one| blessed.contains(&one.generation)) {
                    record.floor = higher(record.floor.take(), &before.floor);
                }
            }
        })
        .await?;
        // From here on nothing refers to what the slot held. Meanwhile somebody may have made it current.
        let number = staged.generation;
        let empty = move |state: &State| match state.free_slot(running)? {
            free if free == slot && state.next == number => Ok(state.empty(slot)),
            _ => Err(Error::Moved(number)),
        };
        self.handle.change(empty).await.map_err(refused)?;
        let done = self.ensure(job, pulled, request).await?;
        job.moved("stage", done.written);
        if let Some(damaged) = done.damaged.first() {
            job.warn(&format!("the UKI {} on the EFI partition is damaged", damaged.hex()));
        }
        Ok(number)
    }

    /// Writes the UKI of a generation again that is on this disk already.
    async fn put_back(&self, job: &Job, pulled: &Pulled, state: &State) -> Result<(), Failed> {
        let record = self.meta.record();
        let add = missing(pulled, &State { slots: [None; 2], recovery: None, ..*state }, &["uki"]);
        let request = Request { keep: keep_all(state, &record), entries: entries(state, &record), add, ..nothing() };
        self.ensure(job, pulled, request).await.map(drop)
    }

    /// By the new version's own program, which knows what it needs of the partition.
    async fn ensure(&self, job: &Job, pulled: &Pulled, request: Request) -> Result<Done, Failed> {
        let own = pulled.files.iter().find(|file| file.name == "installer");
        let own = own.ok_or_else(|| Failed::refused("the image holds no program installer", ""))?;
        let program = Program::Part { path: own.path.as_ref(), digest: own.digest.hex(), name: "installer" };
        let progress = |progress: &config::image::esp::Progress| job.bytes(progress.done, progress.total);
        let done = self.partition.ensure(program, request, progress, |what| job.warn(what)).await;
        done.map_err(|error| Failed::because(chain(&error), "apictl get system-disk; apictl logs machined"))
    }

    /// Waits until nothing is left to be done for the generation that runs: what META says of it is about to be written over.
    async fn settled(&self) -> Result<(), Failed> {
        let mut views = self.handle.watch();
        let through = async {
            loop {
                let running = views.borrow_and_update().generation().map(|one| one.number);
                let staged = self.meta.record().staged.map(|staged| staged.generation);
                if running.is_none() || staged != running || views.changed().await.is_err() {
                    return;
                }
            }
        };
        timeout(SETTLED, through).await.map_err(|_| {
            let reason = "recovery system and loader of the generation that runs are not in their places yet";
            Failed::refused(reason, "apictl events says why; it is tried again every five minutes")
        })
    }

    /// Staged, and nothing more: the trial was not begun.
    async fn waits(&self, generation: u32) -> bool {
        let view = self.view().await;
        let staged = self.meta.record().staged.is_some_and(|staged| staged.generation == generation);
        staged && view.state.as_ref().is_some_and(|state| state.next == generation)
    }

    /// A program that was ended left the partition mounted; what was staged and is not going to be tried is forgotten.
    async fn tidy(&self) {
        self.partition.release().await;
        let Some(state) = self.handle.view().state else { return };
        let never = |staged: &Staged| staged.generation >= state.next;
        if self.meta.record().staged.as_ref().is_some_and(never) {
            if let Err(error) = self.update(|record| drop(record.staged.take_if(|staged| never(staged)))).await {
                tracing::warn!("META goes on to name what was staged: {}", error.reason);
            }
            self.handle.look_again();
        }
    }

    async fn start_trial(&self, generation: u32) -> Result<(), Failed> {
        self.no_other_trial()?;
        let staged = self.meta.record().staged.filter(|staged| staged.generation == generation);
        let staged =
            staged.ok_or_else(|| Failed::because(format!("generation {generation} is not staged"), "ask again"))?;
        let uki =
            uki(&staged.uki).ok_or_else(|| Failed::because("what was staged is not known any more", "ask again"))?;
        let change = move |state: &State| {
            if state.generation(generation).is_some_and(|known| known.uki == uki) {
                return Ok(*state);
            }
            let (new, number) = state.stage(staged.slot, uki)?;
            if number == generation { Ok(new) } else { Err(Error::Moved(generation)) }
        };
        self.handle.change(change).await.map(drop).map_err(refused)
    }

    async fn outcome(&self, generation: u32) -> Result<(), Failed> {
        self.view().await;
        let mut views = self.handle.watch();
        loop {
            let view = views.borrow_and_update().clone();
            let runs = view.generation().is_some_and(|one| one.number == generation);
            let phase = view.state.as_ref().and_then(|state| state.generation(generation)).map(|one| one.phase);
            match phase {
                Some(Phase::Blessed) => return Ok(()),
                Some(Phase::Trial { .. }) if runs => {}
                Some(Phase::Trial { tries }) => {
                    let reason = format!("generation {generation} was not started, with {tries} tries left");
                    return Err(Failed::returned(reason, "apictl get generations; apictl get boot-record"));
                }
                // What failed while it ran ends with a reboot: the next machined tells.
                Some(Phase::Failed(_)) if runs => {}
                Some(Phase::Failed(_)) | None => return Err(self.returned(generation).await),
            }
            if views.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Why it came back, once that was noted.
    async fn returned(&self, generation: u32) -> Failed {
        let noted = || {
            let record = self.meta.record();
            record.failed.into_iter().find(|failed| failed.generation == generation)
        };
        for _ in 0..NOTED {
            if let Some(failed) = noted() {
                let remedy = "apictl get generations; apictl logs last-boot";
                return Failed::returned(format!("generation {generation} came back: {}", failed.why), remedy);
            }
            tokio::time::sleep(LOOK).await;
        }
        Failed::returned(format!("generation {generation} came back"), "apictl get generations")
    }
}

/// What failed is noted within a second of the start.
const NOTED: u32 = 100;
const LOOK: Duration = Duration::from_millis(100);

fn part<'a>(pulled: &'a Pulled, name: &str) -> Result<&'a Part, Failed> {
    let missing = || Failed::refused(format!("the image holds no part {name}"), "take an installer image of Stele");
    pulled.manifest.part(name).ok_or_else(missing)
}

/// A request that asks for nothing; device and place are filled in by who makes it.
pub(super) fn nothing() -> Request {
    Request {
        device: String::new(),
        mount: String::new(),
        keep: Vec::new(),
        entries: Vec::new(),
        add: Vec::new(),
        look: false,
        loader: None,
    }
}

/// Those of the image's parts that no generation of this state has.
fn missing(pulled: &Pulled, state: &State, names: &[&str]) -> Vec<Source> {
    let keep = keep(state);
    let files = names.iter().filter_map(|name| pulled.files.iter().find(|file| file.name == *name));
    let sources = files.map(|file| Source { path: file.path.clone(), digest: file.digest.clone(), size: file.size });
    sources.filter(|source| !keep.contains(&source.digest)).collect()
}

fn blessed(state: &State) -> Vec<u32> {
    let blessed = state.slots.iter().flatten().filter(|one| one.phase == Phase::Blessed);
    blessed.map(|one| one.number).collect()
}

fn staged(pulled: &Pulled, state: &State, slot: usize) -> Result<Staged, Failed> {
    let of = |name: &str| {
        let found = pulled.manifest.part(name);
        found.map_or((String::new(), 0), |part| (part.digest.hex().to_owned(), part.size))
    };
    part(pulled, "uki")?;
    Ok(Staged {
        generation: state.next,
        slot,
        version: pulled.manifest.version.to_string(),
        floor: pulled.manifest.floor.to_string(),
        uki: of("uki"),
        recovery: of("recovery"),
        loader: of("loader"),
    })
}

/// A UKI as META names it.
pub(super) fn uki((digest, size): &(String, u64)) -> Option<Uki> {
    let digest = Digest::parse(digest)?;
    (*size > 0).then_some(Uki { digest, size: *size })
}

/// The UKIs that must stay, by the boot state.
pub(super) fn keep(state: &State) -> Vec<Named> {
    let slots = state.slots.iter().flatten().map(|generation| generation.uki);
    slots.chain(state.recovery).map(|uki| named(uki.digest)).collect()
}

/// And what waits to take its place.
pub(super) fn keep_all(state: &State, record: &meta::Record) -> Vec<Named> {
    let staged = record.staged.iter().flat_map(|staged| [&staged.uki, &staged.recovery, &staged.loader]);
    keep(state).into_iter().chain(staged.filter_map(uki).map(|uki| named(uki.digest))).collect()
}

fn refused(error: Error) -> Failed {
    match error {
        Error::Refused(_) => Failed::refused(chain(&error), "apictl get generations"),
        _ => Failed::because(chain(&error), "apictl get system-disk; apictl get generations"),
    }
}

impl Generations for Slots {
    fn facts(&self) -> BoxFuture<'_, Result<Facts, Failed>> {
        self.facts().boxed()
    }

    fn look<'a>(
        &'a self,
        job: &'a Job,
        pulled: &'a Pulled,
        retry_failed: bool,
    ) -> BoxFuture<'a, Result<Option<u32>, Failed>> {
        self.look(job, pulled, retry_failed).boxed()
    }

    fn stage<'a>(&'a self, job: &'a Job, pulled: &'a Pulled) -> BoxFuture<'a, Result<u32, Failed>> {
        self.stage(job, pulled).boxed()
    }

    fn waits(&self, generation: u32) -> BoxFuture<'_, bool> {
        self.waits(generation).boxed()
    }

    fn tidy(&self) -> BoxFuture<'_, ()> {
        self.tidy().boxed()
    }

    fn start_trial(&self, generation: u32) -> BoxFuture<'_, Result<(), Failed>> {
        self.start_trial(generation).boxed()
    }

    fn outcome(&self, generation: u32) -> BoxFuture<'_, Result<(), Failed>> {
        self.outcome(generation).boxed()
    }
}
