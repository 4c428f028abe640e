//! Which revision a starting machined puts into effect, and what it writes down before it does. Pure.
//!
//! ```text
//! trial under way --boots or time used up--> what it goes back to
//!        | else: one boot less
//! staged in another boot, readable --> current
//! current --not proven, and started too often--> blessed
//! what was chosen cannot be read --> blessed, the one before, what was current, none
//! ```
//! Invariant: what has not been proven is started at most [`ATTEMPTS`] times; each start is written to META before it happens.
//! A trial whose record does not name the current revision is over: it was cut off before it began, or after it ended.

use serde::{Deserialize, Serialize};

use super::revisions::{Id, Pointers};
use crate::trace::cut;

/// Starts of machined with a revision that never reached its own API. A machine that is switched off and on by an impatient
/// operator does not use them up.
pub const ATTEMPTS: u32 = 5;
/// Boots a trial may take: the reboot it may need, and two that nobody planned.
pub const BOOTS: u32 = 3;

/// Bytes of a reason: it lies with the pointers, which have their place and no more.
const REASON: usize = 1000;

/// In META: what is running and how often it was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The revision.
    pub revision: Id,
    /// Starts since it was last proven.
    #[serde(default)]
    pub attempts: u32,
    /// It runs on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
}

/// In META: a trial. It counts the machine's own running time, so no wrong clock can end or prolong it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Where it goes back to.
    pub back: Id,
    /// Seconds that are left, as last written.
    pub left_s: u32,
    /// Boots that are left.
    pub boots: u32,
    /// The boot it was last counted in.
    pub boot: String,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What to run; none: nothing can be read.
    pub revision: Option<Id>,
    /// What to write to STATE before.
    pub pointers: Pointers,
    /// What to write to META before.
    pub run: Option<Run>,
}

/// Decides. `why_not` says why a revision cannot be used, if it cannot.
pub fn choose(
    pointers: &Pointers,
    run: Option<&Run>,
    boot: &str,
    mut why_not: impl FnMut(Id) -> Option<String>,
) -> Choice {
    let mut next = pointers.clone();
    let mut trial = run
        .filter(|run| next.current == Some(run.revision) && next.blessed != Some(run.revision))
        .and_then(|run| run.trial.clone());
    if let Some(of) = &mut trial {
        if of.boot != boot {
            of.boots = of.boots.saturating_sub(1);
            boot.clone_into(&mut of.boot);
        }
        if of.boots == 0 || of.left_s == 0 {
            let why = if of.boots == 0 { "the machine was started too often" } else { "its time is over" };
            give_up(&mut next, Some(of.back), &format!("it was on trial, nobody confirmed it, and {why}"));
            trial = None;
        }
    }
    if trial.is_none()
        && next.staged_boot != boot
        && let Some(staged) = next.staged.take()
    {
        match why_not(staged) {
            None => next.current = Some(staged),
            Some(why) => {
                next.given_up = cut(format!("revision {staged} was staged, and cannot be used: {why}"), REASON);
            }
        }
    }
    let tried = |id| run.filter(|run| run.revision == id).map_or(0, |run| run.attempts);
    if let Some(current) = next.current
        && next.blessed.is_some_and(|blessed| blessed != current)
        && tried(current) >= ATTEMPTS
    {
        let blessed = next.blessed;
        give_up(&mut next, blessed, "the machine was started with it too often without reaching its own API");
        trial = None;
    }
    let mut why = None;
    let found = [next.current, next.blessed, next.before, pointers.current].into_iter().flatten().find(|id| {
        match why_not(*id) {
            None => true,
            Some(wrong) => {
                why.get_or_insert(wrong);
                false
            }
        }
    });
    if next.current.is_some() && found.is_none() {
        return Choice { revision: None, pointers: pointers.clone(), run: run.cloned() };
    }
    if next.current.is_some() && found != next.current {
        give_up(&mut next, found, why.as_deref().unwrap_or_default());
        trial = None;
    }
    let revision = next.current;
    let run = revision.map(|id| {
        let proven = next.blessed == Some(id);
        Run { revision: id, attempts: if proven { 0 } else { tried(id) + 1 }, trial }
    });
    Choice { revision, pointers: next, run }
}

/// Goes back; the reason is kept.
pub fn give_up(pointers: &mut Pointers, to: Option<Id>, why: &str) {
    if let Some(gone) = pointers.current {
        pointers.given_up = cut(format!("revision {gone} was given up: {why}"), REASON);
    }
    pointers.current = to;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pointers(current: u64, blessed: u64, staged: u64) -> Pointers {
        let some = |id: u64| (id > 0).then_some(id);
        Pointers { current: some(current), blessed: some(blessed), staged: some(staged), ..Pointers::default() }
    }

    fn run(revision: u64, attempts: u32, trial: Option<(u64, u32, u32)>) -> Run {
        let trial = trial.map(|(back, left_s, boots)| Trial { back, left_s, boots, boot: "old".into() });
        Run { revision, attempts, trial }
    }

    fn all(_: Id) -> Option<String> {
        None
    }

    #[test]
    fn a_machine_runs_what_is_current() {
        for (now, before, runs, attempts) in [
            (pointers(7, 7, 0), None, 7, 0),
            (pointers(7, 6, 0), None, 7, 1),
            (pointers(7, 6, 0), Some(run(7, 4, None)), 7, 5),
            (pointers(7, 6, 0), Some(run(6, 4, None)), 7, 1),
            (pointers(7, 6, 8), Some(run(7, 4, None)), 8, 1),
            (pointers(7, 6, 0), Some(run(7, 5, None)), 6, 0),
            // The first of all has nothing to go back to: it is tried for ever.
            (pointers(1, 0, 0), Some(run(1, 99, None)), 1, 100),
        ] {
            let choice = choose(&now, before.as_ref(), "new", all);
            assert_eq!(choice.revision, Some(runs), "{now:?}");
            assert_eq!(choice.run, Some(run(runs, attempts, None)), "{now:?}");
            assert_eq!(choice.pointers.current, Some(runs));
            assert_eq!(choice.pointers.staged, None);
        }
        assert_eq!(choose(&Pointers::default(), None, "new", all).revision, None);
    }

    #[test]
    fn a_trial_ends_by_boots_and_by_time_and_never_by_the_clock() {
        for (trial, runs) in [((6, 60, 3), 7), ((6, 60, 2), 7), ((6, 60, 1), 6), ((6, 0, 3), 6)] {
            let choice = choose(&pointers(7, 6, 0), Some(&run(7, 1, Some(trial))), "new", all);
            assert_eq!(choice.revision, Some(runs), "{trial:?}");
            let left = choice.run.unwrap().trial.map(|trial| (trial.boots, trial.boot));
            assert_eq!(left, (runs == 7).then(|| (trial.2 - 1, "new".into())));
            assert_eq!(choice.pointers.given_up.contains("on trial"), runs == 6);
        }
        // The same boot again: machined was restarted.
        let choice = choose(&pointers(7, 6, 0), Some(&run(7, 1, Some((6, 60, 1)))), "old", all);
        assert_eq!(choice.revision, Some(7));
        // Cut off before it began, or confirmed.
        for now in [pointers(6, 6, 0), pointers(7, 7, 0)] {
            let choice = choose(&now, Some(&run(7, 1, Some((6, 0, 0)))), "new", all);
            assert_eq!((choice.revision, choice.run.unwrap().trial), (now.current, None));
        }
    }

    #[test]
    fn what_cannot_be_read_is_given_up_for_what_can() {
        for (bad, runs) in [(vec![7], Some(6)), (vec![7, 6], Some(5)), (vec![5, 6], Some(7)), (vec![5, 6, 7], None)] {
            let now = Pointers { before: Some(5), ..pointers(7, 6, 0) };
            let choice = choose(&now, None, "new", |id| bad.contains(&id).then(|| "damaged".into()));
            assert_eq!(choice.revision, runs, "{bad:?}");
            if runs.is_none() {
                assert_eq!(choice.pointers, now, "nothing is concluded from what cannot be read");
            }
        }
        // Blessed itself, with one before it.
        let now = Pointers { before: Some(5), ..pointers(7, 7, 0) };
        assert_eq!(choose(&now, None, "new", |id| (id == 7).then(|| "x".into())).revision, Some(5));
        // A staged one that is damaged changes nothing.
        let choice = choose(&pointers(7, 7, 8), None, "new", |id| (id == 8).then(|| "torn".into()));
        assert_eq!((choice.revision, choice.pointers.staged), (Some(7), None));
        assert!(choice.pointers.given_up.contains("torn"));
    }

    proptest::proptest! {
        #[test]
        fn it_ends_in_something_readable_and_counts(
            current in 0u64..5, blessed in 0u64..5, before in 0u64..5, staged in 0u64..5, bad in 0u8..32,
            revision in 1u64..5, attempts in 0u32..9, trial in proptest::option::of((1u64..5, 0u32..3, 0u32..3)),
        ) {
            let now = Pointers { before: (before > 0).then_some(before), ..pointers(current, blessed, staged) };
            let broken = |id: Id| (bad & 1 << id != 0).then(|| "bad".to_owned());
            let choice = choose(&now, Some(&run(revision, attempts, trial)), "new", broken);
            if let Some(id) = choice.revision {
                proptest::prop_assert!(broken(id).is_none());
                proptest::prop_assert_eq!(choice.pointers.current, Some(id));
                let run = choice.run.unwrap();
                proptest::prop_assert_eq!(run.revision, id);
                if now.blessed.is_some_and(|b| b != id && broken(b).is_none()) && now.current == Some(id) {
                    proptest::prop_assert!(run.attempts <= ATTEMPTS + 1);
                }
            } else if let Some(blessed) = now.blessed.filter(|_| now.current.is_some()) {
                proptest::prop_assert!(broken(blessed).is_some());
            }
        }
    }
}
