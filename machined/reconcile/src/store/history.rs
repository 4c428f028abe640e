//! The last changes of one type, so that a watcher that lost its connection can go on where it was.
//!
//! Invariant: every change after `forgotten` is in it, in the order of revisions. Bounded: the oldest go first.

use std::collections::VecDeque;
use std::sync::Arc;

use super::entry::Entry;

/// Changes kept for each type. A reconnect takes a second or two; 256 changes outlast that for every type there is, and
/// cost at most some 100 KiB for the types that change often (old values are kept alive).
pub(crate) const KEPT: usize = 256;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Put,
    Deleted,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) revision: u64,
    pub(crate) kind: Kind,
    pub(crate) entry: Arc<Entry>,
}

#[derive(Debug)]
pub(crate) struct History {
    changes: VecDeque<Change>,
    forgotten: u64,
    kept: usize,
}

impl History {
    pub(crate) fn new(kept: usize) -> Self {
        Self { changes: VecDeque::new(), forgotten: 0, kept }
    }

    pub(crate) fn push(&mut self, change: Change) {
        self.changes.push_back(change);
        while self.changes.len() > self.kept {
            if let Some(oldest) = self.changes.pop_front() {
                self.forgotten = oldest.revision;
            }
        }
    }

    /// The first change after `revision`; `Err` when changes after it were forgotten.
    pub(crate) fn after(&self, revision: u64) -> Result<Option<&Change>, Forgotten> {
        if revision < self.forgotten {
            return Err(Forgotten);
        }
        let at = self.changes.partition_point(|change| change.revision <= revision);
        Ok(self.changes.get(at))
    }

    /// The revision of the newest change.
    pub(crate) fn newest(&self) -> u64 {
        self.changes.back().map_or(self.forgotten, |change| change.revision)
    }
}

/// The history no longer reaches back so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forgotten;
