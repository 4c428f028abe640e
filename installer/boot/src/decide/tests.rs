//! A disk in memory, and every order of what can happen to it. The loader's loop and machined's changes are the real ones.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::change::Refusal;
use crate::entry::Text;
use crate::record::{self, Kind, Record, Slot};
use crate::state::TRIES;
use crate::uki::Uki;

const SECTOR: usize = 512;

/// A UKI of the model: its content is its number; recovery is 0.
fn uki(number: u32) -> Uki {
    let mut digest = [0x11; 32];
    digest[..4].copy_from_slice(&number.to_le_bytes());
    Uki { digest: Digest(digest), size: 1000 + u64::from(number) }
}

/// A disk with both copies of the state, the UKIs and the entries.
#[derive(Clone)]
struct Disk {
    copies: [Vec<u8>; 2],
    /// Whether each file is whole.
    files: BTreeMap<Digest, bool>,
    entries: BTreeMap<String, Vec<u8>>,
    writable: bool,
    /// The next write of the loader is cut off after so many bytes, and the power with it.
    cut: Option<usize>,
    off: bool,
    starts: BTreeMap<u32, u32>,
    blessed: BTreeSet<u32>,
    running: Option<Which>,
}

impl Disk {
    fn new() -> Self {
        let mut disk = Self {
            copies: [vec![0; SECTOR], vec![0; SECTOR]],
            files: [(uki(1).digest, true), (uki(0).digest, true)].into(),
            entries: BTreeMap::new(),
            writable: true,
            cut: None,
            off: false,
            starts: BTreeMap::new(),
            blessed: [1].into(),
            running: None,
        };
        disk.list(Which::Generation(1), uki(1).digest);
        disk.list(Which::Recovery, uki(0).digest);
        disk.write_both(&State::first(uki(1), Some(uki(0))));
        disk
    }

    fn list(&mut self, which: Which, digest: Digest) {
        let text = Text { which, digest, version: "1" }.to_string();
        self.entries.insert(which.to_string(), text.into_bytes());
    }

    fn state(&self) -> Option<State> {
        let newest = record::decode_newest(Kind::Boot, &self.copies[0], &self.copies[1]);
        newest.and_then(|(_, record)| State::decode(record.payload).ok())
    }

    fn write(&mut self, state: &State) -> bool {
        if !self.writable {
            return false;
        }
        let (slot, seq) = record::next(record::decode_newest(Kind::Boot, &self.copies[0], &self.copies[1]));
        let mut sector = vec![0; SECTOR];
        record::encode(Kind::Boot, Record { seq, payload: &state.encode() }, &mut sector).unwrap();
        let to = &mut self.copies[usize::from(slot == Slot::B)];
        if let Some(cut) = self.cut.take() {
            let cut = cut.min(SECTOR);
            to[..cut].copy_from_slice(&sector[..cut]);
            self.off = true;
            return false;
        }
        *to = sector;
        self.state() == Some(*state)
    }

    /// As machined writes: both copies, so that the loss of one loses nothing.
    fn write_both(&mut self, state: &State) {
        let _ = self.write(state) && self.write(state);
    }

    fn found(&self) -> Vec<Entry> {
        self.entries.iter().filter_map(|(name, bytes)| Entry::parse(name, bytes)).collect()
    }

    /// The loader runs. None when the power went or there was nothing to start.
    fn boot(&mut self) -> Option<Choice> {
        self.off = false;
        let (state, entries) = (self.state(), self.found());
        let chosen = choose(self, state.as_ref(), &entries).map(|(choice, ())| choice);
        self.cut = None;
        self.running = chosen.map(|choice| choice.which);
        if self.off {
            self.running = None;
        }
        if let Some(Which::Generation(number)) = self.running {
            *self.starts.entry(number).or_default() += 1;
        }
        chosen.filter(|_| !self.off)
    }

    fn running(&self) -> Option<u32> {
        match self.running {
            Some(Which::Generation(number)) => Some(number),
            _ => None,
        }
    }

    /// machined stages a new generation; the power goes after `steps` of it.
    fn stage(&mut self, steps: usize) -> Result<(), Refusal> {
        let Some(state) = self.state() else { return Ok(()) };
        let slot = state.free_slot(self.running())?;
        let old = state.slots[slot];
        let empty = state.empty(slot);
        let (_, number) = empty.stage(slot, uki(state.next))?;
        let mut left = steps;
        let mut goes_on = || left.checked_sub(1).map(|now| left = now).is_some();
        if goes_on() {
            self.write_both(&empty);
        }
        if let Some(old) = old {
            if goes_on() {
                self.entries.remove(&Which::Generation(old.number).to_string());
            }
            if goes_on() {
                self.files.remove(&old.uki.digest);
            }
        }
        if goes_on() {
            self.files.insert(uki(number).digest, false);
        }
        if goes_on() {
            self.files.insert(uki(number).digest, true);
        }
        if goes_on() {
            self.write_both(&empty.stage(slot, uki(number))?.0);
        }
        Ok(())
    }

    /// What runs has come up.
    fn up(&mut self) {
        if let Some(state) = self.state().filter(|_| self.running.is_some()) {
            self.write_both(&state.up());
        }
    }

    /// What runs blesses itself if it is on trial; the power may go between state and entry.
    fn bless(&mut self, cut: bool) {
        let (Some(state), Some(number)) = (self.state(), self.running()) else { return };
        let Ok(new) = state.bless(number, 1) else { return };
        if !self.writable {
            return;
        }
        self.write_both(&new);
        self.blessed.insert(number);
        if !cut {
            self.list(Which::Generation(number), uki(number).digest);
        }
    }
}

impl Machine for Disk {
    type Loaded = ();

    fn save(&mut self, state: &State) -> bool {
        !self.off && self.write(state)
    }

    fn load(&mut self, choice: &Choice) -> Result<(), Reject> {
        match self.files.get(&choice.digest) {
            None => Err(Reject::Missing),
            Some(false) => Err(Reject::Damaged),
            Some(true) => Ok(()),
        }
    }
}

/// What can happen to a machine.
#[derive(Clone, Debug)]
enum Event {
    Boot { cut: Option<usize> },
    Bless { cut: bool },
    Fail,
    Stage { steps: usize },
    RollBack,
    AskRecovery,
    Up,
    ReadOnly(bool),
    LoseEntry(usize),
    GarbageEntry(usize, Vec<u8>),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => prop_oneof![3 => Just(None), 1 => (0..SECTOR).prop_map(Some)].prop_map(|cut| Event::Boot { cut }),
        3 => any::<bool>().prop_map(|cut| Event::Bless { cut }),
        1 => Just(Event::Fail),
        4 => (0..9usize).prop_map(|steps| Event::Stage { steps }),
        1 => Just(Event::RollBack),
        1 => Just(Event::AskRecovery),
        3 => Just(Event::Up),
        1 => any::<bool>().prop_map(Event::ReadOnly),
        1 => any::<usize>().prop_map(Event::LoseEntry),
        1 => (any::<usize>(), proptest::collection::vec(any::<u8>(), 0..80)).prop_map(|(at, bytes)| Event::GarbageEntry(at, bytes)),
    ]
}

/// Faults of the disk itself.
#[derive(Clone, Debug)]
enum Fault {
    Rot(usize),
    LoseFile(usize),
    DamageFile(usize),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        (0..2usize).prop_map(Fault::Rot),
        any::<usize>().prop_map(Fault::LoseFile),
        any::<usize>().prop_map(Fault::DamageFile),
    ]
}

fn happen(disk: &mut Disk, event: Event) {
    match event {
        Event::Boot { cut } => {
            disk.cut = cut;
            disk.boot();
        }
        Event::Bless { cut } => disk.bless(cut),
        Event::Fail => {
            if let (Some(state), Some(number)) = (disk.state(), disk.running())
                && let Ok(new) = state.fail(number, Failure::Gate)
            {
                disk.write_both(&new);
            }
            disk.running = None;
        }
        // machined runs only where something runs; recovery can stage, too.
        Event::Stage { steps } if disk.running.is_some() && disk.writable => {
            let _ = disk.stage(steps);
            if steps < 8 {
                disk.running = None;
            }
        }
        Event::Stage { .. } => {}
        Event::RollBack => {
            if let Some(state) = disk.state() {
                let other = state.slots.iter().flatten().find(|generation| generation.number != state.current);
                if let Some(Ok(new)) = other.map(|generation| state.roll_back(generation.number)) {
                    disk.write_both(&new);
                }
            }
        }
        Event::AskRecovery => {
            if let Some(state) = disk.state() {
                disk.write_both(&State { recover: true, ..state });
            }
        }
        Event::Up => disk.up(),
        Event::ReadOnly(yes) => disk.writable = !yes,
        Event::LoseEntry(at) => {
            if let Some(name) = disk.entries.keys().nth(at % disk.entries.len().max(1)).cloned() {
                disk.entries.remove(&name);
            }
        }
        Event::GarbageEntry(at, bytes) => {
            if let Some(name) = disk.entries.keys().nth(at % disk.entries.len().max(1)).cloned() {
                disk.entries.insert(name, bytes);
            }
        }
    }
}

fn strike(disk: &mut Disk, fault: Fault) {
    let at = |disk: &Disk, at: usize| disk.files.keys().nth(at % disk.files.len().max(1)).copied();
    match fault {
        Fault::Rot(copy) => disk.copies[copy].fill(0xa5),
        Fault::LoseFile(which) => {
            if let Some(digest) = at(disk, which) {
                disk.files.remove(&digest);
            }
        }
        Fault::DamageFile(which) => {
            if let Some(digest) = at(disk, which) {
                disk.files.insert(digest, false);
            }
        }
    }
}

/// Boots until it is something else than a trial: never more often than tries are left.
fn settle(disk: &mut Disk) -> Option<Which> {
    for _ in 0..=TRIES {
        let choice = disk.boot()?;
        if choice.cause != Cause::Trial {
            return Some(choice.which);
        }
    }
    panic!("a trial was started more often than it may");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// With a disk that keeps what it was given: always a blessed generation, never recovery unless asked, the trial at most
    /// its tries.
    #[test]
    fn any_order_of_events_ends_in_what_is_blessed(events in proptest::collection::vec(event(), 0..40)) {
        let mut disk = Disk::new();
        for event in events {
            happen(&mut disk, event);
            for (number, starts) in &disk.starts {
                prop_assert!(disk.blessed.contains(number) || *starts <= u32::from(TRIES), "{number} was started {starts} times");
            }
        }
        disk.writable = true;
        disk.cut = None;
        match settle(&mut disk) {
            Some(Which::Generation(number)) => prop_assert!(disk.blessed.contains(&number)),
            Some(Which::Recovery) => {
                disk.up();
                let again = settle(&mut disk);
                prop_assert!(matches!(again, Some(Which::Generation(number)) if disk.blessed.contains(&number)));
            }
            None => prop_assert!(false, "nothing was started"),
        }
    }

    /// With a disk that loses files and sectors besides: something blessed, or recovery, as long as one of them is whole.
    #[test]
    fn a_disk_that_loses_things_still_starts(
        events in proptest::collection::vec(event(), 0..25), faults in proptest::collection::vec(fault(), 1..4),
        more in proptest::collection::vec(event(), 0..10), read_only: bool,
    ) {
        let mut disk = Disk::new();
        for event in events {
            happen(&mut disk, event);
        }
        for fault in faults {
            strike(&mut disk, fault);
        }
        for event in more {
            happen(&mut disk, event);
        }
        disk.writable = !read_only;
        disk.cut = None;
        let whole: BTreeSet<Digest> = disk.files.iter().filter(|(_, whole)| **whole).map(|(digest, _)| *digest).collect();
        let mut can: Vec<Digest> = disk.found().iter().map(|entry| entry.digest).collect();
        if let Some(state) = disk.state() {
            let blessed = state.slots.iter().flatten().filter(|generation| generation.phase == Phase::Blessed);
            can.extend(blessed.map(|generation| generation.uki.digest));
            can.extend(state.recovery.map(|uki| uki.digest));
        }
        let can = can.iter().any(|digest| whole.contains(digest));
        match settle(&mut disk) {
            Some(Which::Generation(number)) => prop_assert!(disk.blessed.contains(&number), "{number} was never blessed"),
            Some(Which::Recovery) => {}
            None => prop_assert!(!can, "there was something to start"),
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written(
        current: u32, slots in proptest::array::uniform2(proptest::option::of(generation())), recover: bool, strikes in 0..ROUND, boots: u32,
        recovery: bool, cause in 0..7usize, rejected in proptest::array::uniform3(0..7u8), rest in proptest::array::uniform32(any::<u8>()),
    ) {
        let mut long = [0; 64];
        long[..32].copy_from_slice(&rest);
        let mut slots = slots;
        if let [Some(a), Some(b)] = &mut slots {
            b.number = a.number + 1;
            b.phase = Phase::Blessed;
        }
        let reject = |code: u8| [None, Some(Reject::Missing), Some(Reject::Unreadable), Some(Reject::Length), Some(Reject::Damaged),
            Some(Reject::Refused), Some(Reject::Unloadable)][usize::from(code)];
        let causes = [None, Some(Cause::Trial), Some(Cause::Current), Some(Cause::Other), Some(Cause::Asked), Some(Cause::Last),
            Some(Cause::Stateless)];
        let chosen = causes[cause].map(|cause| Chosen { which: Which::Generation(7), cause, rejected: rejected.map(reject) });
        let state = State { current, next: 2000, recover, strikes, boots, recovery: recovery.then(|| uki(0)), slots, chosen, rest: long };
        prop_assert_eq!(State::decode(&state.encode()), Ok(state));
    }
}

fn generation() -> impl Strategy<Value = Generation> {
    let phase = prop_oneof![
        any::<u8>().prop_map(|tries| Phase::Trial { tries }),
        Just(Phase::Blessed),
        Just(Phase::Failed(Failure::Tries)),
        Just(Phase::Failed(Failure::Gate)),
        Just(Phase::Failed(Failure::Operator)),
        Just(Phase::Failed(Failure::File(Reject::Damaged))),
    ];
    (1..1000u32, phase, any::<u64>()).prop_map(|(number, phase, revision)| Generation {
        number,
        uki: uki(number),
        phase,
        revision,
    })
}

/// Every byte of both sectors, flipped one at a time: the other copy says the same.
#[test]
fn every_flipped_byte_of_the_state_changes_nothing() {
    let mut disk = Disk::new();
    disk.running = Some(Which::Generation(1));
    disk.stage(9).unwrap();
    let state = disk.state().unwrap();
    for at in 0..2 * SECTOR {
        for by in [1, 0x80, 0xff] {
            let mut struck = disk.clone();
            struck.copies[at / SECTOR][at % SECTOR] ^= by;
            assert_eq!(struck.state(), Some(state), "{at}");
            assert_eq!(struck.boot().map(|choice| choice.which), Some(Which::Generation(2)));
        }
    }
}

#[test]
fn a_trial_gets_its_tries_and_then_the_proven_one_runs_and_says_why() {
    let mut disk = Disk::new();
    disk.boot();
    disk.stage(9).unwrap();
    for left in (0..TRIES).rev() {
        let choice = disk.boot().unwrap();
        assert_eq!((choice.which, choice.cause), (Which::Generation(2), Cause::Trial));
        assert_eq!(disk.state().unwrap().trial().unwrap().phase, Phase::Trial { tries: left });
    }
    let choice = disk.boot().unwrap();
    assert_eq!((choice.which, choice.cause), (Which::Generation(1), Cause::Current));
    assert_eq!(disk.state().unwrap().generation(2).unwrap().phase, Phase::Failed(Failure::Tries));
    // The failed one makes room.
    disk.stage(9).unwrap();
    assert_eq!(disk.boot().unwrap().which, Which::Generation(3));
}

#[test]
fn a_trial_whose_file_is_damaged_fails_without_a_start() {
    let mut disk = Disk::new();
    disk.boot();
    disk.stage(9).unwrap();
    disk.files.insert(uki(2).digest, false);
    assert_eq!(disk.boot().unwrap().which, Which::Generation(1));
    let state = disk.state().unwrap();
    assert_eq!(state.generation(2).unwrap().phase, Phase::Failed(Failure::File(Reject::Damaged)));
    assert_eq!(state.chosen.unwrap().rejected, [None, Some(Reject::Damaged), None]);
}

#[test]
fn nothing_on_trial_is_started_without_a_state_or_without_writing() {
    let mut disk = Disk::new();
    disk.boot();
    disk.stage(9).unwrap();
    let mut deaf = disk.clone();
    deaf.writable = false;
    assert_eq!(deaf.boot().unwrap().which, Which::Generation(1));
    let mut torn = disk.clone();
    torn.copies = [vec![7; SECTOR], vec![7; SECTOR]];
    let choice = torn.boot().unwrap();
    assert_eq!((choice.which, choice.cause), (Which::Generation(1), Cause::Stateless));
    torn.files.remove(&uki(1).digest);
    assert_eq!(torn.boot().unwrap().which, Which::Recovery);
    torn.files.clear();
    assert_eq!(torn.boot(), None);
}

#[test]
fn what_never_comes_up_makes_room_for_the_other_then_for_recovery_and_gets_another_round() {
    let mut disk = Disk::new();
    disk.boot();
    disk.up();
    disk.stage(9).unwrap();
    disk.boot();
    disk.bless(false);
    disk.up();
    let round: Vec<Which> = (0..ROUND).map(|_| disk.boot().unwrap().which).collect();
    let (first, rest) = round.split_at(usize::from(STRIKES));
    let (second, third) = rest.split_at(usize::from(STRIKES));
    assert!(first.iter().all(|which| *which == Which::Generation(2)));
    assert!(second.iter().all(|which| *which == Which::Generation(1)));
    assert!(third.iter().all(|which| *which == Which::Recovery));
    assert_eq!(disk.boot().unwrap().which, Which::Generation(2));
    assert_eq!(disk.state().unwrap().boots, u32::from(ROUND) + 3);
    for _ in 0..50 {
        assert_eq!(disk.boot().unwrap().which, Which::Generation(2));
        disk.up();
    }
}

#[test]
fn a_state_of_another_disk_hides_no_entry() {
    let mut disk = Disk::new();
    let mut state = State::first(uki(77), None);
    state.slots[0].as_mut().unwrap().phase = Phase::Failed(Failure::Other(0xee));
    disk.write_both(&state);
    assert_eq!(disk.state(), Some(state));
    let choice = disk.boot().unwrap();
    assert_eq!((choice.which, choice.digest, choice.cause), (Which::Generation(1), uki(1).digest, Cause::Stateless));
}

#[test]
fn recovery_is_started_once_when_asked_for() {
    let mut disk = Disk::new();
    let state = disk.state().unwrap();
    disk.write_both(&State { recover: true, ..state });
    let mut deaf = disk.clone();
    deaf.writable = false;
    assert_eq!(deaf.boot().unwrap().which, Which::Generation(1));
    assert_eq!(disk.boot().unwrap().cause, Cause::Asked);
    assert_eq!(disk.boot().unwrap().which, Which::Generation(1));
}

#[test]
fn a_lost_state_is_rebuilt_of_entries_and_never_uses_a_number_twice() {
    let found = [(3, uki(3)), (7, uki(7))];
    let state = State::rebuilt(3, &found, Some(uki(0)), 12).unwrap();
    assert_eq!((state.current, state.next), (3, 12));
    assert_eq!(State::decode(&state.encode()), Ok(state));
    let numbers: Vec<_> = state.slots.iter().flatten().map(|one| (one.number, one.phase)).collect();
    assert_eq!(numbers, [(3, Phase::Blessed), (7, Phase::Blessed)]);
    assert_eq!(State::rebuilt(7, &found, None, 2).unwrap().next, 8);
    assert_eq!(State::rebuilt(5, &found, None, 2), None, "what runs has no entry");
}

fuzz::targets! {
    boot_state: |bytes| {
        let mut long = bytes.to_vec();
        long.resize(crate::state::LEN, 0);
        long[..2].copy_from_slice(&1u16.to_le_bytes());
        if let Ok(state) = State::decode(&long) {
            assert_eq!(State::decode(&state.encode()), Ok(state));
            let _ = decide(Some(&state), &[], &Seen::default());
            let _ = state.free_slot(None).map(|slot| state.empty(slot).stage(slot, uki(9)));
        }
    },
}
