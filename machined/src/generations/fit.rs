//! Whether another generation may take a slot: what the EFI partition holds and has room for, before anything of it is changed. Pure.

use ::boot::state::{Phase, State};
use ::boot::uki::Uki;
use config::image::esp::Done;

use super::settle::named;
use crate::jobs::Failed;

/// Refuses to empty this slot when the upgrade could not be written, or would leave nothing that can be started; otherwise what is
/// not as it should be. `look` was made with what stays after that.
pub(super) fn may_empty(state: &State, slot: usize, look: &Done) -> Result<Vec<String>, Failed> {
    if let Some(lack) = look.room.as_ref().and_then(|room| room.lack()) {
        let remedy = "what lies on the EFI partition and is not ours: make room there";
        return Err(Failed::refused(format!("space: {lack}"), remedy));
    }
    let damaged = |uki: Uki| look.damaged.contains(&named(uki.digest));
    let mut warnings = Vec::new();
    if let Some(current) = state.generation(state.current).filter(|current| damaged(current.uki)) {
        let number = current.number;
        let reason = format!("the UKI of generation {number}, which is current, is damaged on the EFI partition");
        let whole = |number: u32| look.found.iter().any(|found| found.generation == Some(number));
        let other = state.slots[slot].filter(|other| other.phase == Phase::Blessed && whole(other.number));
        if let Some(other) = other {
            let other = other.number;
            let remedy = format!(
                "put it back: apictl upgrade --image with the version of generation {number}; or go to the other one first: \
                 apictl rollback --to {other}"
            );
            return Err(Failed::refused(format!("{reason}: only generation {other} could be started"), remedy));
        }
        warnings.push(format!("{reason}: there is nothing to go back to"));
    }
    if state.recovery.is_some_and(damaged) {
        warnings.push("the UKI of the recovery system on the EFI partition is damaged".into());
    }
    Ok(warnings)
}

#[cfg(test)]
mod tests {
    use ::boot::uki::Digest;
    use config::image::esp::{Foreign, Found, Room};

    use super::*;

    fn uki(number: u8) -> Uki {
        Uki { digest: Digest([number; 32]), size: 10 }
    }

    /// Generation 1 is the other one, 2 is current, 9 is recovery.
    fn state() -> State {
        let (state, number) = State::first(uki(1), Some(uki(9))).stage(1, uki(2)).unwrap();
        state.bless(number, 0).unwrap()
    }

    fn look(damaged: &[u8], found: &[u32]) -> Done {
        let found = found.iter().map(|number| {
            let digest = named(Digest([u8::try_from(*number).unwrap(); 32]));
            Found { generation: Some(*number), digest, size: 10 }
        });
        let damaged = damaged.iter().map(|number| named(Digest([*number; 32]))).collect();
        Done { damaged, found: found.collect(), ..Done::default() }
    }

    #[test]
    fn what_could_be_started_alone_is_not_thrown_away() {
        assert_eq!(may_empty(&state(), 0, &look(&[], &[1, 2])).unwrap(), [""; 0]);
        let refused = may_empty(&state(), 0, &look(&[2], &[1])).unwrap_err();
        assert!(refused.reason.contains("generation 2, which is current, is damaged"), "{}", refused.reason);
        assert!(refused.remedy.contains("apictl rollback --to 1"), "{}", refused.remedy);
        // Nothing could be started anyway: the upgrade may only mend.
        let warned = may_empty(&state(), 0, &look(&[2, 9], &[])).unwrap();
        assert!(warned.len() == 2 && warned[0].contains("nothing to go back to"), "{warned:?}");
        assert_eq!(may_empty(&State::first(uki(1), None), 1, &look(&[1], &[])).unwrap().len(), 1);
    }

    #[test]
    fn a_partition_that_is_full_of_others_files_is_refused_with_their_names() {
        let foreign = vec![Foreign { path: "/EFI/theirs.img".into(), size: 30 << 20 }];
        let room = Some(Room { free: 10 << 20, needed: 70 << 20, foreign });
        let refused = may_empty(&state(), 0, &Done { room, ..look(&[], &[1, 2]) }).unwrap_err();
        assert!(refused.reason.contains("70 MiB are needed, 60 MiB are missing"), "{}", refused.reason);
        assert!(refused.reason.contains("/EFI/theirs.img (30 MiB)"), "{}", refused.reason);
    }
}
