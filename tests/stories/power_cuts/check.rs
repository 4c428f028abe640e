//! What a disk must hold after a power cut, whenever it comes: read with the readers of the loader and of machined, and with stock
//! fsck.vfat as the next start runs it.
//!
//! Invariant: it never asks which operation was cut off, but for the one question whether there may be no system yet.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    ops::Range,
    os::unix::fs::FileExt,
    path::PathBuf,
};

use anyhow::{Context, Result, ensure};
use boot::{
    Digest,
    entry::{self, Entry},
    meta::{self, Header, Pair},
    part,
    record::{self, Kind},
    state::State,
    uki,
};
use sha2::Digest as _;
use tests::{
    child,
    cuts::{File, Log, Scratch, Volume, Write},
    scratch,
};

use super::seen::{Seen, Starts};
use crate::boot_disk::{ESP, META};

const SECTOR: u64 = 512;
/// Read at once.
const CHUNK: u64 = 1 << 20;
const LOADER: &str = "efi/boot/bootx64.efi";

/// What was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) starts: Starts,
    /// The EFI partition was repaired, and that many lines were said of it.
    pub(super) mended: usize,
}

/// Looks at one state of a disk after another.
pub(super) struct Checker {
    /// Files with these contents are loaders.
    loaders: BTreeSet<Digest>,
    hashes: HashMap<Vec<Range<u64>>, Digest>,
    folder: scratch::Scratch,
}

impl Checker {
    pub(super) fn new(loaders: &[PathBuf]) -> Result<Self> {
        let digest = |path: &PathBuf| -> Result<Digest> { Ok(Digest(sha2::Sha256::digest(fs::read(path)?).into())) };
        let loaders = loaders.iter().map(digest).collect::<Result<_>>()?;
        Ok(Self { loaders, hashes: HashMap::new(), folder: scratch::Scratch::new()? })
    }

    /// Writes for good.
    pub(super) fn settle(&mut self, disk: &mut Scratch, log: &Log, write: &Write) -> Result<()> {
        let wrote = write.range();
        self.hashes.retain(|places, _| !places.iter().any(|place| place.start < wrote.end && wrote.start < place.end));
        disk.settle(log, write)
    }

    /// What the disk starts; an error when it is not what a cut may leave. `blank`: there may be no system on it.
    pub(super) fn check(&mut self, disk: &Scratch, blank: bool) -> Result<Found> {
        if !table(disk)? {
            ensure!(blank, "the partition table is gone");
            return Ok(Found { starts: Starts::Nothing, mended: 0 });
        }
        let esp = Volume::read(disk.file(), ESP).context("the EFI partition")?;
        let starts = self.look(disk, &esp)?;
        let Some((esp, mended)) = self.next_start(disk, &esp)? else { return Ok(Found { starts, mended: 0 }) };
        let after = self.look(disk, &esp).context("after the repair")?;
        ensure!(after == starts, "before the repair it starts {starts}, after it {after}");
        Ok(Found { starts, mended })
    }

    /// What the next start makes of the partition before anything is written to it; none: nothing, for it was not in use.
    fn next_start(&self, disk: &Scratch, esp: &Volume) -> Result<Option<(Volume, usize)>> {
        let path = self.folder.path().join("esp");
        let copy = fs::File::create(&path)?;
        copy.set_len(part::ESP.size.unwrap_or_default())?;
        for place in &esp.tables {
            let bytes = disk.bytes(ESP + place.start..ESP + place.end)?;
            // As sparse as the disk, so that the next one costs no more.
            for (at, block) in (place.start..).step_by(4096).zip(bytes.chunks(4096)) {
                if block.iter().any(|byte| *byte != 0) {
                    copy.write_all_at(block, at)?;
                }
            }
        }
        let fsck = |how: &str| -> Result<(Option<i32>, String)> {
            let output =
                child::free("fsck.vfat").arg(how).arg(&path).output().context("fsck.vfat; run `make setup`")?;
            Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).trim().to_owned()))
        };
        if !esp.dirty {
            let (code, said) = fsck("-n")?;
            ensure!(code == Some(0), "the EFI partition is not sound, and nothing says that it was in use:\n{said}");
            return Ok(None);
        }
        let (code, mended) = fsck("-a")?;
        ensure!(matches!(code, Some(0 | 1)), "the EFI partition cannot be repaired: {code:?}\n{mended}");
        let (code, said) = fsck("-n")?;
        ensure!(code == Some(0), "the EFI partition is not sound after the repair:\n{mended}\nand then:\n{said}");
        let volume = Volume::read(&fs::File::open(&path)?, 0).context("the EFI partition after the repair")?;
        Ok(Some((volume, mended.lines().count())))
    }

    fn look(&mut self, disk: &Scratch, esp: &Volume) -> Result<Starts> {
        let mut whole = BTreeSet::new();
        for (path, file) in &esp.files {
            // FAT has no case.
            let name = format!("/{path}").strip_prefix(&uki::FOLDER.to_ascii_lowercase()).map(str::to_owned);
            let Some(digest) = name.and_then(|name| Digest::of_path(&format!("{}{name}", uki::FOLDER))) else {
                continue;
            };
            if let Ok(file) = file
                && self.digest(disk, file)? == digest
            {
                whole.insert((digest, file.size));
            }
        }
        let entries = entries(disk, esp)?;
        let loader = esp.files.get(LOADER).context("there is no loader")?.as_ref().map_err(broken(LOADER))?;
        let loader = self.digest(disk, loader)?;
        ensure!(self.loaders.contains(&loader), "the loader is neither the old nor the new one: {loader}");
        let state = meta(disk)?;
        let seen = Seen { state, entries, whole };
        seen.check().with_context(|| format!("with {:?}, {:?} and {:?}", seen.state, seen.entries, esp.files))
    }

    fn digest(&mut self, disk: &Scratch, file: &File) -> Result<Digest> {
        let places: Vec<_> = file.places.iter().map(|place| ESP + place.start..ESP + place.end).collect();
        let known = !places.iter().any(|place| disk.tries(place));
        if let Some(digest) = self.hashes.get(&places).filter(|_| known) {
            return Ok(*digest);
        }
        let mut hash = sha2::Sha256::new();
        for place in &places {
            for start in (place.start..place.end).step_by(usize::try_from(CHUNK)?) {
                hash.update(disk.bytes(start..place.end.min(start + CHUNK))?);
            }
        }
        let digest = Digest(hash.finalize().into());
        if known {
            self.hashes.insert(places, digest);
        }
        Ok(digest)
    }
}

fn broken(path: &str) -> impl Fn(&String) -> anyhow::Error {
    let path = path.to_owned();
    move |why| anyhow::anyhow!("/{path}: {why}")
}

/// Whether a firmware finds the partitions, by the table or by its copy at the end.
pub(super) fn table(disk: &Scratch) -> Result<bool> {
    let Ok(gpt) = gptman::GPT::read_from(&mut disk.file().try_clone()?, SECTOR) else { return Ok(false) };
    let found = |kind: part::Kind, start: u64| {
        gpt.iter().any(|(_, one)| one.partition_type_guid == kind.guid.0 && one.starting_lba == start / SECTOR)
    };
    ensure!(found(part::ESP, ESP) && found(part::META, META), "the partition table names other partitions");
    Ok(true)
}

/// Our entries that can be read.
fn entries(disk: &Scratch, esp: &Volume) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (path, file) in &esp.files {
        let Some(name) = format!("/{path}").strip_prefix(entry::FOLDER).map(str::to_owned) else { continue };
        let Ok(file) = file else { continue };
        let mut bytes = Vec::new();
        for place in &file.places {
            bytes.extend(disk.bytes(ESP + place.start..ESP + place.end)?);
        }
        entries.extend(Entry::parse(&name, &bytes));
    }
    Ok(entries)
}

/// The boot state; header and records of others are sound.
fn meta(disk: &Scratch) -> Result<State> {
    let bytes = disk.bytes(META..META + meta::LOG.offset)?;
    let region = |region: meta::Region| {
        let at = usize::try_from(region.offset).unwrap_or_default();
        &bytes[at..at + region.len]
    };
    Header::decode_either(&bytes).map_err(|error| anyhow::anyhow!("{error}"))?;
    for (kind, Pair { a, b }) in [(Kind::Init, meta::INIT), (Kind::Machined, meta::MACHINED)] {
        // What is written for the first time has nothing to fall back to.
        let fresh = [a, b].iter().any(|one| region(*one).iter().all(|byte| *byte == 0));
        let newest = record::decode_newest(kind, region(a), region(b));
        ensure!(fresh || newest.is_some(), "META: the record {kind:?} is lost");
    }
    let newest = record::decode_newest(Kind::Boot, region(meta::BOOT.a), region(meta::BOOT.b));
    let (_, record) = newest.context("META: the boot state is lost")?;
    State::decode(record.payload).map_err(|error| anyhow::anyhow!("META: the boot state: {error}"))
}
