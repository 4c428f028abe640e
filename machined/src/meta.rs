//! META of the system disk: machined's record there, and the ring with the tail of the boot log.
//!
//! Invariant: one writer (this handle); a write goes to the older copy and is read back, so a power cut leaves the last
//! complete record. The record lives in memory, so reading it never waits for a disk; writes wait for one another. Nobody
//! waits for META longer than [`volume::LIMIT`], and a disk that hangs holds one thread, however often it is tried. Without
//! a META everybody can ask why. The disk controller attaches META or says that there is none; `boot` (machine id), `server` (identity, resets) and `shutdown` (last stop) use the record.

use crate::trace::chain;

mod record;
mod reset;
mod ring;
mod tail;
#[cfg(test)]
pub(crate) mod tests;
mod volume;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, watch};

pub use record::{Failed, Identity, Mark, Record, Staged, Stop};
pub use reset::{Done, Reset, Scope};
pub use ring::{Last, Ring};
pub use tail::Tail;
pub use volume::{BootState, Error, Volume};

/// Whether there is a META.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The system disk was not found yet, and may still come.
    #[default]
    Waiting,
    /// There is none, for this reason. May change when a disk comes or goes.
    Absent(String),
    /// There is one, and what it says cannot be known, for this reason: it may say that the machine is configured. It is left
    /// as it is.
    Unusable(String),
    /// It was read, and what it says counts; nothing is written to it until the choice of the disk is final.
    Read {
        /// The partition's device.
        device: PathBuf,
    },
    /// It is used.
    Attached {
        /// The partition's device.
        device: PathBuf,
        /// Why the last write of the record failed: what memory knows is not on the disk.
        unsaved: Option<String>,
    },
}

/// Where an update went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It survives a power cut.
    Disk,
    /// There is no META to write to (yet): kept until the machine stops, and written should META come.
    Memory,
}

/// META of this machine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    boot_id: String,
    /// Never held across a write or a change of `state`.
    known: std::sync::Mutex<Known>,
    /// Held by whoever reads or writes the record on the disk, until the disk has answered.
    turn: Arc<Mutex<()>>,
}

#[derive(Debug, Default)]
struct Known {
    record: Record,
    /// Where the record is written; none while META is only read.
    volume: Option<Volume>,
    /// The boot state as it was last read or written.
    boot: BootState,
    /// There is more than one, and it is not known which is ours.
    ambiguous: bool,
}

impl Handle {
    /// A machine whose META was not looked for yet. `boot_id` is the kernel's, as in /proc/sys/kernel/random/boot_id.
    pub fn new(boot_id: &str) -> Self {
        let mut known = Known::default();
        known.record.begin(boot_id);
        let (state, turn) = (watch::Sender::default(), Arc::default());
        Self(Arc::new(Shared { state, boot_id: boot_id.into(), known: known.into(), turn }))
    }

    /// The state now and every later one.
    pub fn watch(&self) -> watch::Receiver<State> {
        self.0.state.subscribe()
    }

    /// The state now.
    pub fn state(&self) -> State {
        self.0.state.borrow().clone()
    }

    /// Waits until it is known whether there is a META, at most `within`; the state then. Cancel-safe.
    pub async fn settled(&self, within: Duration) -> State {
        let mut state = self.watch();
        let known = state.wait_for(|state| *state != State::Waiting);
        match tokio::time::timeout(within, known).await {
            Ok(Ok(state)) => state.clone(),
            _ => self.state(),
        }
    }

    /// The record as it is now.
    pub fn record(&self) -> Record {
        self.0.with(|known| known.record.clone())
    }

    /// Changes the record at once, and writes it before it returns. Dropped meanwhile, a write that has begun goes on.
    ///
    /// # Errors
    /// The write failed: the change holds in memory, the state says so, and the next update tries to write it again.
    pub async fn update(&self, change: impl FnOnce(&mut Record)) -> Result<Saved, Error> {
        self.0.with(|known| change(&mut known.record));
        let shared = self.0.clone();
        let saved = self.io(move || shared.save()).await;
        if let Err(error @ Error::Silent) = &saved {
            self.0.unsaved(Some(chain(error)));
        }
        saved
    }

    /// Changes the record on the disk, in both of its copies, and in memory only once it is there. Dropped or too late, a write
    /// that has begun goes on.
    ///
    /// # Errors
    /// There is no META to write to, or the disk: nothing has changed, unless it was [`Error::Silent`], of which that is not
    /// known.
    pub async fn commit(&self, change: impl Fn(&mut Record) + Send + 'static) -> Result<(), Error> {
        let shared = self.0.clone();
        self.io(move || shared.commit(change)).await
    }

    /// The boot state as it lies on the disk that was read.
    pub fn boot(&self) -> BootState {
        self.0.with(|known| known.boot.clone())
    }

    /// Writes the boot state into both copies, each read back; what `change` makes of the one that is there now. Returns the new
    /// one.
    ///
    /// # Errors
    /// There is no META to write to, a newer release wrote it, or the disk: of two copies one is whole then. What `change` says.
    pub async fn change_boot<E: Send + 'static>(
        &self,
        change: impl FnOnce(Option<&boot::state::State>) -> Result<boot::state::State, E> + Send + 'static,
    ) -> Result<Result<boot::state::State, E>, Error> {
        let shared = self.0.clone();
        self.io(move || shared.change_boot(change)).await
    }

    /// Runs blocking work on META in this caller's turn.
    async fn io<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        volume::blocking(&self.0.turn, work).await
    }

    /// Notes that everything has stopped.
    ///
    /// # Errors
    /// As [`Handle::update`].
    pub async fn stopped(&self) -> Result<Saved, Error> {
        self.update(Record::stopped).await
    }

    /// Notes how this boot is asked to end, for the next one. Called by `shutdown`.
    ///
    /// # Errors
    /// As [`Handle::update`].
    pub async fn stopping(&self, stop: Stop) -> Result<Saved, Error> {
        self.update(|record| record.stopping(stop)).await
    }

    /// Reads the META on this partition and writes nothing: the disk may yet turn out to be the wrong one. What it says wins
    /// over memory. Called by the disk controller.
    ///
    /// # Errors
    /// As [`Handle::attach`].
    pub async fn read(&self, device: &Path) -> Result<(), Error> {
        self.open(device, false).await
    }

    /// Starts to use the META on this partition. What the disk says wins over memory; what only memory knows is written.
    /// Called by the disk controller.
    ///
    /// # Errors
    /// It is no META, of a newer release, or cannot be read: the state says so then. When only the write fails it is
    /// attached all the same.
    pub async fn attach(&self, device: &Path) -> Result<(), Error> {
        self.open(device, true).await
    }

    async fn open(&self, device: &Path, writable: bool) -> Result<(), Error> {
        let (shared, device) = (self.0.clone(), device.to_owned());
        let opened = self.io(move || shared.open(device, writable)).await;
        // Once it answers after all, its thread says so.
        if let Err(error @ Error::Silent) = &opened
            && self.0.turn.try_lock().is_err()
        {
            self.0.state.send_replace(State::Unusable(chain(error)));
        }
        opened
    }

    /// Stops to use a META, or says that there is none. The record stays in memory. Called by the disk controller.
    pub fn detach(&self, reason: impl Into<String>) {
        self.leave(reason.into(), false);
    }

    /// As [`Handle::detach`]: several disks fit, and none of them is used.
    pub fn detach_all(&self, reason: impl Into<String>) {
        self.leave(reason.into(), true);
    }

    /// Whether there is none because there are several.
    pub fn is_ambiguous(&self) -> bool {
        self.0.with(|known| known.ambiguous)
    }

    fn leave(&self, reason: String, ambiguous: bool) {
        let state = State::Absent(reason);
        self.0.with(|known| (known.volume, known.ambiguous) = (None, ambiguous));
        self.0.state.send_if_modified(|now| {
            let changed = *now != state;
            *now = state;
            changed
        });
    }

    /// The disk GUID that the image on this disk was built with; none without a META in use.
    pub fn image(&self) -> Option<boot::Guid> {
        self.volume().map(|volume| volume.header.image)
    }

    /// The volume, for the writer of the boot log's ring.
    pub(crate) fn volume(&self) -> Option<Volume> {
        self.0.with(|known| known.volume.clone())
    }

    /// The kernel's id of this boot.
    pub fn boot_id(&self) -> &str {
        &self.0.boot_id
    }
}

impl Shared {
    fn with<T>(&self, look: impl FnOnce(&mut Known) -> T) -> T {
        // A change that panicked left a record that serde can still write.
        look(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Blocking; in the caller's turn.
    fn open(&self, device: PathBuf, writable: bool) -> Result<(), Error> {
        let read = || {
            let volume = Volume::open(&device)?;
            let loaded = volume.load()?;
            let boot = volume.boot()?;
            Ok((volume, loaded, boot))
        };
        let (volume, loaded, boot) = read().inspect_err(|error: &Error| {
            self.with(|known| known.volume = None);
            self.state.send_replace(State::Unusable(chain(error)));
        })?;
        let changed = self.with(|known| {
            let before = loaded.clone();
            known.record = loaded.unwrap_or_default().filled_from(&known.record, &self.boot_id);
            known.volume = writable.then_some(volume);
            known.boot = boot;
            before.as_ref() != Some(&known.record)
        });
        if !writable {
            self.state.send_replace(State::Read { device });
            return Ok(());
        }
        self.state.send_replace(State::Attached { device, unsaved: None });
        if changed { self.save().map(drop) } else { Ok(()) }
    }

    /// Blocking; in the caller's turn.
    fn change_boot<E>(
        &self,
        change: impl FnOnce(Option<&boot::state::State>) -> Result<boot::state::State, E>,
    ) -> Result<Result<boot::state::State, E>, Error> {
        let volume = self.with(|known| known.volume.clone()).ok_or(Error::Absent)?;
        let before = volume.boot()?;
        let state = match &before {
            BootState::Known(state) => Some(&**state),
            BootState::None => None,
            BootState::Unusable(why) => return Err(Error::Boot { device: volume.device().into(), why: why.clone() }),
        };
        let new = match change(state) {
            Ok(new) => new,
            Err(refused) => return Ok(Err(refused)),
        };
        if state != Some(&new) {
            volume.save_boot(&new)?;
        }
        self.with(|known| known.boot = BootState::Known(Box::new(new)));
        Ok(Ok(new))
    }

    /// Blocking; in the caller's turn.
    fn commit(&self, change: impl Fn(&mut Record)) -> Result<(), Error> {
        let (volume, mut new) = self.with(|known| (known.volume.clone(), known.record.clone()));
        let volume = volume.ok_or(Error::Absent)?;
        change(&mut new);
        let saved = volume.save(&new);
        self.unsaved(saved.as_ref().err().map(|error| chain(error)));
        saved?;
        // Whatever else was changed meanwhile has its own turn after this one.
        self.with(|known| change(&mut known.record));
        // What was forgotten is on the disk no more. One copy is enough to go on with.
        if let Err(error) = volume.save_again(&new) {
            tracing::warn!("the other copy of machined's record is still the one before: {}", chain(&error));
        }
        Ok(())
    }

    /// Blocking; in the caller's turn.
    fn save(&self) -> Result<Saved, Error> {
        let (volume, record) = self.with(|known| (known.volume.clone(), known.record.clone()));
        let Some(volume) = volume else { return Ok(Saved::Memory) };
        let saved = volume.save(&record);
        self.unsaved(saved.as_ref().err().map(|error| chain(error)));
        saved.map(|()| Saved::Disk)
    }

    /// Why what memory knows is not on the disk.
    fn unsaved(&self, why: Option<String>) {
        self.state.send_if_modified(|state| match state {
            State::Attached { unsaved, .. } if *unsaved != why => {
                *unsaved = why;
                true
            }
            _ => false,
        });
    }
}
