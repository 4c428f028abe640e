//! Reading and writing the regions of a META partition (or of a plain file, in tests). Blocking.
//!
//! Invariant: nothing is written unless the header is there; what was written is read back past the page cache before a
//! write counts. The device is open only while it is used, so partitions can be changed under it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use boot::meta::{BLOCK, HEADERS, Header, LOG, MACHINED, Region};
use boot::record::{self, Kind};
use rustix::fs::{Mode, OFlags};

use super::record::Record;

/// Why META cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device.
    #[error("cannot {verb} META on {device}")]
    Io {
        /// open, read, write.
        verb: &'static str,
        /// The partition.
        device: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// No header, or one that this release cannot use.
    #[error("cannot use META on {device}")]
    Header {
        /// The partition.
        device: PathBuf,
        /// What is wrong with it.
        #[source]
        source: boot::meta::Error,
    },
    /// The disk gave back something else than was written.
    #[error("META on {device} does not hold what was written at byte {offset}: the disk loses writes")]
    Lost {
        /// The partition.
        device: PathBuf,
        /// Where.
        offset: u64,
    },
    /// The record has grown too large.
    #[error("machined's record does not fit into META")]
    TooLong(#[source] record::TooLong),
    /// The record is no JSON. Cannot happen.
    #[error("machined's record cannot be written as JSON")]
    Format(#[source] serde_json::Error),
    /// machined is stopping.
    #[error("the write to META was cancelled: machined is stopping")]
    Cancelled,
}

/// A META partition that was there when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    device: PathBuf,
    /// What its header said.
    pub header: Header,
}

/// What [`Volume::load`] found.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) record: Option<Record>,
    pub(super) damaged: bool,
}

impl Volume {
    /// Reads the header.
    ///
    /// # Errors
    /// The device cannot be read, or it is no META of this release.
    pub fn open(device: &Path) -> Result<Self, Error> {
        let file = open(device, OFlags::RDONLY)?;
        Ok(Self { device: device.into(), header: header(device, &file)? })
    }

    /// The newer valid copy of the record.
    pub(super) fn load(&self) -> Result<Loaded, Error> {
        let file = open(&self.device, OFlags::RDONLY)?;
        let (a, b) = (self.read(&file, MACHINED.a)?, self.read(&file, MACHINED.b)?);
        let newest = record::decode_newest(Kind::Machined, &a, &b).map(|(_, record)| record.payload);
        let record = newest.and_then(|payload| serde_json::from_slice(payload).ok());
        // All zero is how the image builder leaves it.
        let damaged = record.is_none() && a.iter().chain(&b).any(|byte| *byte != 0);
        Ok(Loaded { record, damaged })
    }

    /// Writes the record over the older copy.
    pub(super) fn save(&self, value: &Record) -> Result<(), Error> {
        let payload = serde_json::to_vec(value).map_err(Error::Format)?;
        let file = self.open_to_write()?;
        let (a, b) = (self.read(&file, MACHINED.a)?, self.read(&file, MACHINED.b)?);
        let newest = record::decode_newest(Kind::Machined, &a, &b);
        if newest.is_some_and(|(_, record)| record.payload == payload) {
            return Ok(());
        }
        let (slot, seq) = record::next(newest);
        let region = MACHINED.get(slot);
        let mut bytes = vec![0; region.len];
        record::encode(Kind::Machined, record::Record { seq, payload: &payload }, &mut bytes)
            .map_err(Error::TooLong)?;
        self.write(&file, region.offset, &bytes)
    }

    /// All of the boot log's ring.
    pub(super) fn ring(&self) -> Result<Vec<u8>, Error> {
        self.read(&open(&self.device, OFlags::RDONLY)?, LOG)
    }

    /// Writes blocks of the ring: offset in the ring and bytes of each.
    pub(super) fn write_ring(&self, blocks: &[(usize, [u8; BLOCK])]) -> Result<(), Error> {
        let file = self.open_to_write()?;
        blocks.iter().try_for_each(|(at, bytes)| self.write(&file, LOG.offset + *at as u64, bytes))
    }

    /// Another disk may have taken the name: the header is checked before each write.
    fn open_to_write(&self) -> Result<OwnedFd, Error> {
        let file = open(&self.device, OFlags::RDWR)?;
        header(&self.device, &file)?;
        Ok(file)
    }

    fn read(&self, file: &OwnedFd, region: Region) -> Result<Vec<u8>, Error> {
        read(&self.device, file, region)
    }

    fn write(&self, file: &OwnedFd, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let failed = |source: rustix::io::Errno| self.failed("write", source.into());
        let mut room = vec![0; bytes.len() + BLOCK];
        let place = aligned(&mut room, bytes.len());
        place.copy_from_slice(bytes);
        let mut done = 0;
        while done < place.len() {
            match rustix::io::pwrite(file, &place[done..], offset + done as u64).map_err(failed)? {
                0 => return Err(self.failed("write", io::ErrorKind::WriteZero.into())),
                some => done += some,
            }
        }
        rustix::fs::fdatasync(file).map_err(failed)?;
        let back = self.read(file, Region { offset, len: bytes.len() })?;
        if back == bytes { Ok(()) } else { Err(Error::Lost { device: self.device.clone(), offset }) }
    }

    fn failed(&self, verb: &'static str, source: io::Error) -> Error {
        Error::Io { verb, device: self.device.clone(), source }
    }
}

/// Runs blocking work beside the runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Error::Cancelled))
}

fn open(device: &Path, access: OFlags) -> Result<OwnedFd, Error> {
    let try_with = |flags| rustix::fs::open(device, access | flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty());
    // Past the page cache, so that reading back asks the disk; tmpfs (tests) has no such thing.
    try_with(OFlags::DIRECT)
        .or_else(|e| if e == rustix::io::Errno::INVAL { try_with(OFlags::empty()) } else { Err(e) })
        .map_err(|e| Error::Io { verb: "open", device: device.into(), source: e.into() })
}

fn header(device: &Path, file: &OwnedFd) -> Result<Header, Error> {
    let both = read(device, file, Region { offset: HEADERS.a.offset, len: 2 * BLOCK })?;
    Header::decode_either(&both).map_err(|source| Error::Header { device: device.into(), source })
}

fn read(device: &Path, file: &OwnedFd, region: Region) -> Result<Vec<u8>, Error> {
    let failed = |source: io::Error| Error::Io { verb: "read", device: device.into(), source };
    let mut room = vec![0; region.len + BLOCK];
    let place = aligned(&mut room, region.len);
    let mut done = 0;
    while done < region.len {
        match rustix::io::pread(file, &mut place[done..], region.offset + done as u64) {
            Ok(0) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
            Ok(some) => done += some,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(failed(e.into())),
        }
    }
    Ok(place.to_vec())
}

/// O_DIRECT wants memory aligned to a logical sector; `room` is one block longer than `len`.
fn aligned(room: &mut [u8], len: usize) -> &mut [u8] {
    let skip = room.as_ptr().align_offset(BLOCK);
    &mut room[skip..skip + len]
}

/// The slot the next save goes to; for tests that tear it.
#[cfg(test)]
pub(super) fn next_slot(a: &[u8], b: &[u8]) -> record::Slot {
    record::next(record::decode_newest(Kind::Machined, a, b)).0
}
