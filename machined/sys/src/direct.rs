//! Reading and writing a block device past the page cache, so that reading back asks the disk. Blocking. Used for META, for the
//! partition table of the system disk, and for files of the EFI partition; tests use plain files.
//!
//! Invariant: a write counts only when the device was flushed and gave the same bytes back.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

/// The largest logical sector there is: alignment of buffers.
const ALIGN: usize = 4096;
/// `_IO(0x12, 119)` of linux/fs.h: takes where and how many bytes.
const BLKDISCARD: libc::Ioctl = 0x1277;
/// What is written at once where the kernel does not do it.
const ZEROS: usize = 1 << 20;
/// How much of what was zeroed is read back, at either end.
const SAMPLE: usize = 64 * 1024;

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
        self.put(offset, bytes)?;
        self.flush()?;
        let back = self.read(offset, bytes.len())?;
        if back == bytes { Ok(()) } else { Err(Error::Lost { device: self.path.clone(), offset }) }
    }

    fn flush(&self) -> Result<(), Error> {
        rustix::fs::fdatasync(&self.fd).map_err(|e| self.failed("flush", e.into()))
    }

    fn put(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
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
        Ok(())
    }

    /// Overwrites a piece with zeros that take their place on the disk, flushes, and reads both ends of it back; alignment as
    /// for [`Device::read`].
    ///
    /// # Errors
    /// The device, or that it gave back something else.
    pub fn zero(&self, offset: u64, len: u64) -> Result<(), Error> {
        // The kernel writes zeros itself where the disk has no command for it, and leaves nothing to a mere discard.
        let how = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&self.fd, how, offset, len) {
            Ok(()) => {}
            Err(Errno::OPNOTSUPP | Errno::NODEV) => self.put_zeros(offset, len)?,
            Err(e) => return Err(self.failed("write zeros to", e.into())),
        }
        self.flush()?;
        let some = SAMPLE.min(usize::try_from(len).unwrap_or(SAMPLE));
        for at in [offset, offset + len - some as u64] {
            if self.read(at, some)?.iter().any(|byte| *byte != 0) {
                return Err(Error::Lost { device: self.path.clone(), offset: at });
            }
        }
        Ok(())
    }

    /// Tells the disk that nobody wants a piece any more; false: it does not take that. What is read there then is up to the
    /// disk.
    ///
    /// # Errors
    /// The device.
    pub fn discard(&self, offset: u64, len: u64) -> Result<bool, Error> {
        let range = [offset, len];
        // SAFETY: BLKDISCARD takes a pointer to two u64, which live until the call returns and are not kept.
        if unsafe { libc::ioctl(self.fd.as_raw_fd(), BLKDISCARD, range.as_ptr()) } >= 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // No block device, or one that does not know the command.
            Some(libc::ENOTTY | libc::EOPNOTSUPP) => Ok(false),
            _ => Err(self.failed("discard blocks of", error)),
        }
    }

    fn put_zeros(&self, offset: u64, len: u64) -> Result<(), Error> {
        let (mut at, end) = (offset, offset + len);
        while at < end {
            let some = ZEROS.min(usize::try_from(end - at).unwrap_or(ZEROS));
            self.put(at, &vec![0; some])?;
            at += some as u64;
        }
        Ok(())
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
