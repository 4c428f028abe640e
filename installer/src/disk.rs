//! A system disk as it is made: a partition table, the EFI system partition with the boot chain, and META with its header and
//! the boot state. The image builder writes it into a file ([`image`]), the installer onto a disk (`install`).
//!
//! STATE and EPHEMERAL are made by the node.
//!
//! Invariant: the partition table is written last ([`table`]), after everything else is on the disk ([`content`]). Until then
//! there is no disk of ours.

#[cfg(feature = "imager")]
mod image;

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use boot::entry::{Text, Which};
use boot::record::{self, Kind, Record};
use boot::state::State;
use boot::uki::Uki;
use boot::{Guid, meta, part};

use crate::{fat, pe, uki};

#[cfg(feature = "imager")]
pub use image::{Chain, Content, fill, identify, write};

/// Where the firmware looks for a program on a disk it knows nothing about.
pub const FALLBACK: &str = "EFI/BOOT/BOOTX64.EFI";
/// Says that entries are of type 1 (Boot Loader Specification).
const ENTRIES: (&str, &str) = ("loader/entries.srel", "type1\n");
/// Partitions start on it; also room for the table in front, and for its copy at the end.
pub const MIB: u64 = 1 << 20;
/// The partitions: what they are, first byte, bytes.
pub const PARTS: [(part::Kind, u64, u64); 2] = [(part::ESP, MIB, ESP_SIZE), (part::META, MIB + ESP_SIZE, meta::SIZE)];
const ESP_SIZE: u64 = match part::ESP.size {
    Some(size) => size,
    None => 0,
};
/// Bytes up to where STATE can begin.
pub const END: u64 = MIB + ESP_SIZE + meta::SIZE;

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
    /// What machined is to know does not fit.
    #[error("META has no room for what it is to say")]
    Record,
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

/// What tells a disk from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// GUID of the disk.
    pub disk: Guid,
    /// GUID that META's header remembers: while it is that of the disk, a node gives the disk others.
    pub image: Guid,
    /// GUIDs of the partitions.
    pub parts: [Guid; 2],
    /// Volume id of the EFI partition.
    pub volume: u32,
}

/// What there is to be started.
#[derive(Clone, Debug)]
pub struct Boots {
    /// Becomes generation 1.
    pub uki: (Uki, String),
    /// The recovery system; each with its version.
    pub recovery: Option<(Uki, String)>,
}

impl Boots {
    /// Each UKI, and what it is started as.
    fn all(&self) -> impl Iterator<Item = (Which, &(Uki, String))> {
        let recovery = self.recovery.iter().map(|recovery| (Which::Recovery, recovery));
        std::iter::once((Which::Generation(1), &self.uki)).chain(recovery)
    }

    /// Path of each UKI on the EFI partition.
    pub fn paths(&self) -> impl Iterator<Item = (String, &Uki)> {
        self.all().map(|(_, (uki, _))| (name(uki.digest.path().as_str()), uki))
    }

    /// The small files: path and content.
    pub fn texts(&self) -> Vec<(String, String)> {
        let mut texts = vec![(ENTRIES.0.to_owned(), ENTRIES.1.to_owned())];
        for (which, (uki, version)) in self.all() {
            let text = Text { which, digest: uki.digest, version }.to_string();
            texts.push((name(&format!("{}{which}", boot::entry::FOLDER)), text));
        }
        texts
    }

    /// The boot state.
    #[must_use]
    pub fn state(&self) -> State {
        State::first(self.uki.0, self.recovery.as_ref().map(|(uki, _)| *uki))
    }
}

/// What is put on it.
#[expect(missing_debug_implementations, reason = "of what is read")]
pub struct Make<'a> {
    /// What it is called.
    pub names: Names,
    /// Bytes of its logical sector: 512 or 4096.
    pub sector: u16,
    /// The files of the EFI partition, in the order in which they are to be there.
    pub files: Vec<fat::File<'a>>,
    /// The boot state.
    pub state: Option<State>,
    /// What machined is to find in its record.
    pub facts: Option<Vec<u8>>,
}

/// A path of the ESP without the leading slash.
fn name(path: &str) -> String {
    path.trim_start_matches('/').to_owned()
}

/// Small files as they are written.
pub fn texts<'a>(boots: &Boots) -> impl Iterator<Item = fat::File<'a>> {
    let files = boots.texts().into_iter();
    files.map(|(path, text)| fat::File { path, content: Box::new(Cursor::new(text.into_bytes())) })
}

/// Version of Stele in a UKI.
///
/// # Errors
/// When it is no UKI.
pub fn version(uki: &[u8]) -> Result<String, pe::Error> {
    version_of(pe::section(uki, uki::OSREL)?)
}

/// The version that an os-release names.
///
/// # Errors
/// When it names none.
pub fn version_of(osrel: &[u8]) -> Result<String, pe::Error> {
    let text = String::from_utf8_lossy(osrel);
    let field = text.lines().find_map(|line| line.strip_prefix("VERSION_ID="));
    field.map(str::to_owned).ok_or(pe::Error::Format("its os-release names no version"))
}

/// Fills the partitions, all of META and what the EFI partition needs; the table is not touched. `path` is for messages.
///
/// # Errors
/// When the disk cannot be written, or a file not be read.
pub fn content<T: Read + Write + Seek>(disk: &mut T, path: &Path, make: Make<'_>) -> Result<(), Error> {
    let failed = |cause| Error::Write { path: path.to_owned(), cause };
    let [(_, start, len), (_, meta_at, _)] = PARTS;
    let volume = fat::Volume { start, len, sector: make.sector, cluster: fat::CLUSTER, id: make.names.volume };
    fat::write(disk, &volume, make.files).map_err(failed)?;

    let mut whole = vec![0; usize::try_from(meta::SIZE).unwrap_or(0)];
    let mut put = |region: meta::Region, bytes: &[u8]| {
        let at = usize::try_from(region.offset).unwrap_or(0);
        whole[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let header = meta::Header::new(make.names.image).encode();
    put(meta::HEADERS.a, &header);
    put(meta::HEADERS.b, &header);
    let state = make.state.map(|state| (Kind::Boot, meta::BOOT, state.encode().to_vec()));
    let facts = make.facts.map(|facts| (Kind::Machined, meta::MACHINED, facts));
    for (kind, pair, payload) in state.into_iter().chain(facts) {
        for (seq, region) in [(1, pair.a), (2, pair.b)] {
            let mut bytes = vec![0; region.len];
            record::encode(kind, Record { seq, payload: &payload }, &mut bytes).map_err(|_| Error::Record)?;
            put(region, &bytes);
        }
    }
    disk.seek(SeekFrom::Start(meta_at)).and_then(|_| disk.write_all(&whole)).map_err(failed)
}

/// Writes both copies of the partition table, for a disk that is as long as it will be. `path` is for messages.
///
/// # Errors
/// When the disk cannot be written, or is too small.
pub fn table<T: Read + Write + Seek>(disk: &mut T, path: &Path, names: &Names, sector: u16) -> Result<(), Error> {
    let sector = u64::from(sector);
    let mut write = || {
        let mut gpt = gptman::GPT::new_from(disk, sector, names.disk.0)?;
        for (number, ((kind, start, len), guid)) in (1..).zip(PARTS.iter().zip(names.parts)) {
            gpt[number] = gptman::GPTPartitionEntry {
                partition_type_guid: kind.guid.0,
                unique_partition_guid: guid.0,
                starting_lba: start / sector,
                ending_lba: (start + len) / sector - 1,
                attribute_bits: 0,
                partition_name: kind.name.into(),
            };
        }
        gpt.write_into(disk)?;
        gptman::GPT::write_protective_mbr_into(disk, sector)
    };
    write().map_err(|cause| Error::Table { path: path.to_owned(), cause })
}
