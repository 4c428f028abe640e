//! The proof itself: it must find what is written in the wrong order. No machine; an upgrade's writes as the host makes them.

use anyhow::{Context, Result, bail, ensure};
use rustix::fs::SeekFrom;
use tests::cuts::{Log, Scratch, Writer, cuts};

use super::{SEED, check::Checker, counts};
use crate::boot_disk::{BootDisk, ESP, META, RUNS, program};

/// Of the boot sector: the file system is in use.
const STATE: u64 = ESP + 0x41;
const SECTOR: u64 = 512;
/// Compared at once.
const CHUNK: u64 = 1 << 20;
const STATES: usize = 60;

/// What an upgrade writes, by where it lies.
struct Writes {
    in_use: Vec<Sectors>,
    unused: Vec<Sectors>,
    esp: Vec<Sectors>,
    meta: Vec<Sectors>,
}

/// What is written, and where.
type Sectors = (u64, Vec<u8>);

pub(super) fn story() -> Result<()> {
    let before = BootDisk::roomy()?;
    let after = before.another()?;
    let uki = [program(RUNS, 1), vec![7; 300_000]].concat();
    after.stage(&uki)?;
    let writes = Writes::between(&before, &after)?;
    let Writes { in_use, unused, esp, meta } = &writes;
    proven(&before, &[in_use, esp, unused, meta]).context("the right order")?;
    let together = [&esp[..], &meta[..]].concat();
    let wrong: [(&str, &[&[Sectors]], &str); 3] = [
        ("the state before the file", &[in_use, meta, esp, unused], "and its UKI is not whole"),
        ("no flush between file and state", &[in_use, &together, unused], "and its UKI is not whole"),
        ("nothing says that the file system is in use", &[esp, meta], "nothing says that it was in use"),
    ];
    for (name, order, why) in wrong {
        let Err(found) = proven(&before, order) else { bail!("{name}: nothing was found") };
        ensure!(found.root_cause().to_string().contains(why), "{name}: found was something else: {found:#}");
    }
    Ok(())
}

/// Checks the states of writes with a flush after each group.
fn proven(before: &BootDisk, groups: &[&[Sectors]]) -> Result<()> {
    let own = before.another()?;
    let path = own.path().with_extension("log");
    let mut writer = Writer::new(&path)?;
    for group in groups {
        for (at, bytes) in *group {
            writer.write(*at, bytes)?;
        }
        writer.flush()?;
    }
    let log = Log::read(&path)?;
    let mut checker = Checker::new(&[tests::artifacts::test_image().loader()?])?;
    let mut disk = Scratch::new(&own.path())?;
    let all = cuts(&log, 0..log.entries().len(), STATES, SEED, counts);
    let mut at = 0;
    for cut in all {
        super::settle(&mut checker, &mut disk, &log, at..cut.durable)?;
        at = cut.durable;
        for (write, keeps) in cut.tries(&log) {
            disk.try_out(&log, write, keeps)?;
        }
        checker.check(&disk, false).with_context(|| format!("{cut:?}"))?;
        disk.take_back()?;
    }
    Ok(())
}

impl Writes {
    fn between(before: &BootDisk, after: &BootDisk) -> Result<Self> {
        let (old, new) = (Scratch::new(&before.path())?, Scratch::new(&after.path())?);
        let mut boot = old.bytes(ESP..ESP + SECTOR)?;
        let unused = vec![(ESP, boot.clone())];
        boot[usize::try_from(STATE - ESP)?] |= 1;
        // What was written later only adds to the places where the file holds anything.
        let differ = |from: u64, to: u64| -> Result<Vec<Sectors>> {
            let (mut all, mut start) = (Vec::new(), from);
            while let Ok(found) = rustix::fs::seek(new.file(), SeekFrom::Data(start)) {
                start = found;
                let end = to.min(start + CHUNK);
                if start >= to {
                    break;
                }
                let (old, new) = (old.bytes(start..end)?, new.bytes(start..end)?);
                if old != new {
                    let pairs = (start..).step_by(512).zip(old.chunks(512).zip(new.chunks(512)));
                    all.extend(pairs.filter(|(_, (old, new))| old != new).map(|(at, (_, new))| (at, new.to_vec())));
                }
                start = end;
            }
            Ok(all)
        };
        Ok(Self { in_use: vec![(ESP, boot)], unused, esp: differ(ESP, META)?, meta: differ(META, META + (1 << 20))? })
    }
}
