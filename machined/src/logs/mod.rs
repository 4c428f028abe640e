//! Logs of services, of machined itself and of the kernel: drained, bounded, readable by cursor.
//!
//! A log is a stream of bytes; a cursor is an offset in it. The bytes go by splice(2) from the service's pipe into files in
//! /run, so a machined that dies at any instruction loses none and a reader continues where it was. The supervisor opens
//! and drains logs, `trace` appends to the one called `machined`, the server reads.

mod drain;
mod kernel;
mod line;
mod log;
mod reader;
mod segment;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

pub use drain::drain;
pub use kernel::KernelReader;
pub use line::{Chunk, Line, Start};
pub use log::Log;
pub use reader::ServiceReader;

use crate::trace::shown;

/// What the newer files of all logs may hold together; the older ones hold as much again. They lie in /run, whose memory
/// is machined's: this with its marks is well below the cap of its cgroup (128 MiB, `cgroup`), beyond which it is killed.
const BUDGET: u64 = 32 << 20;

/// Why a log could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No log of that name.
    #[error("there is no log of a service {name:?}; there are: {}", known.join(", "))]
    Unknown {
        /// What was asked for, cut.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Not one of ours, or beyond the end; cut.
    #[error("{0:?} is no cursor of this log; start without one")]
    Cursor(String),
    /// The log's files.
    #[error("reading the log")]
    Read(#[source] io::Error),
    /// The log's folder.
    #[error("opening the log {name}")]
    Open {
        /// Whose.
        name: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// All logs of the machine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Logs {
    dir: PathBuf,
    /// Tells cursors of this boot from others.
    epoch: String,
    open: Arc<Mutex<BTreeMap<String, Arc<Log>>>>,
    /// How large a file of a log may grow.
    size: Arc<AtomicU64>,
}

/// A reader of one log.
#[derive(Debug)]
pub enum Reader {
    /// Of a service.
    Service(ServiceReader),
    /// Of the kernel.
    Kernel(KernelReader),
}

impl Logs {
    /// The logs kept in `dir`; `boot_id` is the kernel's.
    pub fn new(dir: impl Into<PathBuf>, boot_id: &str) -> Self {
        let epoch = boot_id.chars().filter(char::is_ascii_hexdigit).take(8).collect();
        Self { dir: dir.into(), epoch, open: Arc::default(), size: Arc::new(AtomicU64::new(log::SEGMENT)) }
    }

    /// The log of a service, made when there is none: for who writes to it.
    pub fn log(&self, name: &str) -> Result<Arc<Log>, Error> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = open.get(name) {
            return Ok(log.clone());
        }
        let log = Log::open(&self.dir.join(name), self.size.clone());
        let log = Arc::new(log.map_err(|source| Error::Open { name: name.to_owned(), source })?);
        open.insert(name.to_owned(), log.clone());
        self.size.store(log::SEGMENT.min(BUDGET / open.len() as u64), Ordering::Relaxed);
        Ok(log)
    }

    /// The names of all logs, in order.
    pub fn names(&self) -> Vec<String> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Reads a service's log.
    pub fn open(&self, name: &str, start: &Start, follow: bool) -> Result<Reader, Error> {
        let log = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let log = log.ok_or_else(|| Error::Unknown { name: shown(name), known: self.names() })?;
        ServiceReader::new(log, self.epoch.clone(), start, follow).map(Reader::Service)
    }

    /// Reads the kernel's log.
    pub fn kernel(&self, start: &Start, follow: bool) -> Result<Reader, Error> {
        KernelReader::new(self.epoch.clone(), start, follow).map(Reader::Kernel)
    }
}

impl Reader {
    /// The next lines; `None` at the end of a log that is not followed. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Chunk>, Error> {
        match self {
            Self::Service(reader) => reader.next().await,
            Self::Kernel(reader) => reader.next().await,
        }
        .map_err(Error::Read)
    }

    /// Where the next line begins; before the first one of a reader that starts with the oldest it is not known.
    pub fn cursor(&self) -> String {
        match self {
            Self::Service(reader) => reader.cursor(),
            Self::Kernel(reader) => reader.cursor(),
        }
    }
}
