//! The ring on STATE: a file that was allocated once, record N in the slot N modulo their number. Blocking.
//!
//! Invariant: a batch is durable before the next begins, so a power cut tears only the last; it is found by the gap in the
//! chain and written over. Writing needs no space.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use api::audit::{Hash, Head, Record, SIZE};
use rustix::fs::FallocateFlags;

use super::{Place, Shown};

/// Records that are kept: 16 MiB.
const SLOTS: u64 = 32 * 1024;

/// Records of one write.
pub(super) const BATCH: usize = 64;

/// What is read at once while the ring is searched for its head.
const CHUNK: usize = 128 * SIZE;

/// Why the log cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is none yet.
    #[error("there is no audit log: it is kept on STATE, which is not there")]
    NoState,
    /// It is there, and of no use now.
    #[error("the audit log cannot be opened: {0}")]
    Failed(String),
    /// Nobody knows yet.
    #[error("the audit log is not open yet: STATE is looked for, or its disk is slow")]
    Opening,
}

/// The open ring.
#[derive(Debug)]
pub struct Ring {
    path: PathBuf,
    file: File,
    slots: u64,
    head: Head,
    oldest: u64,
}

impl Ring {
    /// Opens the ring at `path`, or makes one. Also how many records of a torn write were left out.
    pub fn open(path: &Path) -> Result<(Self, usize), Error> {
        Self::with_slots(path, SLOTS)
    }

    pub(super) fn with_slots(path: &Path, slots: u64) -> Result<(Self, usize), Error> {
        let failed = |source| Error::Io { path: path.into(), source };
        if !path.exists() {
            make(path, slots).map_err(failed)?;
        }
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        // One of another release may be larger or smaller.
        let slots = (file.metadata().map_err(failed)?.len() / SIZE as u64).max(1);
        let found = scan(&file).map_err(failed)?;
        let (head, lost) = head(&found);
        let oldest = oldest(&found, head, slots);
        // What is given up must not look like the end of the chain that goes on from here.
        for one in found.iter().filter(|one| one.sequence > head.sequence) {
            file.write_all_at(&[0; SIZE], one.sequence % slots * SIZE as u64).map_err(failed)?;
        }
        file.sync_data().map_err(failed)?;
        Ok((Self { path: path.into(), file, slots, head, oldest }, lost))
    }

    /// Numbers, chains and writes them; durable when it returns.
    pub fn append(&mut self, records: Vec<Record>) -> Result<(), Error> {
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let mut head = self.head;
            for record in records.by_ref().take(BATCH) {
                let record = Record { sequence: head.sequence + 1, previous: head.hash, ..record };
                let (bytes, hash) = record.format();
                head = Head { sequence: record.sequence, hash };
                let at = head.sequence % self.slots * SIZE as u64;
                self.file.write_all_at(&bytes, at).map_err(|source| self.failed(source))?;
            }
            self.file.sync_data().map_err(|source| self.failed(source))?;
            self.head = head;
            self.oldest = self.oldest.max((head.sequence + 1).saturating_sub(self.slots)).max(1);
        }
        Ok(())
    }

    /// One whose disk takes no more.
    #[cfg(test)]
    pub(super) fn broken(self) -> Self {
        let file = File::open(&self.path).unwrap();
        Self { file, ..self }
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io { path: self.path.clone(), source }
    }

    pub(super) fn shown(&self) -> Shown {
        Shown { place: Place::At(self.path.clone()), head: self.head, oldest: self.oldest }
    }
}

/// The records from `first` to `last` that can be read.
pub(super) fn read(path: &Path, first: u64, last: u64) -> Result<Vec<(u64, [u8; SIZE])>, Error> {
    let failed = |source| Error::Io { path: path.into(), source };
    let file = File::open(path).map_err(failed)?;
    let slots = (file.metadata().map_err(failed)?.len() / SIZE as u64).max(1);
    let mut records = Vec::new();
    for sequence in first..=last {
        let mut bytes = [0; SIZE];
        file.read_exact_at(&mut bytes, sequence % slots * SIZE as u64).map_err(failed)?;
        // Meanwhile the ring may have come around.
        if Record::parse(&bytes).is_ok_and(|(record, _)| record.sequence == sequence) {
            records.push((sequence, bytes));
        }
    }
    Ok(records)
}

fn make(path: &Path, slots: u64) -> io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, slots * SIZE as u64)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// What of a record is needed to find the head.
#[derive(Clone, Copy, Debug)]
struct Found {
    sequence: u64,
    hash: Hash,
    previous: Hash,
}

/// Every record that can be read.
fn scan(file: &File) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let (mut chunk, mut at) = (vec![0; CHUNK], 0);
    loop {
        let read = file.read_at(&mut chunk, at)?;
        let whole = read - read % SIZE;
        if whole == 0 {
            return Ok(found);
        }
        for bytes in chunk[..whole].chunks_exact(SIZE) {
            if let Ok((record, hash)) = Record::parse(bytes) {
                found.push(Found { sequence: record.sequence, hash, previous: record.previous });
            }
        }
        at += whole as u64;
    }
}

/// The oldest record from which on the chain is whole: what a torn batch was written over is gone, too.
fn oldest(found: &[Found], head: Head, slots: u64) -> u64 {
    let newest = found.iter().map(|one| one.sequence).max().unwrap_or(0);
    let first = (newest + 1).saturating_sub(slots).max(1).min(head.sequence);
    if newest < slots {
        return first;
    }
    let readable: BTreeSet<u64> = found.iter().map(|one| one.sequence).collect();
    let torn = (first..head.sequence.min(first + BATCH as u64)).rev().find(|one| !readable.contains(one));
    torn.map_or(first, |torn| torn + 1)
}

/// The last record of the chain: the newest that can be read, or the one before a gap in the last batch. Also how many behind
/// the gap are given up: nobody was answered for them.
fn head(found: &[Found]) -> (Head, usize) {
    let Some(newest) = found.iter().map(|one| one.sequence).max() else { return (Head::default(), 0) };
    let mut last: Vec<_> = found.iter().filter(|one| one.sequence + BATCH as u64 > newest).collect();
    last.sort_by_key(|one| one.sequence);
    let chained = |pair: &[&Found]| pair[0].sequence + 1 == pair[1].sequence && pair[0].hash == pair[1].previous;
    // The first gap from the end of what was durable on.
    let good = last.windows(2).position(|pair| !chained(pair)).unwrap_or(last.len() - 1);
    let Found { sequence, hash, .. } = *last[good];
    (Head { sequence, hash }, last.len() - 1 - good)
}
