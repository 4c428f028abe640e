//! What is still to be loaded, by class, and what became of the rest. Pure: the controller loads.
//!
//! ```text
//! modalias seen --> wanted (by class) --next()--> loading --> loaded
//!                      ^                             |
//!                      +--- seen again --- failed <--+
//! ```
//! Invariant: a module is offered once, and again only when a device that wants it is seen again after a failure.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::Catalog;
use super::class::Class;
use crate::resources::coldplug::Stage;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    seen: BTreeSet<String>,
    /// Class, how many modules it takes, and the module; with the reason. A disk behind one driver is there before one behind
    /// five, and the machine's own is often the first.
    wanted: BTreeMap<(Class, usize, String), String>,
    failed: BTreeMap<String, String>,
    needed: BTreeSet<String>,
}

/// A module to load.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) class: Class,
    steps: usize,
    pub(super) name: String,
    /// The device that asks for it, or why else.
    pub(super) reason: String,
}

impl Queue {
    /// A device was seen; `again`: an event of its own, so what failed before is tried again.
    pub(super) fn device(&mut self, modalias: &str, again: bool, catalog: &Catalog) {
        let new = self.seen.insert(modalias.to_owned());
        if !new && !again {
            return;
        }
        for name in catalog.drivers(modalias) {
            if new || self.failed.remove(name).is_some() {
                self.want(name, modalias, catalog);
            }
        }
    }

    /// A module that no device asks for.
    pub(super) fn want(&mut self, name: &str, reason: &str, catalog: &Catalog) {
        self.want_as(catalog.class(name), name, reason, catalog);
    }

    /// A module that no device asks for, with the others of this class.
    pub(super) fn want_as(&mut self, class: Class, name: &str, reason: &str, catalog: &Catalog) {
        let steps = catalog.order(name, &BTreeSet::new()).len();
        self.wanted.entry((class, steps, name.into())).or_insert_with(|| reason.into());
    }

    /// A module that no device asks for; asked for once.
    pub(super) fn need(&mut self, name: &str, reason: &str, catalog: &Catalog) {
        if self.needed.insert(name.into()) {
            self.want(name, reason, catalog);
        }
    }

    /// The next module to load, of a class up to `open`.
    pub(super) fn next(&mut self, open: Class) -> Option<Wanted> {
        let entry = self.wanted.first_entry().filter(|entry| entry.key().0 <= open)?;
        let ((class, steps, name), reason) = entry.remove_entry();
        Some(Wanted { class, steps, name, reason })
    }

    /// It was not loaded after all.
    pub(super) fn put_back(&mut self, wanted: Wanted) {
        let Wanted { class, steps, name, reason } = wanted;
        self.wanted.insert((class, steps, name), reason);
    }

    /// What kept it from being loaded is gone.
    pub(super) fn retry(&mut self, wanted: Wanted) {
        self.failed.remove(&wanted.name);
        self.put_back(wanted);
    }

    /// It could not be loaded; true when that is news.
    pub(super) fn fail(&mut self, name: &str, why: String) -> bool {
        self.failed.insert(name.into(), why.clone()) != Some(why)
    }

    /// Which stage is done when everything up to `open` has been taken.
    pub(super) fn stage(&self, open: Class) -> Stage {
        match self.wanted.first_key_value().map(|((class, ..), _)| *class).unwrap_or(Class::Rest) {
            Class::Bus | Class::Watchdog | Class::Network => Stage::Started,
            Class::Storage => Stage::Network,
            _ if open < Class::Optical => Stage::Storage,
            Class::Optical => Stage::Storage,
            _ if open < Class::Removable => Stage::Optical,
            Class::Removable => Stage::Optical,
            Class::Rest if open < Class::Rest || !self.wanted.is_empty() => Stage::Removable,
            Class::Rest => Stage::All,
        }
    }

    /// Whether this was tried and failed.
    pub(super) fn has_failed(&self, name: &str) -> bool {
        self.failed.contains_key(name)
    }

    /// Failures, as `name: reason`.
    pub(super) fn failures(&self) -> Vec<String> {
        self.failed.iter().map(|(name, why)| format!("{name}: {why}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn catalog() -> Catalog {
        let dep = "kernel/drivers/net/nic.ko:\nkernel/drivers/block/disk.ko:\nkernel/misc/rest.ko:\nkernel/drivers/usb/host/usb.ko:\nkernel/drivers/scsi/sr_mod.ko:\n";
        let alias = "alias a:* nic\nalias b:* disk\nalias c:* rest\nalias d:* usb\nalias e:* sr_mod\nalias b:* rest\n";
        Catalog::parse(Path::new("/"), dep, alias.into(), "", "")
    }

    fn take(queue: &mut Queue, open: Class) -> Vec<String> {
        std::iter::from_fn(|| queue.next(open)).map(|wanted| wanted.name).collect()
    }

    #[test]
    fn network_then_disks_then_the_rest_when_it_is_open() {
        let (catalog, mut queue) = (catalog(), Queue::default());
        for device in ["c:1", "d:1", "e:1", "b:1", "a:1", "a:2"] {
            queue.device(device, false, &catalog);
        }
        assert_eq!(queue.stage(Class::Storage), Stage::Started);
        assert_eq!(take(&mut queue, Class::Storage), ["nic", "disk"]);
        assert_eq!(queue.stage(Class::Storage), Stage::Storage);
        assert_eq!(queue.stage(Class::Rest), Stage::Storage);
        assert_eq!(take(&mut queue, Class::Optical), ["sr_mod"]);
        assert_eq!(queue.stage(Class::Storage), Stage::Storage);
        assert_eq!(queue.stage(Class::Rest), Stage::Optical);
        assert_eq!(take(&mut queue, Class::Removable), ["usb"]);
        assert_eq!(queue.stage(Class::Removable), Stage::Removable);
        assert_eq!(take(&mut queue, Class::Rest), ["rest"]);
        assert_eq!(queue.stage(Class::Rest), Stage::All);
    }

    #[test]
    fn a_failure_is_tried_again_when_its_device_comes_again_and_told_once() {
        let (catalog, mut queue) = (catalog(), Queue::default());
        queue.device("a:1", false, &catalog);
        assert_eq!(take(&mut queue, Class::Rest), ["nic"]);
        assert!(queue.fail("nic", "no".into()));
        assert!(!queue.fail("nic", "no".into()));
        queue.device("a:1", false, &catalog);
        assert!(take(&mut queue, Class::Rest).is_empty());
        queue.device("a:1", true, &catalog);
        assert_eq!(take(&mut queue, Class::Rest), ["nic"]);
        assert!(queue.failures().is_empty());
        queue.device("a:1", true, &catalog);
        assert!(take(&mut queue, Class::Rest).is_empty());
    }
}
