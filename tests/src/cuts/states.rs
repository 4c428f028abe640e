//! The states that a power cut may leave a disk in: up to some entry of its log everything was asked for. What a flush ended is
//! there; of what came after the last flush any sectors are, in any order.
//!
//! That a later write of a sector came first to the disk and an earlier one over it is the same as the later one being lost.
//! Invariant: the same log, part and seed give the same states.

use std::{collections::BTreeSet, ops::Range};

use super::log::{Entry, Log, SECTOR, Write};

/// One state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// The entries of the log before this are durable.
    pub durable: usize,
    /// Those from here on were never asked for.
    pub end: usize,
    left: Left,
}

/// What is left of what was not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// The power went right after the flush.
    Nothing,
    /// Right before the next one.
    All,
    /// All but one, by its entry.
    AllBut(usize),
    /// One alone.
    One(usize),
    /// Any, by this number.
    Any(u64),
}

/// What is left of one write.
#[derive(Clone, Copy)]
enum Piece {
    Gone,
    Whole,
    /// Sectors up to this one.
    Head(u64),
    /// Sectors from this one on.
    Tail(u64),
    Torn(u64),
}

impl Cut {
    /// Which of the writes that are not durable are there, with the question which of their sectors are.
    pub fn tries<'a>(&'a self, log: &'a Log) -> impl Iterator<Item = (&'a Write, impl Fn(u64) -> bool + use<>)> {
        let pending = self.durable..self.end;
        writes(log, pending.clone()).map(move |(index, write)| {
            let piece = self.piece(index, write);
            let keeps = move |sector| match piece {
                Piece::Gone => false,
                Piece::Whole => true,
                Piece::Head(to) => sector < to,
                Piece::Tail(from) => sector >= from,
                Piece::Torn(seed) => mixed(seed, sector) & 1 == 0,
            };
            (write, keeps)
        })
    }

    /// For who looks for the cause: the writes that are not durable, and how many of their sectors are there.
    pub fn told(&self, log: &Log) -> String {
        let writes: Vec<_> = self
            .tries(log)
            .map(|(write, keeps)| {
                let sectors = write.len / SECTOR;
                let there = (0..sectors).filter(|sector| keeps(*sector)).count();
                format!("{:#x}: {there} of {sectors}", write.at)
            })
            .collect();
        format!("{self:?}, with these sectors: {}", writes.join(", "))
    }

    fn piece(&self, index: usize, write: &Write) -> Piece {
        // One that needs no flush is durable as soon as another one was asked for.
        if write.durable && index + 1 < self.end {
            return Piece::Whole;
        }
        let whole = |there| if there { Piece::Whole } else { Piece::Gone };
        match self.left {
            Left::Nothing => Piece::Gone,
            Left::All => Piece::Whole,
            Left::AllBut(one) => whole(index != one),
            Left::One(one) => whole(index == one),
            Left::Any(seed) => {
                // Most of them there, or few, or half; and up to a quarter torn.
                let there = [10, 50, 50, 90][(mixed(seed, 0) % 4) as usize];
                let chance = mixed(seed, 1 + index as u64);
                let (part, more) = (1 + (chance >> 16) % (write.len / SECTOR).max(1), chance >> 32);
                match (chance % 100 < there, chance / 100 % 16) {
                    (_, 0 | 1) => Piece::Torn(more),
                    (_, 2) => Piece::Head(part),
                    (_, 3) => Piece::Tail(part),
                    (there, _) => whole(there),
                }
            }
        }
    }
}

/// The writes among some entries, with their index.
fn writes(log: &Log, among: Range<usize>) -> impl Iterator<Item = (usize, &Write)> {
    among.clone().zip(&log.entries()[among]).filter_map(|(index, entry)| match entry {
        Entry::Write(write) => Some((index, write)),
        Entry::Flush => None,
    })
}

/// Picks this many states of a part of a log, in the order of the log: at most half of them right before a flush, the others in
/// between. `counts` says which writes are looked at at all; without any there is no state.
pub fn cuts(log: &Log, part: Range<usize>, count: usize, seed: u64, counts: impl Fn(&Write) -> bool) -> BTreeSet<Cut> {
    let spans = spans(log, &part, &counts);
    let mut all = BTreeSet::new();
    // The disk as the operation found it.
    all.extend(spans.first().map(|span| Cut { durable: span.durable, end: span.durable, left: Left::Nothing }));
    let step = (spans.len() * 2).div_ceil(count.max(1)).max(1);
    all.extend(spans.iter().step_by(step).map(|span| Cut { durable: span.durable, end: span.end, left: Left::All }));
    let places: Vec<&Span> = spans.iter().flat_map(|span| std::iter::repeat_n(span, span.weight())).collect();
    for number in 0.. {
        if all.len() >= count || places.is_empty() {
            break;
        }
        let mut chance = mixed(seed, number);
        let mut of = |count: usize| {
            chance = mixed(chance, 0);
            usize::try_from(chance % count as u64).unwrap_or_default()
        };
        let span = places[of(places.len())];
        let one = span.writes[of(span.writes.len())];
        let (end, left) = match of(8) {
            0 => (span.end, Left::AllBut(one)),
            1 => (span.end, Left::One(one)),
            2 => (one + 1, Left::All),
            3 | 4 => (one + 1, Left::Any(number)),
            _ => (span.end, Left::Any(number)),
        };
        all.insert(Cut { durable: span.durable, end, left });
    }
    all
}

/// From one flush to the next.
struct Span {
    durable: usize,
    end: usize,
    /// The writes that count.
    writes: Vec<usize>,
}

impl Span {
    /// How often it is looked into: the more there is in it, the more can become of it.
    fn weight(&self) -> usize {
        self.writes.len().min(8)
    }
}

/// Those with a write that counts. What was not durable when the part began belongs to the first.
fn spans(log: &Log, part: &Range<usize>, counts: impl Fn(&Write) -> bool) -> Vec<Span> {
    let before = log.entries()[..part.start].iter().rposition(|entry| *entry == Entry::Flush);
    let start = before.map_or(0, |flush| flush + 1);
    let flushes = part.clone().filter(|index| log.entries()[*index] == Entry::Flush).collect::<Vec<_>>();
    let starts = std::iter::once(start).chain(flushes.iter().map(|flush| flush + 1));
    let ends = flushes.iter().copied().chain([part.end]);
    let all = starts.zip(ends).map(|(durable, end)| {
        let counted = writes(log, durable..end).filter(|(_, write)| counts(write)).map(|(index, _)| index);
        Span { durable, end, writes: counted.collect() }
    });
    all.filter(|span| !span.writes.is_empty()).collect()
}

/// A number that is a function of both and looks like chance (Steele, Lea, Flood: SplitMix).
fn mixed(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuts::log::Writer;

    /// Each write is of two sectors, and in a place of its own.
    fn log(groups: &[u64]) -> (tempfile::TempDir, Log) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut writer = Writer::new(&path).unwrap();
        let mut place = 0;
        for writes in groups {
            for _ in 0..*writes {
                writer.write(place, &[1; 1024]).unwrap();
                place += 1024;
            }
            writer.flush().unwrap();
        }
        let log = Log::read(&path).unwrap();
        (folder, log)
    }

    #[test]
    fn states_are_legal_repeat_and_have_both_ends_of_every_flush() {
        let (_folder, log) = log(&[2, 3, 1]);
        let all = cuts(&log, 0..log.entries().len(), 60, 1, |_| true);
        assert_eq!(all.len(), 60);
        assert_eq!(all, cuts(&log, 0..log.entries().len(), 60, 1, |_| true));
        assert_ne!(all, cuts(&log, 0..log.entries().len(), 60, 2, |_| true));
        let mut torn = 0;
        for cut in &all {
            // Nothing that a flush ended is open, and nothing is there that was not asked for.
            assert!([0, 3, 7].contains(&cut.durable), "{cut:?}");
            assert!(!log.entries()[cut.durable..cut.end].contains(&Entry::Flush), "{cut:?}");
            torn += cut.tries(&log).filter(|(_, keeps)| keeps(0) != keeps(1)).count();
        }
        assert!(torn > 5, "{torn}");
        for (durable, end) in [(0, 2), (3, 6), (7, 8)] {
            assert!(all.contains(&Cut { durable, end, left: Left::All }));
        }
        assert!(all.contains(&Cut { durable: 0, end: 0, left: Left::Nothing }));
    }

    #[test]
    fn a_part_begins_with_what_was_not_durable_then_and_others_writes_make_no_state() {
        let (_folder, log) = log(&[2, 3, 1]);
        let all = cuts(&log, 5..8, 20, 1, |write| write.at < 5 * 1024);
        assert_eq!(all.len(), 20);
        assert!(all.iter().all(|cut| cut.durable == 3 && cut.end <= 6), "{all:?}");
        assert!(cuts(&log, 0..9, 20, 1, |_| false).is_empty());
    }
}
