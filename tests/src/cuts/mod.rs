//! Power cuts: what a machine writes to a disk is recorded, and the disks that a cut may have left are made of the record.
//!
//! ```text
//! Recorder (while the machine runs) -> Log (what was written, what was flushed) -> Cut (a state a disk may be left in)
//!   -> Scratch (a disk in that state, and back)
//! ```
//! Invariant: a state is legal, and repeats: what a flush ended is there, of what came later any sectors may be, and which ones is
//! a function of a number.

mod disk;
mod fat;
mod log;
mod states;

use std::{
    cell::RefCell,
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

pub use disk::Scratch;
pub use fat::{File, Volume};
pub use log::{Entry, Log, Write, Writer};
pub use states::{Cut, cuts};

/// A part of a log.
#[derive(Clone, Debug)]
pub struct Part {
    /// What was done.
    pub operation: String,
    /// Its entries.
    pub entries: Range<usize>,
}

/// Notes which part of a disk's log belongs to which operation, while the machine runs.
pub struct Recorder {
    log: PathBuf,
    done: RefCell<Vec<(String, Range<u64>)>>,
}

impl Recorder {
    /// Of a disk whose [`log`](crate::vm::Disk::log) is this file.
    pub fn new(log: &Path) -> Self {
        Self { log: log.to_owned(), done: RefCell::default() }
    }

    /// Everything that is written while this runs belongs to the operation.
    pub fn during<T>(&self, operation: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
        let start = self.len()?;
        let done = run()?;
        self.done.borrow_mut().push((operation.to_owned(), start..self.len()?));
        Ok(done)
    }

    /// The log, and what belongs to operations, in their order.
    pub fn read(&self) -> Result<(Log, Vec<Part>)> {
        let log = Log::read(&self.log)?;
        let part =
            |(operation, bytes): &(String, _)| Part { operation: operation.clone(), entries: log.entries_in(bytes) };
        let parts = self.done.borrow().iter().map(part).collect();
        Ok((log, parts))
    }

    fn len(&self) -> Result<u64> {
        Ok(fs::metadata(&self.log).with_context(|| self.log.display().to_string())?.len())
    }
}
