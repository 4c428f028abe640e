//! Reading and writing a block device past the page cache, so that reading back asks the disk. Blocking. Used for META, for the
//! partition table of the system disk, and for files of the EFI partition; tests use plain files.
//!
//! Invariant: a write counts only when the device was flushed and gave the same bytes back.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The largest logical sector there is: alignment of buffers.
const ALIGN: usize = 4096;

/// What failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device.
    #[error("cannot {verb} {device}")]
    Io {
        /// open, read, write.
        verb: &'static str,
        /// The device.
        device: PathBuf,
        /// The kernel's reason.
        #[source]
        source: io::Error,
    },
    /// The disk gave back something else than was written.
    #[error("{device} does not hold what was written at byte {offset}: the disk loses writes")]
    Lost {
        /// The device.
        device: PathBuf,
        /// Where.
        offset: u64,
    },
}

/// An open device.
#[derive(Debug)]
pub struct Device {
    path: PathBuf,
    fd: OwnedFd,
}

impl Device {
    /// Opens it for reading.
    ///
    /// # Errors
    /// The device.
    pub fn read_only(path: &Path) -> Result<Self, Error> {
        Self::open(path, OFlags::RDONLY)
    }

    /// Opens it for reading and writing.
    ///
    /// # Errors
    /// The device.
    pub fn read_write(path: &Path) -> Result<Self, Error> {
        Self::open(path, OFlags::RDWR)
    }

    fn open(path: &Path, access: OFlags) -> Result<Self, Error> {
        let open = |flags| rustix::fs::open(path, access | flags | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty());
        // tmpfs (tests) has no direct access.
        let opened = open(OFlags::DIRECT).or_else(|e| if e == Errno::INVAL { open(OFlags::empty()) } else { Err(e) });
        let fd = opened.map_err(|e| Error::Io { verb: "open", device: path.into(), source: e.into() })?;
        Ok(Self { path: path.into(), fd })
    }

    /// Reads up to `len` bytes, fewer at the end of a file; alignment as for [`Device::read`].
    ///
    /// # Errors
    /// The device.
    pub fn read_some(&self, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut room = vec![0; len + ALIGN];
        let place = aligned(&mut room, len);
        loop {
            match rustix::io::pread(&self.fd, &mut *place, offset) {
                Ok(some) => return Ok(place[..some].to_vec()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(self.failed("read", e.into())),
            }
        }
    }

    /// Reads exactly `len` bytes; `offset` and `len` are multiples of the logical sector.
    ///
    /// # Errors
    /// The device, or its end.
    pub fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let mut room = vec![0; len + ALIGN];
        let place = aligned(&mut room, len);
        let mut done = 0;
        while done < len {
            match rustix::io::pread(&self.fd, &mut place[done..], offset + done as u64) {
                Ok(0) => return Err(self.failed("read", io::ErrorKind::UnexpectedEof.into())),
                Ok(some) => done += some,
                Err(Errno::INTR) => {}
                Err(e) => return Err(self.failed("read", e.into())),
            }
        }
        Ok(place.to_vec())
    }

    /// Writes, flushes, reads back and compares; alignment as for [`Device::read`].
    ///
    /// # Errors
    /// The device, or that it gave back something else.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut room = vec![0; bytes.len() + ALIGN];
        let place = aligned(&mut room, bytes.len());
        place.copy_from_slice(bytes);
        let mut done = 0;
        while done < place.len() {
            match rustix::io::pwrite(&self.fd, &place[done..], offset + done as u64) {
                Ok(0) => return Err(self.failed("write", io::ErrorKind::WriteZero.into())),
                Ok(some) => done += some,
                Err(Errno::INTR) => {}
                Err(e) => return Err(self.failed("write", e.into())),
            }
        }
        rustix::fs::fdatasync(&self.fd).map_err(|e| self.failed("flush", e.into()))?;
        let back = self.read(offset, bytes.len())?;
        if back == bytes { Ok(()) } else { Err(Error::Lost { device: self.path.clone(), offset }) }
    }

    fn failed(&self, verb: &'static str, source: io::Error) -> Error {
        Error::Io { verb, device: self.path.clone(), source }
    }
}

/// Direct access wants memory aligned to a logical sector; `room` is that much longer than `len`.
fn aligned(room: &mut [u8], len: usize) -> &mut [u8] {
    let skip = room.as_ptr().align_offset(ALIGN);
    &mut room[skip..skip + len]
}
