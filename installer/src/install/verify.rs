//! What was written, as the disk gives it back: read past the page cache, and taken apart as firmware, loader and machined do.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use boot::entry::{Entry, Which};
use boot::record::{self, Kind};
use boot::state::State;
use boot::{Digest, meta};
use sha2::{Digest as _, Sha256};
use sys::direct::Device;

use super::target::Target;
use super::{Error, Parts, Report};
use crate::{disk, fat};

/// Read at once.
const BLOCK: u64 = 1 << 20;
/// Blocks that are kept: of a file, of the chain of its clusters, of the folders.
const KEPT: usize = 4;

/// Compares all of it.
pub(super) fn all(
    path: &Path,
    target: &Target,
    names: &disk::Names,
    boots: &disk::Boots,
    parts: &Parts,
    report: &mut Report<'_>,
) -> Result<(), Error> {
    let device = Device::read_only(path).map_err(|error| failed(path, &error))?;
    let mut disk = Direct { device, size: target.size, at: 0, kept: Vec::new() };
    let differs = |what: &str| Error::Differs { device: path.to_owned(), what: what.to_owned() };
    table(&mut disk, target, names).map_err(|what| differs(&what))?;

    let (_, start, len) = disk::PARTS[0];
    let volume = fat::Volume { start, len, sector: target.sector, cluster: fat::CLUSTER, id: names.volume };
    for (name, source) in parts {
        let (mut hash, mut told) = (Sha256::new(), Ok(()));
        let read = fat::read(&mut disk, &volume, name, |bytes| {
            hash.update(bytes);
            if told.is_ok() {
                told = report.add(bytes.len());
            }
        });
        told?;
        read.map_err(Error::io("read", path))?.ok_or_else(|| differs(&format!("/{name} is missing")))?;
        if Digest(hash.finalize().into()) != super::digest(source) {
            return Err(differs(&format!("/{name} is damaged")));
        }
    }
    for (name, text) in boots.texts() {
        let mut found = Vec::new();
        let read = fat::read(&mut disk, &volume, &name, |bytes| found.extend_from_slice(bytes));
        read.map_err(Error::io("read", path))?.ok_or_else(|| differs(&format!("/{name} is missing")))?;
        let file = name.rsplit('/').next().unwrap_or_default();
        let parses = Which::of_file(file).is_none() || Entry::parse(file, &found).is_some();
        if found != text.as_bytes() || !parses {
            return Err(differs(&format!("/{name} is damaged")));
        }
    }
    records(&mut disk, names, boots).map_err(|what| differs(&what))
}

fn failed(path: &Path, error: &sys::direct::Error) -> Error {
    Error::io("read", path)(io::Error::other(crate::chain(error)))
}

/// Both copies say the same, and what they are to say.
fn table(disk: &mut Direct, target: &Target, names: &disk::Names) -> Result<(), String> {
    let (sector, text) = (u64::from(target.sector), |error: gptman::Error| error.to_string());
    let gpt = gptman::GPT::read_from(disk, sector).map_err(|error| format!("its partition table: {error}"))?;
    if gpt.header.disk_guid != names.disk.0 {
        return Err("its partition table is another one".into());
    }
    let used: Vec<_> = gpt.iter().filter(|(_, entry)| entry.is_used()).collect();
    let right = used.len() == disk::PARTS.len()
        && used.iter().zip(disk::PARTS.iter().zip(names.parts)).all(|((_, entry), ((kind, start, len), guid))| {
            entry.partition_type_guid == kind.guid.0
                && entry.unique_partition_guid == guid.0
                && (entry.starting_lba, entry.ending_lba) == (start / sector, (start + len) / sector - 1)
        });
    if !right {
        return Err("its partition table names other partitions".into());
    }
    disk.at = (target.size / sector - 1) * sector;
    let copy = gptman::GPTHeader::read_from(disk).map_err(text)?;
    let entries = copy.read_partitions(disk, sector).map_err(text)?;
    let same = (copy.disk_guid, copy.partition_entry_array_crc32)
        == (gpt.header.disk_guid, gpt.header.partition_entry_array_crc32)
        && copy.generate_partition_entry_array_crc32(&entries) == copy.partition_entry_array_crc32;
    if same { Ok(()) } else { Err("the copy of its partition table differs".into()) }
}

fn records(disk: &mut Direct, names: &disk::Names, boots: &disk::Boots) -> Result<(), String> {
    disk.at = disk::PARTS[1].1;
    let mut bytes = vec![0; usize::try_from(meta::SIZE).unwrap_or(0)];
    disk.read_exact(&mut bytes).map_err(|error| error.to_string())?;
    let region = |region: meta::Region| {
        let at = usize::try_from(region.offset).unwrap_or(0);
        &bytes[at..at + region.len]
    };
    for copy in [meta::HEADERS.a, meta::HEADERS.b] {
        if meta::Header::decode(region(copy)) != Ok(meta::Header::new(names.image)) {
            return Err("META's header is damaged".into());
        }
    }
    for copy in [meta::BOOT.a, meta::BOOT.b] {
        let state = record::decode(Kind::Boot, region(copy)).map(|record| State::decode(record.payload));
        if state != Some(Ok(boots.state())) {
            return Err("the boot state in META is damaged".into());
        }
    }
    Ok(())
}

/// The disk past the page cache; the last blocks are kept.
struct Direct {
    device: Device,
    size: u64,
    at: u64,
    kept: Vec<(u64, Vec<u8>)>,
}

impl Read for Direct {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size {
            return Ok(0);
        }
        let start = self.at / BLOCK * BLOCK;
        let found = match self.kept.iter().position(|(known, _)| *known == start) {
            Some(index) => self.kept.remove(index),
            None => {
                let len = usize::try_from((self.size - start).min(BLOCK)).unwrap_or(0);
                let bytes = self.device.read(start, len).map_err(io::Error::other)?;
                self.kept.truncate(KEPT - 1);
                (start, bytes)
            }
        };
        let skip = usize::try_from(self.at - start).unwrap_or(0);
        let count = buffer.len().min(found.1.len() - skip);
        buffer[..count].copy_from_slice(&found.1[skip..skip + count]);
        self.kept.insert(0, found);
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for Direct {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
