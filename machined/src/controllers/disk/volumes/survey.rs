//! What is on the system disk now: its table, and what lies where volumes are or would be. Blocking; read past the page cache
//! and by the whole disk, so that partitions the kernel does not know yet are seen too.

use std::ops::Range;

use boot::part::{EPHEMERAL, Kind, STATE};

use super::super::content::{self, HEAD};
use super::super::host::{Host, Part};
use super::super::rewrite::{self, Disk};
use super::super::table::{Entry, Gpt};
use super::judge::{Found, Holds};
use sys::direct::{self, Device};

/// How much has to be zero for a partition to hold nothing: every file system begins within it.
pub(super) const START: u64 = 1 << 20;
/// Where the superblock of ext4 lies.
const EXT4: u64 = 1024;

/// The system disk.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    pub(super) name: String,
    pub(super) disk: Disk,
    pub(super) table: Gpt,
    pub(super) state: Vec<Found>,
    pub(super) ephemeral: Vec<Found>,
    /// The partitions as the kernel has them.
    kernel: Vec<Part>,
    host: Host,
}

/// Why the disk cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the system disk {0} is not there any more")]
    Gone(String),
    #[error(transparent)]
    Table(#[from] rewrite::Error),
}

impl Survey {
    /// Looks.
    pub(super) fn new(host: &Host, name: &str) -> Result<Self, Error> {
        let seen = host.scan().into_iter().find(|disk| disk.name == name).ok_or_else(|| Error::Gone(name.into()))?;
        let disk = Disk { device: host.node(name), sector: seen.sector.clamp(512, 4096).into(), size: seen.size };
        let file = Device::read_only(&disk.device).map_err(rewrite::Error::from)?;
        let table = disk.first(&file)?;
        let of = |kind: &Kind| -> Vec<Found> {
            let entries = table.partitions().filter(|entry| entry.kind == kind.guid);
            entries.map(|entry| Found { holds: look(&file, &disk.bytes(&entry)), entry }).collect()
        };
        let (state, ephemeral) = (of(&STATE), of(&EPHEMERAL));
        Ok(Self { name: name.into(), disk, table, state, ephemeral, kernel: seen.partitions, host: host.clone() })
    }

    /// The device of a partition, if the kernel has one.
    pub(super) fn device(&self, number: u32) -> Option<Node> {
        let part = self.kernel.iter().find(|part| part.number == number)?;
        Some(Node { path: self.host.node(&part.name).to_string_lossy().into_owned(), size: part.size })
    }
}

/// A partition's device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) path: String,
    /// Bytes by the kernel, which may lag behind the table.
    pub(super) size: u64,
}

impl Disk {
    /// The bytes of a partition.
    pub(super) fn bytes(&self, entry: &Entry) -> Range<u64> {
        let from = entry.first.saturating_mul(self.sector);
        from..entry.last.saturating_add(1).saturating_mul(self.sector).max(from)
    }
}

/// What lies there.
pub(super) fn look(file: &Device, range: &Range<u64>) -> Holds {
    let length = START.min(range.end - range.start);
    match file.read(range.start, usize::try_from(length).unwrap_or(0)) {
        Err(error) => Holds::Unread(crate::trace::chain(&error)),
        Ok(bytes) => match content::probe(&bytes[..HEAD.min(bytes.len())]) {
            Some(content) => Holds::Known(content),
            None if bytes.iter().all(|byte| *byte == 0) => Holds::Nothing,
            None => Holds::Unknown,
        },
    }
}

/// Zeros both ends of a piece of the disk, where file systems and what is made of disks have their marks.
pub(super) fn wipe(file: &Device, range: &Range<u64>) -> Result<(), direct::Error> {
    let zeros = vec![0; usize::try_from(START.min(range.end - range.start)).unwrap_or(0)];
    file.write(range.start, &zeros)?;
    file.write(range.end - zeros.len() as u64, &zeros)
}

/// Whether an ext4 file system was unmounted well and has no error noted: then there is nothing for e2fsck -p to do.
pub(super) fn is_clean(disk: &Disk, range: &Range<u64>) -> Result<bool, direct::Error> {
    const VALID: [u8; 2] = [1, 0];
    const NEEDS_RECOVERY: u8 = 4;
    let start = Device::read_only(&disk.device)?.read(range.start, 4096)?;
    let superblock = &start[usize::try_from(EXT4).unwrap_or(0)..];
    Ok(superblock[58..60] == VALID && superblock[96] & NEEDS_RECOVERY == 0)
}
