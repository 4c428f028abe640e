//! The raw disk: a partition table, the EFI system partition with the UKI, and META with its header.
//!
//! STATE and EPHEMERAL are made by the node. All identifiers are derived from the UKI: two builds give the same bytes, and
//! a node makes them unique on its first boot (META's header remembers the one it was built with).

use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use boot::{Guid, meta, part};
use sha2::{Digest, Sha256};

use crate::{cache, fat};

/// Where the firmware looks for a program on a disk it knows nothing about.
pub const FALLBACK: &str = "EFI/BOOT/BOOTX64.EFI";
/// Partitions start on it; also room for the table in front.
const MIB: u64 = 1 << 20;

/// The disk cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The table.
    #[error("cannot lay out the partition table of {path}")]
    Table {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: gptman::Error,
    },
}

/// A GUID out of what the image holds and what it is for.
fn derived(uki: &[u8], what: &str) -> Guid {
    let mut hash = Sha256::new();
    hash.update(what.as_bytes());
    hash.update(uki);
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Guid::custom(bytes)
}

/// Writes a sparse disk image; `sector` is the logical sector of the disk it is for (512 or 4096). An image that is there
/// is replaced, not changed: a virtual machine may be running on it.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, uki: &[u8], sector: u16) -> Result<(), Error> {
    let failed = |cause| Error::Write { path: path.to_owned(), cause };
    cache::replace(path, 0o644, failed, |file, name| fill(file, name, uki, sector))
}

/// Fills an empty file with the disk; `path` is for messages.
///
/// # Errors
/// When the file cannot be written.
pub fn fill(file: &mut std::fs::File, path: &Path, uki: &[u8], sector: u16) -> Result<(), Error> {
    let failed = |cause| Error::Write { path: path.to_owned(), cause };
    let esp = (part::ESP, MIB, part::ESP.size.unwrap_or(MIB));
    let meta = (part::META, esp.1 + esp.2, meta::SIZE);
    // one more MiB for the table's copy at the end
    let len = meta.1 + meta.2 + MIB;
    let digest = Sha256::digest(uki);

    file.set_len(len).map_err(failed)?;
    let disk = derived(uki, "disk");
    table(file, u64::from(sector), disk, &[esp, meta], uki)
        .map_err(|cause| Error::Table { path: path.to_owned(), cause })?;

    let volume = fat::Volume {
        start: esp.1,
        len: esp.2,
        sector,
        id: u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]]),
    };
    fat::write(file, &volume, &[(FALLBACK, uki)]).map_err(failed)?;

    let header = meta::Header::new(disk).encode();
    for region in [meta::HEADERS.a, meta::HEADERS.b] {
        file.seek(SeekFrom::Start(meta.1 + region.offset)).map_err(failed)?;
        file.write_all(&header).map_err(failed)?;
    }
    Ok(())
}

fn table(
    file: &mut std::fs::File,
    sector: u64,
    disk: Guid,
    parts: &[(part::Kind, u64, u64)],
    uki: &[u8],
) -> Result<(), gptman::Error> {
    let mut gpt = gptman::GPT::new_from(file, sector, disk.0)?;
    for (number, (kind, start, len)) in (1..).zip(parts) {
        gpt[number] = gptman::GPTPartitionEntry {
            partition_type_guid: kind.guid.0,
            unique_partition_guid: derived(uki, kind.name).0,
            starting_lba: start / sector,
            ending_lba: (start + len) / sector - 1,
            attribute_bits: 0,
            partition_name: kind.name.into(),
        };
    }
    gpt.write_into(file)?;
    gptman::GPT::write_protective_mbr_into(file, sector)
}
