//! Telling the kernel of partitions one by one (BLKPG, linux/blkpg.h): unlike reading the whole table again, this works on a
//! disk that is in use. Nothing is written to the disk. Called by machined after it has changed the table.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `_IO(0x12, 105)`.
const BLKPG: libc::Ioctl = 0x1269;
/// `_IO(0x12, 95)`.
const BLKRRPART: libc::Ioctl = 0x125f;
const ADD: c_int = 1;
const RESIZE: c_int = 3;

/// `struct blkpg_ioctl_arg`.
#[repr(C)]
struct Arg {
    op: c_int,
    flags: c_int,
    datalen: c_int,
    data: *mut c_void,
}

/// `struct blkpg_partition`; the names are not used by the kernel.
#[repr(C)]
struct Partition {
    start: i64,
    length: i64,
    number: c_int,
    device: [u8; 64],
    volume: [u8; 64],
}

/// A partition the kernel is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its number in the table.
    pub number: u32,
    /// First byte on the disk; a multiple of its logical sector, as is the length.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

/// Makes a device for it; EBUSY when one of that number is there or it overlaps another.
pub fn add(disk: BorrowedFd<'_>, place: Place) -> io::Result<()> {
    tell(disk, ADD, place)
}

/// Gives the device of this number and start another length.
pub fn resize(disk: BorrowedFd<'_>, place: Place) -> io::Result<()> {
    tell(disk, RESIZE, place)
}

/// Lets the kernel read the whole table of a disk again; EBUSY while one of its partitions is open.
pub fn reread(disk: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument.
    if unsafe { libc::ioctl(disk.as_raw_fd(), BLKRRPART) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn tell(disk: BorrowedFd<'_>, op: c_int, place: Place) -> io::Result<()> {
    let odd = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut partition = Partition {
        start: place.start.try_into().map_err(odd)?,
        length: place.length.try_into().map_err(odd)?,
        number: place.number.try_into().map_err(odd)?,
        device: [0; 64],
        volume: [0; 64],
    };
    let datalen = c_int::try_from(size_of::<Partition>()).map_err(odd)?;
    let mut arg = Arg { op, flags: 0, datalen, data: (&raw mut partition).cast() };
    // SAFETY: BLKPG takes a pointer to a `blkpg_ioctl_arg` whose `data` points to a `blkpg_partition`; both live until the
    // call returns, and the kernel keeps neither.
    if unsafe { libc::ioctl(disk.as_raw_fd(), BLKPG, &raw mut arg) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn has_the_kernels_layout_and_refuses_what_is_no_disk() {
        assert_eq!((size_of::<Partition>(), size_of::<Arg>()), (152, 24));
        let file = std::fs::File::open("/dev/null").unwrap();
        let place = Place { number: 3, start: 1 << 20, length: 1 << 20 };
        assert_eq!(add(file.as_fd(), place).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(reread(file.as_fd()).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
        let far = Place { start: u64::MAX, ..place };
        assert_eq!(resize(file.as_fd(), far).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
