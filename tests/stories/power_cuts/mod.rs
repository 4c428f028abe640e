//! Power cuts, proven: of every operation that a story recorded, the disks that a cut may have left are made and looked at, and
//! some of them are switched on.
//!
//! One more operation is one more name for [`Recorder::during`]. A failure names the state: the same number of states gives the
//! same ones again from the same record.

mod check;
mod seen;
mod wrong;

use std::{cmp::Reverse, collections::BTreeSet, fmt::Write as _, ops::Range};

use anyhow::{Context, Result, ensure};
use boot::{
    entry::Which,
    meta,
    record::{self, Kind},
    state::{Phase, State},
};
use tests::{
    artifacts,
    cuts::{Cut, Entry, Log, Part, Recorder, Scratch, Write, cuts},
    runner::Story,
    vm::{BOOT, EmulatorHang, Vm},
};

use self::{check::Checker, seen::Starts};
use crate::boot_disk::{BootDisk, META, ROOMY};

const SEED: u64 = 5;

/// How much of it there is for each operation.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// Disks that are looked at.
    pub(crate) states: usize,
    /// Of these, those that are switched on.
    pub(crate) boots: usize,
}

/// In every run.
pub(crate) const SOME: Extent = Extent { states: 60, boots: 1 };
/// In the long one.
pub(crate) const MANY: Extent = Extent { states: 300, boots: 3 };

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("what_is_written_in_the_wrong_order_is_found_by_the_proof_of_power_cuts", wrong::story)]
}

/// A part of what was written, that one operation wrote.
struct Operation {
    name: String,
    parts: Vec<Range<usize>>,
    /// There may be no system on the disk, until there is one again.
    blank: bool,
}

/// Proves all operations that were recorded on a disk, which began as [`BootDisk::roomy`]: these.
pub(crate) fn prove(recorder: &Recorder, extent: Extent, wanted: &[&str]) -> Result<()> {
    let (log, recorded) = recorder.read()?;
    let mut operations: Vec<Operation> = Vec::new();
    for Part { operation: name, entries } in recorded.into_iter().flat_map(|part| split(&log, part)) {
        match operations.iter_mut().find(|one| one.name == name) {
            Some(one) => one.parts.push(entries),
            None => operations.push(Operation { blank: name == "install", name, parts: Vec::from([entries]) }),
        }
    }
    let names: Vec<_> = operations.iter().map(|one| one.name.as_str()).collect();
    ensure!(names == wanted, "recorded were {names:?}, not {wanted:?}");
    let loaders = [artifacts::test_image(), artifacts::next_test_image(), artifacts::product_image("cloud")];
    let loaders = loaders.iter().map(|image| image.loader()).collect::<Result<Vec<_>>>()?;
    for operation in &operations {
        let mut checker = Checker::new(&loaders)?;
        let picked = operation.look(&log, &mut checker, extent).with_context(|| operation.name.clone())?;
        switch_on(&log, &picked).with_context(|| operation.name.clone())?;
    }
    Ok(())
}

/// What an upgrade writes from the moment that the trial is proven is the blessing.
fn split(log: &Log, part: Part) -> Vec<Part> {
    let Range { start, end } = part.entries;
    let blessing = if part.operation == "upgrade" { blessing(log, start..end) } else { None };
    match blessing {
        Some(at) => {
            vec![Part { entries: start..at, ..part }, Part { operation: "bless".to_owned(), entries: at..end }]
        }
        None => vec![part],
    }
}

/// The first write of a boot state in which nothing is on trial after one in which something was.
fn blessing(log: &Log, part: Range<usize>) -> Option<usize> {
    let mut trial = None;
    for index in part {
        let Entry::Write(write) = log.entries()[index] else { continue };
        let Some(state) = written_state(log, &write) else { continue };
        match state.trial() {
            Some(one) => trial = Some(one.number),
            None => {
                let of = trial.and_then(|number| state.generation(number));
                if of.is_some_and(|one| one.phase == Phase::Blessed) {
                    return Some(index);
                }
            }
        }
    }
    None
}

fn written_state(log: &Log, write: &Write) -> Option<State> {
    let here = |region: &meta::Region| META + region.offset == write.at && region.len as u64 == write.len;
    [meta::BOOT.a, meta::BOOT.b].iter().find(|region| here(region))?;
    let bytes = log.bytes(write).ok()?;
    State::decode(record::decode(Kind::Boot, &bytes)?.payload).ok()
}

/// The copy of the table.
const END: u64 = ROOMY - (1 << 20);

/// What is looked at: the table and its copy, the EFI partition, META but for the tail of the log.
fn counts(write: &Write) -> bool {
    let wrote = write.range();
    wrote.start < META + meta::LOG.offset || wrote.end > END
}

/// A state that is worth more than a look.
struct Picked {
    cut: Cut,
    starts: Starts,
    mended: usize,
}

impl Operation {
    /// Looks at all states; returns those to be switched on, as they follow each other.
    fn look(&self, log: &Log, checker: &mut Checker, extent: Extent) -> Result<Vec<Picked>> {
        let base = BootDisk::roomy()?;
        let mut disk = Scratch::new(&base.path())?;
        let (mut at, mut all, mut starts) = (0, Vec::new(), BTreeSet::new());
        let (mut gone, mut made) = (false, false);
        let parts = self.parts.len();
        for (number, part) in self.parts.iter().enumerate() {
            let count = extent.states * (number + 1) / parts - extent.states * number / parts;
            for cut in cuts(log, part.clone(), count, SEED, counts) {
                settle(checker, &mut disk, log, at..cut.durable)?;
                at = cut.durable;
                let there = check::table(&disk)?;
                made |= gone && there;
                gone |= !there;
                for (write, keeps) in cut.tries(log).filter(|(write, _)| counts(write)) {
                    disk.try_out(log, write, keeps)?;
                }
                let found = checker
                    .check(&disk, self.blank && !made)
                    .with_context(|| format!("part {number}, {}", cut.told(log)))?;
                disk.take_back()?;
                starts.insert(found.starts);
                all.push(Picked { cut, starts: found.starts, mended: found.mended });
            }
        }
        let mut told = String::new();
        for one in &starts {
            let count = all.iter().filter(|picked| picked.starts == *one).count();
            write!(told, ", {count} start {one}")?;
        }
        let mended = all.iter().filter(|picked| picked.mended > 0).count();
        println!("power cuts in {}: {} disks{told}; {mended} were repaired", self.name, all.len());
        ensure!(all.len() == extent.states, "{} disks, not {}", all.len(), extent.states);
        // Otherwise whatever was to be cut was not in the record.
        ensure!(starts.len() > 1, "every disk starts the same: {starts:?}");
        // Those that there was most to repair of, each after another flush.
        all.retain(|one| one.starts != Starts::Nothing);
        let worse = |one: &Picked| Reverse((one.mended, one.cut.end - one.cut.durable));
        all.sort_by_key(|one| (one.cut.durable, worse(one)));
        all.dedup_by_key(|one| one.cut.durable);
        all.sort_by_key(worse);
        all.truncate(extent.boots);
        all.sort_by_key(|one| one.cut.durable);
        Ok(all)
    }
}

/// Writes these entries for good.
fn settle(checker: &mut Checker, disk: &mut Scratch, log: &Log, entries: Range<usize>) -> Result<()> {
    for entry in &log.entries()[entries] {
        if let Entry::Write(write) = entry {
            checker.settle(disk, log, write)?;
        }
    }
    Ok(())
}

/// Starts machines with these disks: each starts what the check said, and its API answers.
fn switch_on(log: &Log, picked: &[Picked]) -> Result<()> {
    let base = BootDisk::roomy()?;
    let mut disk = Scratch::new(&base.path())?;
    let mut at = 0;
    for Picked { cut, starts, .. } in picked {
        for entry in &log.entries()[at..cut.durable] {
            if let Entry::Write(write) = entry {
                disk.settle(log, write)?;
            }
        }
        at = cut.durable;
        for (write, keeps) in cut.tries(log) {
            disk.try_out(log, write, keeps)?;
        }
        let own = base.another()?;
        disk.take_back()?;
        let said = match starts {
            Starts::Nothing => continue,
            Starts::Proven(Which::Recovery) => "starting recovery".to_owned(),
            Starts::Proven(Which::Generation(number)) | Starts::Trial(number) => {
                format!("stele-loader: starting generation {number} (")
            }
        };
        let starts_so = || -> Result<()> {
            // Of its own again: the emulator may hang, and then it is switched on once more.
            let vm = Vm::start(&own.another()?.whole_spec()?)?;
            vm.wait_line(&said, BOOT)?;
            vm.wait_line("stele: api ready", BOOT).map(drop)
        };
        let started = match starts_so() {
            Err(error) if error.is::<EmulatorHang>() => starts_so(),
            other => other,
        };
        started.with_context(|| format!("{cut:?} starts {starts}"))?;
    }
    Ok(())
}
