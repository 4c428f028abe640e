//! The store: every typed object of the machine, in memory, behind one lock.
//!
//! Invariants: the lock is never held across an await or while a value is serialised; every change has a revision of
//! its own, rising over all types; a reader sees whole changes only. Called by the runtime (for controllers), by
//! writers, and by the API server.

mod demand;
mod entry;
mod history;
mod raw;
mod registry;
mod shelf;
#[cfg(test)]
mod tests;
mod told;
mod watch;
mod writer;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

pub use self::demand::Slow;
pub use self::registry::NameClash;
use self::registry::Registry;
pub use self::watch::{Changes, RawChange, RawEvent, RawWatch};
pub use self::writer::{Claim, ClaimError, SharedWriter, WriteError, Writer};
use crate::resource::{Object, Resource};

/// The handle on the store; cheap to clone, all clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    /// Sets bookmarks of this store apart from those of the process before.
    epoch: u64,
    registry: Mutex<Registry>,
    readers: demand::Readers,
    told: told::Told,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({:016x})", self.shared.epoch)
    }
}

impl Store {
    /// An empty store with an epoch of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::remembering(history::KEPT)
    }

    /// A store that remembers so many changes of each type.
    fn remembering(changes: usize) -> Self {
        let shared = Shared {
            epoch: fastrand::u64(..),
            registry: Mutex::new(Registry::new(changes)),
            readers: demand::Readers::default(),
            told: told::Told::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Makes the type known, so that the API lists it before it has objects. Ports and writers do this by themselves.
    pub fn register<R: Resource>(&self) {
        self.with(|registry| {
            registry.of::<R>();
        });
    }

    /// The object of this id.
    #[must_use]
    pub fn get<R: Resource>(&self, id: &str) -> Option<Object<R>> {
        let entry = self.with(|registry| registry.of::<R>().0.objects.get(id).cloned())?;
        entry.typed()
    }

    /// All objects of the type, ordered by id.
    #[must_use]
    pub fn list<R: Resource>(&self) -> Vec<Object<R>> {
        let entries: Vec<_> = self.with(|registry| registry.of::<R>().0.objects.values().cloned().collect());
        entries.iter().filter_map(|entry| entry.typed()).collect()
    }

    /// Tells of changes after now. Watch first, then list: so nothing is missed.
    #[must_use]
    pub fn watch<R: Resource>(&self) -> Changes {
        self.with(|registry| Changes { seen: registry.of::<R>().0.changed.subscribe() })
    }

    /// The only writer of a type, for producers that are no controllers.
    ///
    /// # Errors
    /// When anybody else has claimed the type.
    pub fn writer<R: Resource>(&self, owner: &'static str) -> Result<Writer<R>, ClaimError> {
        self.claim::<R>(owner, Claim::Own)?;
        Ok(Writer::new(self.clone(), owner))
    }

    /// One of several writers of a type; each touches its own objects only.
    ///
    /// # Errors
    /// When somebody else owns the type alone.
    pub fn shared_writer<R: Resource>(&self, owner: &'static str) -> Result<SharedWriter<R>, ClaimError> {
        self.claim::<R>(owner, Claim::Share)?;
        Ok(SharedWriter::new(self.clone(), owner))
    }

    /// Every claim: type, owner, and how.
    pub(crate) fn claimants(&self) -> Vec<(&'static str, &'static str, Claim)> {
        self.with(|registry| {
            let claims = registry.claims().iter();
            claims.flat_map(|(name, (claim, owners))| owners.iter().map(|owner| (*name, *owner, *claim))).collect()
        })
    }

    pub(crate) fn clashes(&self) -> Vec<NameClash> {
        self.with(|registry| registry.clashes().to_vec())
    }

    /// The one place that takes the lock. `act` neither waits nor calls back into the store.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Registry) -> T) -> T {
        // A panic under the lock could only come from a resource's PartialEq or Drop; each step of the registry is
        // whole before such code runs, so the data are good.
        let mut registry = self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut registry)
    }

    pub(crate) fn put<R: Resource>(&self, owner: &'static str, id: &str, value: R) -> Result<(), WriteError> {
        let value = Arc::new(value);
        self.with(|registry| {
            let (shelf, revision) = registry.of::<R>();
            shelf.put(revision, owner, id, value)
        })
    }

    pub(crate) fn remove<R: Resource>(&self, owner: &'static str, id: &str) -> Result<(), WriteError> {
        self.with(|registry| {
            let (shelf, revision) = registry.of::<R>();
            shelf.remove(revision, owner, id)
        })
    }

    pub(crate) fn replace_all<R: Resource, I: Into<String>>(
        &self,
        owner: &'static str,
        objects: impl IntoIterator<Item = (I, R)>,
    ) -> Result<(), WriteError> {
        // Collected first: the caller's iterator may read the store.
        let objects: Vec<(String, Arc<R>)> =
            objects.into_iter().map(|(id, value)| (id.into(), Arc::new(value))).collect();
        self.with(|registry| {
            let (shelf, revision) = registry.of::<R>();
            shelf.replace_all(revision, owner, objects)
        })
    }

    pub(crate) fn claim<R: Resource>(&self, by: &'static str, wanted: Claim) -> Result<(), ClaimError> {
        self.with(|registry| registry.claim::<R>(by, wanted))
    }

    pub(crate) fn sweep<R: Resource>(&self, owner: &'static str, keep: &BTreeSet<String>) {
        self.with(|registry| {
            let (shelf, revision) = registry.of::<R>();
            shelf.sweep(revision, owner, keep);
        });
    }

    pub(crate) fn hold<R: Resource>(&self, holder: &'static str, id: &str) -> bool {
        self.with(|registry| registry.of::<R>().0.hold(holder, id))
    }

    pub(crate) fn release<R: Resource>(&self, holder: &'static str, id: &str) {
        self.with(|registry| {
            let (shelf, revision) = registry.of::<R>();
            shelf.release(revision, holder, id);
        });
    }

    pub(crate) fn held<R: Resource>(&self, holder: &str, id: &str) -> bool {
        self.with(|registry| registry.of::<R>().0.held_by(holder, id))
    }
}
