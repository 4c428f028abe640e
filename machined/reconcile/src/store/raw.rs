//! The store as the API server sees it: types by name, values as JSON. Call [`Store::told`] and [`Store::refresh`] first: of
//! a type whose controllers have not looked yet these show what there is so far, of one that is read on demand what was
//! read last. A watch waits by itself.

use super::{RawWatch, Store};
use crate::resource::{RawObject, TypeInfo};

impl Store {
    /// All types, ordered by name.
    #[must_use]
    pub fn types(&self) -> Vec<TypeInfo> {
        self.with(|registry| registry.shelves().map(|shelf| shelf.info).collect())
    }

    /// The type that answers to this name: singular, plural or alias.
    #[must_use]
    pub fn resolve(&self, name: &str) -> Option<TypeInfo> {
        self.with(|registry| registry.find(name).map(|shelf| shelf.info))
    }

    /// All objects of a type (by any of its names), ordered by id. None: there is no such type. Each becomes JSON only when
    /// it is taken, so an iterator that waits costs no more than the store does.
    #[must_use]
    pub fn list_raw(&self, name: &str) -> Option<impl ExactSizeIterator<Item = RawObject> + Send + use<>> {
        let (info, entries) = self.with(|registry| {
            let shelf = registry.find(name)?;
            Some((shelf.info, shelf.objects.values().cloned().collect::<Vec<_>>()))
        })?;
        Some(entries.into_iter().map(move |entry| entry.raw(info.name)))
    }

    /// The ids of a type (by any of its names), as they were when it was last read.
    #[must_use]
    pub fn ids(&self, name: &str) -> Vec<String> {
        self.with(|registry| Some(registry.find(name)?.objects.keys().cloned().collect())).unwrap_or_default()
    }

    /// One object of a type (by any of its names).
    #[must_use]
    pub fn get_raw(&self, name: &str, id: &str) -> Option<RawObject> {
        let (info, entry) = self.with(|registry| {
            let shelf = registry.find(name)?;
            Some((shelf.info, shelf.objects.get(id).cloned()?))
        })?;
        Some(entry.raw(info.name))
    }

    /// Follows a type (by any of its names) from `bookmark` on, or from the start when there is none or it is no longer
    /// known. None: there is no such type.
    ///
    /// The protocol: after a start without a known bookmark, `Reset`, a `Put` for each object, `Synced`, then changes.
    /// With a known one, the missed changes, `Synced`, then changes. A `Reset` may come at any time to a slow watcher.
    #[must_use]
    pub fn watch_raw(&self, name: &str, bookmark: Option<&str>) -> Option<RawWatch> {
        let on_demand = self.is_on_demand(name);
        self.with(|registry| {
            let resume = bookmark.and_then(|text| self.parse_bookmark(text)).filter(|at| *at <= registry.revision);
            Some(RawWatch::new(self.clone(), registry.find(name)?, resume, on_demand))
        })
    }

    pub(super) fn bookmark(&self, revision: u64) -> String {
        format!("{:016x}-{revision}", self.shared.epoch)
    }

    fn parse_bookmark(&self, text: &str) -> Option<u64> {
        let (epoch, revision) = text.split_once('-')?;
        let known = epoch.len() == 16 && u64::from_str_radix(epoch, 16).ok()? == self.shared.epoch;
        known.then(|| revision.parse().ok())?
    }
}
