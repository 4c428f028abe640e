//! All objects of one type, and the rules of their life: put, remove, hold, release.
//!
//! Invariants: each change gets a revision of its own and goes into the history; a put of an equal value changes
//! nothing; only an object's owner puts or removes it; an object that is held never vanishes.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::watch;

use super::entry::{Entry, Value};
use super::history::{Change, History, Kind};
use super::writer::WriteError;
use crate::resource::{ObjectPhase, Resource, TypeInfo};

pub(crate) struct Shelf {
    pub(crate) info: TypeInfo,
    pub(crate) objects: BTreeMap<String, Arc<Entry>>,
    pub(crate) history: History,
    /// Carries the newest revision of this type; receivers only learn that there was a change.
    pub(crate) changed: watch::Sender<u64>,
}

impl Shelf {
    pub(crate) fn new<R: Resource>(remembered: usize) -> Self {
        Self {
            info: TypeInfo::of::<R>(),
            objects: BTreeMap::new(),
            history: History::new(remembered),
            changed: watch::Sender::new(0),
        }
    }

    pub(crate) fn put(
        &mut self,
        revision: &mut u64,
        owner: &'static str,
        id: &str,
        value: Arc<dyn Value>,
    ) -> Result<(), WriteError> {
        let Some(old) = self.objects.get(id) else {
            let entry = Entry {
                id: id.to_owned(),
                version: 0,
                owner,
                phase: ObjectPhase::Running,
                value,
                holds: BTreeSet::new(),
                successor: None,
            };
            self.replace(revision, entry);
            return Ok(());
        };
        self.check_owner(old, owner)?;
        match old.phase {
            ObjectPhase::Running if old.value.same(&*value as &dyn Any) => {}
            ObjectPhase::Running => {
                let entry = Entry { value, ..Entry::clone(old) };
                self.replace(revision, entry);
            }
            ObjectPhase::TearingDown => {
                // Nothing visible changes until the old one is gone: no revision, no event.
                let entry = Entry { successor: Some(value), ..Entry::clone(old) };
                self.objects.insert(id.to_owned(), Arc::new(entry));
            }
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, revision: &mut u64, owner: &'static str, id: &str) -> Result<(), WriteError> {
        let Some(old) = self.objects.get(id) else { return Ok(()) };
        self.check_owner(old, owner)?;
        if old.holds.is_empty() {
            self.delete(revision, id);
        } else if old.phase == ObjectPhase::Running {
            let entry = Entry { phase: ObjectPhase::TearingDown, ..Entry::clone(old) };
            self.replace(revision, entry);
        } else if old.successor.is_some() {
            let entry = Entry { successor: None, ..Entry::clone(old) };
            self.objects.insert(id.to_owned(), Arc::new(entry));
        }
        Ok(())
    }

    /// Makes these all that `owner` has here; refuses before it changes anything.
    pub(crate) fn replace_all<R: Resource>(
        &mut self,
        revision: &mut u64,
        owner: &'static str,
        objects: Vec<(String, Arc<R>)>,
    ) -> Result<(), WriteError> {
        for entry in objects.iter().filter_map(|(id, _)| self.objects.get(id)) {
            self.check_owner(entry, owner)?;
        }
        let keep: BTreeSet<String> = objects.iter().map(|(id, _)| id.clone()).collect();
        self.sweep(revision, owner, &keep);
        objects.into_iter().try_for_each(|(id, value)| self.put(revision, owner, &id, value))
    }

    /// Removes what `owner` has here and `keep` does not name.
    pub(crate) fn sweep(&mut self, revision: &mut u64, owner: &'static str, keep: &BTreeSet<String>) {
        let stale: Vec<String> = self
            .objects
            .values()
            .filter(|entry| entry.owner == owner && !keep.contains(&entry.id))
            .map(|entry| entry.id.clone())
            .collect();
        for id in stale {
            // Cannot be refused: the filter above chose this owner's alone.
            let _ = self.remove(revision, owner, &id);
        }
    }

    /// Keeps the object from vanishing until `holder` releases it. False when it is not there, or already going.
    pub(crate) fn hold(&mut self, holder: &'static str, id: &str) -> bool {
        let Some(old) = self.objects.get(id) else { return false };
        if old.holds.contains(holder) {
            return true;
        }
        if old.phase == ObjectPhase::TearingDown {
            return false;
        }
        let mut entry = Entry::clone(old);
        entry.holds.insert(holder);
        self.objects.insert(id.to_owned(), Arc::new(entry));
        true
    }

    pub(crate) fn release(&mut self, revision: &mut u64, holder: &'static str, id: &str) {
        let Some(old) = self.objects.get(id) else { return };
        let mut entry = Entry::clone(old);
        entry.holds.remove(holder);
        let gone = entry.phase == ObjectPhase::TearingDown && entry.holds.is_empty();
        let successor = entry.successor.clone().map(|value| (entry.owner, value));
        self.objects.insert(id.to_owned(), Arc::new(entry));
        if gone {
            self.delete(revision, id);
            if let Some((owner, value)) = successor {
                // Cannot be refused: nothing of this id is there any more.
                let _ = self.put(revision, owner, id, value);
            }
        }
    }

    pub(crate) fn held_by(&self, holder: &str, id: &str) -> bool {
        self.objects.get(id).is_some_and(|entry| entry.holds.contains(holder))
    }

    fn check_owner(&self, entry: &Entry, owner: &'static str) -> Result<(), WriteError> {
        if entry.owner == owner {
            return Ok(());
        }
        Err(WriteError { type_name: self.info.name, id: entry.id.clone(), owner: entry.owner, by: owner })
    }

    fn replace(&mut self, revision: &mut u64, mut entry: Entry) {
        *revision += 1;
        entry.version = *revision;
        let entry = Arc::new(entry);
        self.objects.insert(entry.id.clone(), Arc::clone(&entry));
        self.record(*revision, Kind::Put, entry);
    }

    fn delete(&mut self, revision: &mut u64, id: &str) {
        if let Some(entry) = self.objects.remove(id) {
            *revision += 1;
            self.record(*revision, Kind::Deleted, entry);
        }
    }

    fn record(&mut self, revision: u64, kind: Kind, entry: Arc<Entry>) {
        self.history.push(Change { revision, kind, entry });
        self.changed.send_replace(revision);
    }
}
