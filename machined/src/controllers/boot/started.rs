//! What of the machine's disk runs, why the loader chose it, and what it came back from: in words, for the boot record. Pure.

use boot::entry::Which;
use boot::state::{Cause, Chosen, Phase, State};

use crate::generations::{Running, View, rejected};
use crate::meta::Record;
use crate::resources::boot_record::{Failed, Started};

/// What runs.
pub(super) fn started(view: &View) -> Started {
    let started = |what: String| Started { what, ..Started::default() };
    let (which, this) = match &view.running {
        Running::Unknown => return started("unknown".into()),
        Running::Foreign(why) => return Started { why: why.clone(), ..started("other".into()) },
        Running::Generation(number) => {
            let this = Started { generation: Some(*number), ..started(format!("generation {number}")) };
            (Which::Generation(*number), this)
        }
        Running::Recovery => (Which::Recovery, started("recovery".into())),
    };
    let chosen = view.state.as_ref().and_then(|state| Some((state, state.chosen.filter(|one| one.which == which)?)));
    let Some((state, chosen)) = chosen else {
        return Started { detour: true, why: "the loader could not write down why".into(), ..this };
    };
    let trial = view.trial().is_some();
    let detour = !matches!(chosen.cause, Cause::Trial | Cause::Current);
    Started { trial, detour, why: why(state, &chosen, trial), rejected: turned_down(state, &chosen), ..this }
}

fn why(state: &State, chosen: &Chosen, trial: bool) -> String {
    match chosen.cause {
        Cause::Trial if !trial => "it was on trial, and is proven now".into(),
        Cause::Trial => {
            let tries = state.trial().map_or(0, |trial| match trial.phase {
                Phase::Trial { tries } => tries,
                _ => 0,
            });
            format!("it is on trial, with {tries} more starts")
        }
        Cause::Current => "it is current, and nothing is on trial".into(),
        Cause::Other => "the current generation could not be started, or never came up".into(),
        Cause::Asked => "it was asked for".into(),
        Cause::Last => "nothing that is proven could be started, or came up".into(),
        Cause::Stateless => "the boot state could not be used: it is the oldest that is proven".into(),
    }
}

fn turned_down(state: &State, chosen: &Chosen) -> Vec<String> {
    let slots = ["a", "b"].into_iter().zip(&state.slots);
    let slots = slots.map(|(slot, found)| match found {
        Some(generation) => format!("generation {}", generation.number),
        None => format!("what was in slot {slot}"),
    });
    let names = slots.chain(["recovery".to_owned()]);
    let all = names.zip(chosen.rejected);
    all.filter_map(|(name, reject)| Some(format!("{name}: {}", rejected(reject?)))).collect()
}

/// The newest that failed, unless something newer was proven since.
pub(super) fn failed(view: &View, record: &Record) -> Option<Failed> {
    let slots = view.state.iter().flat_map(|state| state.slots.iter().flatten());
    let proven = slots.filter(|one| one.phase == Phase::Blessed).map(|one| one.number).max().unwrap_or(0);
    let newest = record.failed.iter().max_by_key(|failed| failed.generation)?;
    (newest.generation > proven).then(|| Failed {
        generation: newest.generation,
        version: newest.version.clone(),
        reason: newest.why.clone(),
        reached: newest.phase.clone(),
        starts: newest.starts,
        time_unix: newest.time_unix,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot::state::{Failure, Reject};
    use boot::uki::{Digest, Uki};

    fn uki(number: u8) -> Uki {
        Uki { digest: Digest([number; 32]), size: 10 }
    }

    fn view(state: State, which: Which, cause: Cause, rejected: [Option<Reject>; 3]) -> View {
        let state = State { chosen: Some(Chosen { which, cause, rejected }), ..state };
        let running = match which {
            Which::Generation(number) => Running::Generation(number),
            Which::Recovery => Running::Recovery,
        };
        View { running, state: Some(state), problem: String::new() }
    }

    #[test]
    fn what_runs_and_why_and_what_was_turned_down() {
        let (trial, _) = State::first(uki(1), Some(uki(9))).stage(1, uki(2)).unwrap();
        let now = started(&view(trial, Which::Generation(2), Cause::Trial, [None; 3]));
        assert_eq!((&*now.what, now.trial, &*now.why), ("generation 2", true, "it is on trial, with 3 more starts"));
        let proven = trial.bless(2, 1).unwrap();
        let now = started(&view(proven, Which::Generation(2), Cause::Trial, [None; 3]));
        assert_eq!((now.trial, &*now.why), (false, "it was on trial, and is proven now"));
        let rejected = [None, Some(Reject::Damaged), Some(Reject::Missing)];
        let now = started(&view(proven, Which::Generation(1), Cause::Other, rejected));
        assert!(now.rejected[0].starts_with("generation 2: the file is damaged"), "{now:?}");
        assert_eq!((now.rejected.len(), &*now.rejected[1]), (2, "recovery: the file is missing"));
        assert!(now.detour);
        let now = started(&view(proven, Which::Recovery, Cause::Asked, [None; 3]));
        assert_eq!((&*now.what, now.generation, &*now.why), ("recovery", None, "it was asked for"));
        let foreign = View { running: Running::Foreign("by hand".into()), ..View::default() };
        let now = started(&foreign);
        assert_eq!((&*now.what, &*now.why), ("other", "by hand"));
        assert_eq!(started(&View::default()).what, "unknown");
        let stateless = View { running: Running::Generation(1), ..View::default() };
        assert!(started(&stateless).why.contains("could not write"));
    }

    #[test]
    fn what_failed_is_told_until_something_newer_is_proven() {
        let (trial, number) = State::first(uki(1), None).stage(1, uki(2)).unwrap();
        let state = trial.fail(number, Failure::Gate).unwrap();
        let one = |generation| crate::meta::Failed { generation, why: "gates".into(), ..Default::default() };
        let record = Record { failed: vec![one(2)], ..Record::default() };
        let after = |state| view(state, Which::Generation(1), Cause::Current, [None; 3]);
        assert_eq!(failed(&after(state), &record).unwrap().reason, "gates");
        assert_eq!(failed(&after(state), &Record::default()), None);
        let (next, number) = state.empty(1).stage(1, uki(3)).unwrap();
        assert!(failed(&after(next), &record).is_some(), "the next one is on trial only");
        assert_eq!(failed(&after(next.bless(number, 0).unwrap()), &record), None);
    }
}
