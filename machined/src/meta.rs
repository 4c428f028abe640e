//! META of the system disk: machined's record there, and the ring with the tail of the boot log.
//!
//! Invariant: one writer (this handle); a write goes to the older copy and is read back, so a power cut leaves the last
//! complete record. Without a META the record lives in memory and everybody can ask why. The disk controller attaches
//! META or says that there is none; `boot` (machine id), `server` (identity) and `shutdown` (last stop) use the record.

use crate::trace::chain;

mod record;
mod ring;
mod tail;
#[cfg(test)]
mod tests;
mod volume;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};

pub use record::{Identity, Mark, Record, Stop};
pub use ring::{Last, Ring};
pub use tail::Tail;
pub use volume::{Error, Volume};

/// Whether there is a META.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The system disk was not found yet, and may still come.
    #[default]
    Waiting,
    /// There is none that can be used, for this reason. May change when a disk comes or goes.
    Absent(String),
    /// It is used.
    Attached {
        /// The partition's device.
        device: PathBuf,
        /// Neither copy of the record could be read though something was there: what it said is lost.
        damaged: bool,
    },
}

/// Where an update went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It survives a power cut.
    Disk,
    /// There is no META (yet): kept until the machine stops, and written should META come.
    Memory,
}

/// META of this machine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: watch::Sender<State>,
    boot_id: String,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    record: Record,
    volume: Option<Volume>,
}

impl Handle {
    /// A machine whose META was not looked for yet. `boot_id` is the kernel's, as in /proc/sys/kernel/random/boot_id.
    pub fn new(boot_id: &str) -> Self {
        let mut inner = Inner::default();
        inner.record.begin(boot_id);
        let shared = Shared { state: watch::Sender::default(), boot_id: boot_id.into(), inner: Mutex::new(inner) };
        Self(Arc::new(shared))
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
    pub async fn record(&self) -> Record {
        self.0.inner.lock().await.record.clone()
    }

    /// Changes the record and writes it before it returns.
    ///
    /// # Errors
    /// The write failed: the change holds in memory and the next update tries to write it again.
    pub async fn update(&self, change: impl FnOnce(&mut Record)) -> Result<Saved, Error> {
        let mut inner = self.0.inner.lock().await;
        change(&mut inner.record);
        inner.save().await
    }

    /// Notes how this boot ends, for the next one. Called by `shutdown`.
    ///
    /// # Errors
    /// As [`Handle::update`].
    pub async fn stopping(&self, stop: Stop) -> Result<Saved, Error> {
        self.update(|record| record.stopping(stop)).await
    }

    /// Starts to use the META on this partition. What the disk says wins over memory; what only memory knows is written.
    /// Called by the disk controller.
    ///
    /// # Errors
    /// It is no META, of a newer release, or cannot be read: the state says so then.
    pub async fn attach(&self, device: &Path) -> Result<(), Error> {
        let mut inner = self.0.inner.lock().await;
        let path = device.to_owned();
        let read = volume::blocking(move || {
            let volume = Volume::open(&path)?;
            let loaded = volume.load()?;
            Ok((volume, loaded))
        });
        let (volume, loaded) = match read.await {
            Ok(found) => found,
            Err(e) => {
                self.0.state.send_replace(State::Absent(chain(&e)));
                return Err(e);
            }
        };
        let before = loaded.record.clone();
        let record = loaded.record.unwrap_or_default().filled_from(&inner.record, &self.0.boot_id);
        let changed = before.as_ref() != Some(&record);
        *inner = Inner { record, volume: Some(volume) };
        let saved = if changed { inner.save().await.map(drop) } else { Ok(()) };
        self.0.state.send_replace(State::Attached { device: device.into(), damaged: loaded.damaged });
        saved
    }

    /// Stops to use a META, or says that there is none. The record stays in memory. Called by the disk controller.
    pub async fn detach(&self, reason: impl Into<String>) {
        let state = State::Absent(reason.into());
        self.0.inner.lock().await.volume = None;
        self.0.state.send_if_modified(|now| {
            let changed = *now != state;
            *now = state;
            changed
        });
    }

    /// The disk GUID that the image on this disk was built with; none without a META.
    pub async fn image(&self) -> Option<boot::Guid> {
        self.volume().await.map(|volume| volume.header.image)
    }

    /// The volume, for the writer of the boot log's ring.
    pub(crate) async fn volume(&self) -> Option<Volume> {
        self.0.inner.lock().await.volume.clone()
    }

    /// The kernel's id of this boot.
    pub fn boot_id(&self) -> &str {
        &self.0.boot_id
    }
}

impl Inner {
    async fn save(&mut self) -> Result<Saved, Error> {
        let Some(volume) = self.volume.clone() else { return Ok(Saved::Memory) };
        let record = self.record.clone();
        volume::blocking(move || volume.save(&record)).await?;
        Ok(Saved::Disk)
    }
}
