//! What the loader sees of a disk, what it makes of that, and what must be so whenever the power went.

use std::{collections::BTreeSet, fmt};

use anyhow::{Context, Result, ensure};
use boot::{
    Digest, Uki,
    decide::{self, Choice},
    entry::{Entry, Which},
    state::{Phase, Reject, State},
};

/// What a disk does when it is switched on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Starts {
    /// It has no partition table.
    Nothing,
    /// What is proven.
    Proven(Which),
    /// What is on trial.
    Trial(u32),
}

impl fmt::Display for Starts {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => to.write_str("nothing"),
            Self::Proven(Which::Recovery) => to.write_str("recovery"),
            Self::Proven(Which::Generation(number)) => write!(to, "generation {number}"),
            Self::Trial(number) => write!(to, "generation {number} on trial"),
        }
    }
}

/// What the loader sees.
pub(super) struct Seen {
    pub(super) state: State,
    pub(super) entries: Vec<Entry>,
    /// UKIs whose file is whole.
    pub(super) whole: BTreeSet<(Digest, u64)>,
}

impl Seen {
    /// What starts; an error when a cut may not leave this.
    pub(super) fn check(&self) -> Result<Starts> {
        let State { slots, recovery, .. } = self.state;
        let needed = slots.iter().flatten().filter(|one| !matches!(one.phase, Phase::Failed(_)));
        for one in needed {
            ensure!(self.is_whole(&one.uki), "generation {} is {:?}, and its UKI is not whole", one.number, one.phase);
        }
        ensure!(recovery.is_none_or(|uki| self.is_whole(&uki)), "the UKI of recovery is not whole");
        for entry in &self.entries {
            ensure!(self.has(entry.digest), "an entry names a UKI that is not whole: {entry:?}");
        }
        let complete = slots.iter().flatten().filter(|one| one.phase == Phase::Blessed && self.is_whole(&one.uki));
        let listed = |number| Which::Generation(number);
        let mut complete = complete.filter(|one| {
            self.entries.iter().any(|entry| (entry.which, entry.digest) == (listed(one.number), one.uki.digest))
        });
        ensure!(complete.next().is_some(), "no generation that is proven and whole has its entry");

        let starts = self.starts(true, None)?;
        // With a disk that cannot be written, or when the trial comes to nothing, something proven starts.
        let trial = self.state.trial().map(|one| one.uki.digest);
        for (writable, without) in [(false, None), (true, trial)] {
            let starts = self.starts(writable, without)?;
            ensure!(matches!(starts, Starts::Proven(_)), "{starts} would start");
        }
        let mut host = Host { seen: self, writable: true, without: None };
        let stateless = decide::choose(&mut host, None, &self.entries).map(|(choice, ())| choice.which);
        let proven = stateless.filter(|which| match which {
            Which::Generation(number) => {
                self.state.generation(*number).is_none_or(|known| known.phase == Phase::Blessed)
            }
            Which::Recovery => false,
        });
        ensure!(proven.is_some(), "without a boot state {stateless:?} would start");
        Ok(starts)
    }

    /// What the loader starts; `without`: this UKI cannot be.
    fn starts(&self, writable: bool, without: Option<Digest>) -> Result<Starts> {
        let mut host = Host { seen: self, writable, without };
        let (choice, ()) =
            decide::choose(&mut host, Some(&self.state), &self.entries).context("nothing would start")?;
        match choice.which {
            Which::Recovery if self.state.recover => Ok(Starts::Proven(Which::Recovery)),
            Which::Recovery => anyhow::bail!("nothing but recovery would start"),
            Which::Generation(number) => match self.state.generation(number).map(|one| one.phase) {
                Some(Phase::Blessed) => Ok(Starts::Proven(choice.which)),
                Some(Phase::Trial { .. }) => Ok(Starts::Trial(number)),
                phase => anyhow::bail!("generation {number} would start, which is {phase:?}"),
            },
        }
    }

    fn is_whole(&self, uki: &Uki) -> bool {
        self.whole.contains(&(uki.digest, uki.size))
    }

    fn has(&self, digest: Digest) -> bool {
        self.whole.iter().any(|(known, _)| *known == digest)
    }
}

struct Host<'a> {
    seen: &'a Seen,
    writable: bool,
    without: Option<Digest>,
}

impl decide::Machine for Host<'_> {
    type Loaded = ();

    fn save(&mut self, _: &State) -> bool {
        self.writable
    }

    fn load(&mut self, choice: &Choice) -> Result<(), Reject> {
        let there = self.seen.has(choice.digest) && self.without != Some(choice.digest);
        if there { Ok(()) } else { Err(Reject::Damaged) }
    }
}
