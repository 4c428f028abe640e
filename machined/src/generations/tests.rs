use ::boot::entry::Which;
use ::boot::state::{Cause, Chosen};
use ::boot::uki::{Digest, Uki};

use super::running::{Known, Told, decide};
use super::*;
use crate::meta::tests::fresh;

pub(super) fn uki(number: u8) -> Uki {
    Uki { digest: Digest([number; 32]), size: 1000 }
}

/// Generation 1 blessed, 2 on trial and started.
pub(super) fn on_trial() -> State {
    let first = State::first(uki(1), Some(uki(9)));
    let (mut state, number) = first.stage(1, uki(2)).unwrap();
    state.chosen = Some(Chosen { which: Which::Generation(number), cause: Cause::Trial, rejected: [None; 3] });
    state.boots = 5;
    state
}

fn told(entry: &str) -> Told {
    let from = Some("aa".to_owned());
    Told { efi: true, entry: Some(entry.into()), loader_from: from.clone(), stub_from: from, trial: false }
}

#[test]
fn the_loaders_word_counts_only_with_the_state_of_the_disk() {
    let state = on_trial();
    let is = |told: Option<&Told>, boots| decide(told, Some(&state), Known { boots, which: None });
    assert_eq!(is(Some(&told("stele-00000002.conf")), None), Running::Generation(2));
    assert_eq!(is(Some(&told("stele-00000001.conf")), None), Running::Generation(1));
    assert_eq!(is(Some(&told("stele-recovery.conf")), None), Running::Recovery);
    let foreign = |running: Running| assert!(matches!(running, Running::Foreign(_)), "{running:?}");
    foreign(is(Some(&told("stele-00000003.conf")), None));
    foreign(is(Some(&told("other.conf")), None));
    foreign(is(Some(&Told::default()), None));
    foreign(is(Some(&Told { entry: None, ..told("") }), None));
    foreign(is(Some(&Told { stub_from: Some("bb".into()), ..told("stele-00000001.conf") }), None));
    foreign(is(Some(&Told { loader_from: None, stub_from: None, ..told("stele-00000001.conf") }), None));
    // Variables that cannot be read: a start that was counted since is this one.
    assert_eq!(is(None, Some(4)), Running::Generation(2));
    assert_eq!(is(None, None), Running::Generation(2));
    let mute = Told { efi: true, ..Told::default() };
    assert_eq!(is(Some(&mute), Some(4)), Running::Generation(2), "they can be read, and nobody could write them");
    foreign(is(Some(&mute), Some(5)));
    // A machined after the one that found out.
    let known = |which| Known { boots: Some(5), which: Some(which) };
    assert_eq!(decide(None, Some(&state), known(Which::Generation(2))), Running::Generation(2));
    assert_eq!(decide(None, Some(&state), known(Which::Recovery)), Running::Recovery);
    foreign(is(None, Some(5)));
    assert_eq!(decide(Some(&told("stele-00000001.conf")), None, Known::default()), Running::Generation(1));
    // Another start than the one the state knows cannot have been of a trial.
    let mut other = state;
    other.chosen = None;
    foreign(decide(Some(&told("stele-00000002.conf")), Some(&other), Known::default()));
}

pub(super) async fn machine(folder: &std::path::Path, state: &State, running: Running) -> (meta::Handle, Handle) {
    let path = fresh(folder);
    let meta = meta::Handle::new("0f3e1d2c-0000-4000-8000-000000000001");
    meta.attach(&path).await.unwrap();
    let first = *state;
    meta.change_boot(move |_| Ok::<_, ()>(first)).await.unwrap().unwrap();
    let handle = Handle::new(meta.clone());
    handle.look();
    handle.runs(running);
    (meta, handle)
}

#[tokio::test]
async fn a_trial_is_blessed_with_its_revision_and_both_copies_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let (meta, handle) = machine(folder.path(), &on_trial(), Running::Generation(2)).await;
    assert_eq!(handle.view().trial(), Some(2));
    handle.bless(7).await.unwrap();
    let view = handle.view();
    let state = view.state.unwrap();
    assert_eq!((view.trial(), state.current, state.generation(2).unwrap().revision), (None, 2, 7));
    drop((meta, handle));
    let path = folder.path().join("meta");
    let bytes = std::fs::read(&path).unwrap();
    for copy in [::boot::meta::BOOT.a, ::boot::meta::BOOT.b] {
        let mut torn = bytes.clone();
        let at = usize::try_from(copy.offset).unwrap();
        torn[at..at + 512].fill(0xa5);
        std::fs::write(&path, torn).unwrap();
        let again = meta::Handle::new("two");
        again.read(&path).await.unwrap();
        assert_eq!(again.boot(), BootState::Known(Box::new(state)));
    }
}

#[tokio::test]
async fn a_failed_trial_is_remembered_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (meta, handle) = machine(folder.path(), &on_trial(), Running::Generation(2)).await;
    handle.fail("the gate web never opened", "gates").await.unwrap();
    let state = handle.view().state.unwrap();
    assert_eq!(state.generation(2).unwrap().phase, Phase::Failed(Failure::Gate));
    assert_eq!(state.current, 1);
    let failed = meta.record().failed;
    assert_eq!((failed.len(), failed[0].why.as_str(), failed[0].starts), (1, "the gate web never opened", 0));
    assert_eq!(failed[0].digest, "02".repeat(32));
}

#[tokio::test]
async fn what_is_foreign_changes_nothing_and_rolling_back_takes_what_is_proven() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = on_trial();
    state = state.bless(2, 7).unwrap();
    let (_, handle) = machine(folder.path(), &state, Running::Foreign("test".into())).await;
    assert!(matches!(handle.bless(1).await, Err(Error::Foreign(_))));
    assert!(matches!(handle.fail("x", "y").await, Err(Error::Foreign(_))));
    handle.runs(Running::Generation(2));
    assert!(matches!(handle.roll_back(Some(3), "").await, Err(Error::Refused(_))));
    assert!(matches!(handle.roll_back(Some(2), "").await, Err(Error::Runs(2))));
    assert_eq!(handle.roll_back(None, "").await.unwrap(), 1);
    assert_eq!(handle.roll_back(None, "").await.unwrap(), 1, "asked again before it stopped");
    assert_eq!(handle.roll_back(Some(2), "").await.unwrap(), 2, "and taken back");
    handle.recover(true).await.unwrap();
    assert!(handle.view().state.unwrap().recover);
}

#[tokio::test]
async fn rolling_back_ends_a_trial_and_from_recovery_takes_the_one_that_is_not_current() {
    let folder = tempfile::tempdir().unwrap();
    let (meta, handle) = machine(folder.path(), &on_trial(), Running::Generation(2)).await;
    assert_eq!(handle.roll_back(None, "by somebody").await.unwrap(), 1);
    let state = handle.view().state.unwrap();
    assert_eq!(state.generation(2).unwrap().phase, Phase::Failed(Failure::Operator));
    assert_eq!(meta.record().failed[0].why, "by somebody");

    let folder = tempfile::tempdir().unwrap();
    let state = State { strikes: 9, ..on_trial().bless(2, 7).unwrap() };
    let (_, handle) = machine(folder.path(), &state, Running::Recovery).await;
    assert_eq!(handle.roll_back(None, "").await.unwrap(), 1);
    assert_eq!(handle.view().state.unwrap().strikes, 0, "starts of what did not come up are not its");
}

#[tokio::test]
async fn nothing_goes_back_to_where_nothing_is_proven_or_no_loader_starts_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = State::first(uki(1), None);
    let (_, handle) = machine(folder.path(), &first, Running::Generation(1)).await;
    assert!(matches!(handle.roll_back(None, "").await, Err(Error::NoOther)));
    assert!(matches!(handle.recover(true).await, Err(Error::NoRecovery)));
    assert!(matches!(handle.confirm().await, Err(Error::NoTrial)));
    handle.runs(Running::Foreign("a kernel alone".into()));
    assert!(matches!(handle.roll_back(Some(1), "").await, Err(Error::Foreign(_))));
    assert!(matches!(handle.recover(true).await, Err(Error::Foreign(_))));
}

#[tokio::test]
async fn a_confirmation_is_for_this_boot_of_this_trial() {
    let folder = tempfile::tempdir().unwrap();
    let (meta, handle) = machine(folder.path(), &on_trial(), Running::Generation(2)).await;
    assert!(!handle.confirmed());
    assert_eq!(handle.confirm().await.unwrap(), 2);
    assert!(handle.confirmed() && Handle::fixed(meta.clone(), Running::Generation(2)).confirmed());
    drop((meta, handle));
    let next = meta::Handle::new("the next boot");
    next.attach(&folder.path().join("meta")).await.unwrap();
    assert!(!Handle::fixed(next, Running::Generation(2)).confirmed());
}

#[tokio::test]
async fn a_proof_keeps_its_floor_at_once_and_what_failed_before_has_not_failed_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (meta, handle) = machine(folder.path(), &on_trial(), Running::Generation(2)).await;
    let failed = |number: u8| Failed { digest: uki(number).digest.to_string(), ..Failed::default() };
    let staged = |generation| Some(meta::Staged { generation, floor: "1.2.0".into(), ..meta::Staged::default() });
    let failures = vec![failed(2), failed(7)];
    let update = |record: &mut meta::Record| (record.failed, record.staged) = (failures, staged(2));
    meta.update(update).await.unwrap();
    handle.bless(7).await.unwrap();
    let record = meta.record();
    assert_eq!((record.floor.as_deref(), record.failed), (Some("1.2.0"), vec![failed(7)]));
    assert_eq!(record.staged, staged(2), "recovery and loader are still to come");
    // What is staged for another says nothing of this one.
    meta.update(|record| (record.floor, record.staged) = (None, staged(3))).await.unwrap();
    handle.bless(8).await.unwrap();
    assert_eq!(meta.record().floor, None);
}

#[tokio::test]
async fn a_rollback_without_its_reboot_is_taken_back() {
    let folder = tempfile::tempdir().unwrap();
    let (meta, handle) = machine(folder.path(), &on_trial(), Running::Generation(2)).await;
    let before = handle.view().state.unwrap();
    let to = handle.roll_back(None, "by somebody").await.unwrap();
    handle.take_back(before, to).await.unwrap();
    assert_eq!((handle.view().state.unwrap(), meta.record().failed.len()), (before, 0));

    let before = before.bless(2, 1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (_, handle) = machine(folder.path(), &before, Running::Generation(2)).await;
    let to = handle.roll_back(None, "").await.unwrap();
    handle.roll_back(Some(2), "").await.unwrap();
    assert!(matches!(handle.take_back(before, to).await, Err(Error::Moved(1))), "somebody else has");
}
