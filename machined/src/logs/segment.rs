//! One file of a log and the marks beside it: when bytes arrived, and where some were lost. `log` is the only caller.
//!
//! Invariant: bytes are only ever added at the end; a mark that was cut short by a crash is overwritten by the next one.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes of a mark on disk: offset, time, dropped; little endian.
const MARK: usize = 24;
/// Marks closer together than this say nothing new to a reader.
const RESOLUTION_NS: u64 = 10_000_000;
/// With more marks than one for so many bytes of its size the segment counts as full, so that a service writing byte by
/// byte costs hardly more than one writing pages: a fifth.
const BYTES_PER_MARK: u64 = 128;

/// Says of the bytes from `offset` on when they were read, and how many were lost just before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) time_ns: u64,
    pub(super) dropped: u64,
}

/// A part of the stream, from `base` on.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: u64,
    pub(super) file: File,
    path: PathBuf,
    marks: Mutex<Vec<Mark>>,
    marks_file: File,
}

impl Segment {
    /// Opens or makes the segment that starts at `base`.
    pub(super) fn open(dir: &Path, base: u64) -> io::Result<Self> {
        let path = dir.join(format!("{base:016x}.log"));
        let open =
            |path: &Path| OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = open(&path)?;
        let marks_file = open(&path.with_extension("marks"))?;
        let bytes = fs::read(path.with_extension("marks"))?;
        let marks = bytes.chunks_exact(MARK).filter_map(parse).collect();
        Ok(Self { base, file, path, marks: Mutex::new(marks), marks_file })
    }

    /// The bases of the segments in a folder, in order; other files are left alone.
    pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
        let mut bases = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            if let Some(base) = name.to_str().and_then(|n| n.strip_suffix(".log")) {
                bases.extend(u64::from_str_radix(base, 16));
            }
        }
        bases.sort_unstable();
        Ok(bases)
    }

    /// How many bytes it holds.
    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Whether another mark would be too many for a segment of this size.
    pub(super) fn marks_full(&self, size: u64) -> bool {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner).len() as u64 > size / BYTES_PER_MARK
    }

    /// How much was lost just before this offset.
    pub(super) fn lost_at(&self, offset: u64) -> u64 {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.iter().rev().take_while(|mark| mark.offset >= offset).map(|mark| mark.dropped).sum()
    }

    /// Adds a mark, unless it says nothing new; losses at one offset are added up.
    pub(super) fn mark(&self, mark: Mark) -> io::Result<()> {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if mark.dropped == 0 && marks.last().is_some_and(|last| mark.time_ns.abs_diff(last.time_ns) < RESOLUTION_NS) {
            return Ok(());
        }
        let before = marks.pop_if(|last| last.offset == mark.offset && mark.dropped > 0);
        let sum = before.map_or(0, |before| before.dropped).saturating_add(mark.dropped);
        let mark = Mark { dropped: sum, ..mark };
        let mut bytes = [0; MARK];
        bytes[..8].copy_from_slice(&mark.offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&mark.time_ns.to_le_bytes());
        bytes[16..].copy_from_slice(&mark.dropped.to_le_bytes());
        let written = self.marks_file.write_all_at(&bytes, (marks.len() * MARK) as u64);
        marks.extend(if written.is_ok() { Some(mark) } else { before });
        written
    }

    /// The marks that bear on bytes from `from` up to `to`: the last one at or before `from`, and those between.
    pub(super) fn marks(&self, from: u64, to: u64) -> Vec<Mark> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let first = marks.partition_point(|m| m.offset <= from).saturating_sub(1);
        // Several marks can share one offset: all of them count.
        let first = marks[..first].iter().rposition(|m| m.offset < marks[first].offset).map_or(0, |before| before + 1);
        marks[first..].iter().take_while(|m| m.offset < to).copied().collect()
    }

    /// Removes its files; who has it open can go on reading.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        fs::remove_file(self.path.with_extension("marks"))
    }
}

fn parse(bytes: &[u8]) -> Option<Mark> {
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    Some(Mark { offset: word(0)?, time_ns: word(8)?, dropped: word(16)? })
}
