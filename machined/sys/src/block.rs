//! Block devices: sizes, and telling the kernel about partitions. Called by machined's disk controllers and the installer.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

const GET_SIZE: libc::Ioctl = 0x8008_1272;
const REREAD: libc::Ioctl = 0x125F;
const BLKPG: libc::Ioctl = 0x1269;

/// Bytes the device has.
pub fn size(device: BorrowedFd<'_>) -> io::Result<u64> {
    let mut bytes = 0u64;
    // SAFETY: the request writes one u64.
    check(unsafe { libc::ioctl(device.as_raw_fd(), GET_SIZE, &raw mut bytes) })?;
    Ok(bytes)
}

/// Bytes of a logical sector, 512 or 4096.
pub fn sector_size(device: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(rustix::fs::ioctl_blksszget(device.as_fd())?)
}

/// Bytes of a physical sector.
pub fn physical_sector_size(device: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(rustix::fs::ioctl_blkpbszget(device.as_fd())?)
}

/// Has the kernel read the partition table again; EBUSY while one of its partitions is used.
pub fn reread_partitions(device: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the request takes no argument.
    check(unsafe { libc::ioctl(device.as_raw_fd(), REREAD) })
}

/// A change of one partition in the kernel's view, in bytes; the table on disk is somebody else's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A new partition.
    Add {
        /// First byte.
        start: i64,
        /// Bytes.
        length: i64,
    },
    /// It is gone.
    Remove,
    /// Other length; also while it is mounted.
    Resize {
        /// First byte, as it is.
        start: i64,
        /// New number of bytes.
        length: i64,
    },
}

/// Applies the change to partition `number` (from 1) of the whole disk `device`.
pub fn change_partition(device: BorrowedFd<'_>, number: c_int, change: Change) -> io::Result<()> {
    #[repr(C)]
    struct Partition {
        start: i64,
        length: i64,
        number: c_int,
        devname: [u8; 64],
        volname: [u8; 64],
    }
    #[repr(C)]
    struct Arguments {
        op: c_int,
        flags: c_int,
        length: c_int,
        partition: *mut c_void,
    }
    let (op, start, length) = match change {
        Change::Add { start, length } => (1, start, length),
        Change::Remove => (2, 0, 0),
        Change::Resize { start, length } => (3, start, length),
    };
    let mut partition = Partition { start, length, number, devname: [0; 64], volname: [0; 64] };
    let size = c_int::try_from(size_of::<Partition>()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut arguments = Arguments { op, flags: 0, length: size, partition: (&raw mut partition).cast() };
    // SAFETY: both structures are those of <linux/blkpg.h> and live across the call.
    check(unsafe { libc::ioctl(device.as_raw_fd(), BLKPG, &raw mut arguments) })
}

fn check(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
