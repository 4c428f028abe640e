//! A disk that is put into one state after another.
//!
//! Invariant: what is applied on trial is taken back before anything else is applied.

use std::{
    fs::{File, OpenOptions},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::log::{Log, SECTOR, Write};

/// A raw disk of its own.
pub struct Scratch {
    path: PathBuf,
    file: File,
    /// What was there before, newest last.
    old: Vec<(u64, Vec<u8>)>,
}

impl Scratch {
    /// On this file, which is changed.
    pub fn new(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, old: Vec::new() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same, open.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Bytes of it.
    pub fn bytes(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(range.end - range.start)?];
        self.file.read_exact_at(&mut bytes, range.start).context("reading the disk")?;
        Ok(bytes)
    }

    /// Writes for good.
    pub fn settle(&mut self, log: &Log, write: &Write) -> Result<()> {
        self.file.write_all_at(&log.bytes(write)?, write.at).context("writing the disk")
    }

    /// Writes those sectors that `keeps` says, counted from the first of the write, until [`Scratch::take_back`].
    pub fn try_out(&mut self, log: &Log, write: &Write, keeps: impl Fn(u64) -> bool) -> Result<()> {
        let bytes = log.bytes(write)?;
        let sectors = write.len / SECTOR;
        let mut sector = 0;
        while sector < sectors {
            let kept = (sector..sectors).take_while(|sector| keeps(*sector)).count() as u64;
            if kept == 0 {
                sector += 1;
                continue;
            }
            let (from, to) = (sector * SECTOR, (sector + kept) * SECTOR);
            let at = write.at + from;
            self.old.push((at, self.bytes(at..at + kept * SECTOR)?));
            let new = &bytes[usize::try_from(from)?..usize::try_from(to)?];
            self.file.write_all_at(new, at).context("writing the disk")?;
            sector += kept;
        }
        Ok(())
    }

    /// What is tried out touches these bytes.
    pub fn tries(&self, range: &Range<u64>) -> bool {
        self.old.iter().any(|(at, old)| *at < range.end && range.start < at + old.len() as u64)
    }

    /// Makes it what it was before anything was tried out.
    pub fn take_back(&mut self) -> Result<()> {
        while let Some((at, old)) = self.old.pop() {
            self.file.write_all_at(&old, at).context("writing the disk")?;
        }
        Ok(())
    }
}
