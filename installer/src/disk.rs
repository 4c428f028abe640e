//! A system disk as it is made: a partition table, the EFI system partition with the boot chain, and META with its header and
//! the boot state. The image builder writes it into a file, the installer onto a disk.
//!
//! STATE and EPHEMERAL are made by the node. The identifiers of an image are derived from its UKI: two builds give the same
//! bytes, and a node makes them unique on its first boot (META's header remembers the one it was built with).
//!
//! Invariant: the partition table is written last, after everything else is on the disk. Until then there is no disk of ours.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use boot::entry::{Text, Which};
use boot::record::{self, Kind, Record};
use boot::state::State;
use boot::uki::{Digest, Uki};
use boot::{Guid, meta, part};
use sha2::{Digest as _, Sha256};

use crate::pe;
use crate::{cache, fat, uki};

/// Where the firmware looks for a program on a disk it knows nothing about.
pub const FALLBACK: &str = "EFI/BOOT/BOOTX64.EFI";
/// Says that entries are of type 1 (Boot Loader Specification).
const ENTRIES: (&str, &[u8]) = ("loader/entries.srel", b"type1\n");
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
    /// A UKI.
    #[error("a UKI as it was built here is expected")]
    Uki(#[from] pe::Error),
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

/// What the disk starts.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// The boot chain of a node.
    Chain(Chain<'a>),
    /// One EFI program that the firmware starts by itself; nothing that can be upgraded.
    Bare(&'a [u8]),
}

/// The boot chain of a node.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// The loader, signed.
    pub loader: &'a [u8],
    /// The UKI, which becomes generation 1.
    pub uki: &'a [u8],
    /// The recovery system.
    pub recovery: Option<&'a [u8]>,
}

impl<'a> Content<'a> {
    /// What identifies the disk.
    fn main(&self) -> &'a [u8] {
        match self {
            Self::Chain(chain) => chain.uki,
            Self::Bare(program) => program,
        }
    }
}

impl<'a> Chain<'a> {
    /// The files of the ESP, in the order in which they are to be there.
    ///
    /// # Errors
    /// When a UKI is none.
    fn files(&self) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let mut files = Vec::new();
        let ukis = [(Which::Generation(1), Some(self.uki)), (Which::Recovery, self.recovery)];
        let ukis: Vec<_> = ukis.into_iter().filter_map(|(which, bytes)| Some((which, bytes?))).collect();
        for (_, bytes) in &ukis {
            files.push((name(identify(bytes).digest.path().as_str()), bytes.to_vec()));
        }
        files.push((FALLBACK.to_owned(), self.loader.to_vec()));
        files.push((ENTRIES.0.to_owned(), ENTRIES.1.to_vec()));
        for (which, bytes) in ukis {
            let text = Text { which, digest: identify(bytes).digest, version: &version(bytes)? }.to_string();
            files.push((name(&format!("{}{which}", boot::entry::FOLDER)), text.into_bytes()));
        }
        Ok(files)
    }

    fn state(&self) -> State {
        State::first(identify(self.uki), self.recovery.map(identify))
    }
}

/// A path of the ESP without the leading slash.
fn name(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

/// Digest and size of a UKI.
#[must_use]
pub fn identify(uki: &[u8]) -> Uki {
    Uki { digest: Digest(Sha256::digest(uki).into()), size: uki.len() as u64 }
}

/// Version of Stele in a UKI, from its os-release.
///
/// # Errors
/// When it is no UKI.
pub fn version(uki: &[u8]) -> Result<String, pe::Error> {
    let text = String::from_utf8_lossy(pe::section(uki, uki::OSREL)?).into_owned();
    let field = text.lines().find_map(|line| line.strip_prefix("VERSION_ID="));
    field.map(str::to_owned).ok_or(pe::Error::Format("its os-release names no version"))
}

/// A GUID out of what the image holds and what it is for.
fn derived(content: &[u8], what: &str) -> Guid {
    let mut hash = Sha256::new();
    hash.update(what.as_bytes());
    hash.update(content);
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
pub fn write(path: &Path, content: &Content<'_>, sector: u16) -> Result<(), Error> {
    let failed = |cause| Error::Write { path: path.to_owned(), cause };
    cache::replace(path, 0o644, failed, |file, name| fill(file, name, content, sector))
}

/// Fills an empty file with the disk; `path` is for messages.
///
/// # Errors
/// When the file cannot be written.
pub fn fill(file: &mut File, path: &Path, content: &Content<'_>, sector: u16) -> Result<(), Error> {
    let failed = |cause| Error::Write { path: path.to_owned(), cause };
    let esp = (part::ESP, MIB, part::ESP.size.unwrap_or(MIB));
    let meta = (part::META, esp.1 + esp.2, meta::SIZE);
    // one more MiB for the table's copy at the end
    let len = meta.1 + meta.2 + MIB;
    let main = content.main();
    let disk = derived(main, "disk");
    file.set_len(len).map_err(failed)?;

    let (files, state) = match content {
        Content::Chain(chain) => (chain.files()?, Some(chain.state())),
        Content::Bare(program) => (vec![(FALLBACK.to_owned(), program.to_vec())], None),
    };
    let id = Sha256::digest(main);
    let volume = fat::Volume { start: esp.1, len: esp.2, sector, id: u32::from_le_bytes([id[0], id[1], id[2], id[3]]) };
    let files: Vec<_> = files.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
    fat::write(file, &volume, &files).map_err(failed)?;

    let mut put = |region: meta::Region, bytes: &[u8]| {
        file.seek(SeekFrom::Start(meta.1 + region.offset)).and_then(|_| file.write_all(bytes)).map_err(failed)
    };
    let header = meta::Header::new(disk).encode();
    put(meta::HEADERS.a, &header)?;
    put(meta::HEADERS.b, &header)?;
    if let Some(state) = state {
        put(meta::BOOT.a, &record(&state, 1))?;
        put(meta::BOOT.b, &record(&state, 2))?;
    }
    table(file, u64::from(sector), disk, &[esp, meta], main)
        .map_err(|cause| Error::Table { path: path.to_owned(), cause })
}

/// One copy of the boot state.
fn record(state: &State, seq: u64) -> Vec<u8> {
    let mut region = vec![0; meta::BOOT.a.len];
    // A state is far smaller than its region.
    let _ = record::encode(Kind::Boot, Record { seq, payload: &state.encode() }, &mut region);
    region
}

fn table(
    file: &mut File,
    sector: u64,
    disk: Guid,
    parts: &[(part::Kind, u64, u64)],
    content: &[u8],
) -> Result<(), gptman::Error> {
    let mut gpt = gptman::GPT::new_from(file, sector, disk.0)?;
    for (number, (kind, start, len)) in (1..).zip(parts) {
        gpt[number] = gptman::GPTPartitionEntry {
            partition_type_guid: kind.guid.0,
            unique_partition_guid: derived(content, kind.name).0,
            starting_lba: start / sector,
            ending_lba: (start + len) / sector - 1,
            attribute_bits: 0,
            partition_name: kind.name.into(),
        };
    }
    gpt.write_into(file)?;
    gptman::GPT::write_protective_mbr_into(file, sector)
}
