//! Disks with any boot state, entries and files there may be: on each the loader starts what `boot::decide` says on the host,
//! and leaves the boot state that it says.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use boot::{
    Digest, Uki,
    decide::{self, Choice},
    entry::{Entry, FOLDER, Text, Which},
    record::Slot,
    state::{Failure, Generation, Phase, Reject, State, TRIES},
};
use fastrand::Rng;
use tests::vm::{BOOT, Vm};

use super::STARTING;
use crate::boot_disk::{BootDisk, RUNS, program};

/// What a story of every run tries.
pub(super) fn some() -> Result<()> {
    each(0..30)
}

/// And the long one.
pub(super) fn many() -> Result<()> {
    each(1000..1200)
}

fn each(seeds: std::ops::Range<u64>) -> Result<()> {
    let empty = BootDisk::of_image()?;
    for folder in ["/EFI/stele/*", "/loader/entries/*"] {
        empty.remove(folder)?;
    }
    for seed in seeds {
        let case = Case::put(&mut Rng::with_seed(seed), empty.another()?).with_context(|| format!("disk {seed}"))?;
        case.check().with_context(|| format!("disk {seed}: {:?}, {:?}, {:?}", case.state, case.entries, case.files))?;
    }
    Ok(())
}

/// A disk and what is known of it. The known part is also the machine that the decision is run on here.
struct Case {
    disk: BootDisk,
    state: Option<State>,
    entries: Vec<Entry>,
    /// What comes of each UKI.
    files: BTreeMap<Digest, Result<(), Reject>>,
}

impl Case {
    fn put(random: &mut Rng, disk: BootDisk) -> Result<Self> {
        let mut case = Self { disk, state: None, entries: Vec::new(), files: BTreeMap::new() };
        let ukis = (0..4).map(|tag| case.put_uki(random, tag)).collect::<Result<Vec<_>>>()?;
        case.put_state(random, &ukis)?;
        for (number, uki) in (1..).zip(&ukis[..3]) {
            case.put_entry(random, Which::Generation(number), uki)?;
        }
        case.put_entry(random, Which::Recovery, &ukis[3])?;
        Ok(case)
    }

    /// A UKI that is there, or damaged in one of the ways there are.
    fn put_uki(&mut self, random: &mut Rng, tag: u32) -> Result<Uki> {
        let good = program(RUNS, tag);
        let mut held = good.clone();
        let (uki, comes) = match random.u8(0..10) {
            0 => (self.disk.put_uki(&good, None)?, Err(Reject::Missing)),
            1 => {
                held.truncate(random.usize(0..good.len()));
                (self.disk.put_uki(&good, Some(&held))?, Err(Reject::Length))
            }
            2 => {
                held[random.usize(0..good.len())] ^= random.u8(1..);
                (self.disk.put_uki(&good, Some(&held))?, Err(Reject::Damaged))
            }
            // As somebody made it, and no program.
            3 => {
                held[..64].fill(0);
                (self.disk.put_uki(&held, Some(&held))?, Err(Reject::Unloadable))
            }
            _ => (self.disk.put_uki(&good, Some(&good))?, Ok(())),
        };
        self.files.insert(uki.digest, comes);
        Ok(uki)
    }

    fn put_state(&mut self, random: &mut Rng, ukis: &[Uki]) -> Result<()> {
        let mut state = State::first(ukis[0], random.bool().then_some(ukis[3]));
        state.current = random.u32(1..4);
        state.next = 4;
        state.recover = random.u8(0..6) == 0;
        state.strikes = random.u8(0..4);
        for slot in 0..2 {
            let number = random.u32(1..3) + u32::try_from(slot)?;
            let phase = match random.u8(0..5) {
                0 | 1 => Phase::Trial { tries: random.u8(0..=TRIES) },
                2 => Phase::Failed(Failure::Gate),
                _ => Phase::Blessed,
            };
            let uki = ukis[usize::try_from(number)? - 1];
            state.slots[slot] = (random.u8(0..5) > 0).then_some(Generation { number, uki, phase, revision: 0 });
        }
        // Two of one number or two trials are no state; then neither is on this disk.
        let state = State::decode(&state.encode()).ok().filter(|_| random.u8(0..5) > 0);
        for slot in [Slot::A, Slot::B] {
            let garbage: Vec<u8> = (0..4096).map(|_| random.u8(..)).collect();
            self.disk.set_region(slot, &garbage)?;
        }
        if let Some(state) = &state {
            self.disk.set_state(state)?;
        }
        self.state = state;
        Ok(())
    }

    fn put_entry(&mut self, random: &mut Rng, which: Which, uki: &Uki) -> Result<()> {
        let entry = Entry { which, digest: uki.digest };
        let mut text = Text { which, digest: uki.digest, version: "0.1.0" }.to_string().into_bytes();
        match random.u8(0..6) {
            0 => return Ok(()),
            1 => text.truncate(random.usize(0..text.len())),
            2 => text.iter_mut().for_each(|byte| *byte = random.u8(..)),
            _ => self.entries.push(entry),
        }
        self.disk.put(&format!("{FOLDER}{which}"), &text)
    }

    fn check(&self) -> Result<()> {
        let mut host = Host { files: &self.files, saved: self.state };
        let wanted = decide::choose(&mut host, self.state.as_ref(), &self.entries).map(|(choice, ())| choice.which);
        let vm = Vm::start(&self.disk.spec()?)?;
        match wanted {
            None => drop(vm.wait_line("nothing on this disk can be started", BOOT)?),
            Some(which) => {
                let line = vm.wait_line(STARTING, BOOT)?;
                let name = match which {
                    Which::Generation(number) => format!("generation {number} ("),
                    Which::Recovery => "recovery (".to_owned(),
                };
                ensure!(line.contains(&name), "wanted {which}:\n{}", vm.console.tail(20));
            }
        }
        drop(vm);
        let found = self.disk.state()?.map(|(_, state)| state);
        ensure!(found == host.saved, "left {found:?}, wanted {:?}", host.saved);
        Ok(())
    }
}

/// The same disk on the host.
struct Host<'a> {
    files: &'a BTreeMap<Digest, Result<(), Reject>>,
    saved: Option<State>,
}

impl decide::Machine for Host<'_> {
    type Loaded = ();

    fn save(&mut self, state: &State) -> bool {
        self.saved = Some(*state);
        true
    }

    fn load(&mut self, choice: &Choice) -> Result<(), Reject> {
        match (self.files.get(&choice.digest).copied().unwrap_or(Err(Reject::Missing)), choice.size) {
            // Without a length to compare the content tells, unless there is none.
            (Err(Reject::Length), None) => Err(Reject::Damaged),
            (comes, _) => comes,
        }
    }
}
