//! The engine with a META in a file and a STATE in a folder: what an operator asks for, and what is left when machined dies.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reconcile::Store;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::answered::Answered;
use crate::events::Events;
use crate::generations::{self, Running};
use crate::pki::node;
use crate::resources::config_status::{ConfigStatus, State};
use crate::resources::document::Document;
use crate::{meta, state, stop};

const SOON: Duration = Duration::from_secs(20);
/// By a clock that is paused.
const LATE: Duration = Duration::from_secs(3600);

struct Machine {
    folder: tempfile::TempDir,
    /// Whether the API can be reached.
    reachable: Arc<AtomicBool>,
}

/// One life of machined.
struct Life {
    engine: Handle,
    store: Store,
    meta: meta::Handle,
    stop: stop::Handle,
    tasks: JoinSet<()>,
}

fn authority() -> String {
    api::pki::Ca::make("test").unwrap().certificate().pem()
}

/// Documents with this host name; always of the same authority.
fn documents(pem: &str, hostname: &str) -> String {
    let pem: String = pem.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: stele/v1\nkind: Api\naccept:\n- certificate: |\n{pem}---\napiVersion: stele/v1\nkind: Hostname\nhostname: {hostname}\n"
    )
}

fn apply(documents: String, mode: Mode) -> Apply {
    Apply {
        documents,
        secrets: None,
        mode,
        dry_run: false,
        expected: None,
        first_only: false,
        certificate: None,
        author: "tester".into(),
        message: String::new(),
        way: None,
        answered: Answered::at_once(),
        force: false,
    }
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        meta::tests::fresh(folder.path());
        std::fs::create_dir(folder.path().join("state")).unwrap();
        Self { folder, reachable: Arc::new(AtomicBool::new(true)) }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    async fn start(&self, boot: &str) -> Life {
        self.start_as(boot, Running::Foreign("test".into())).await
    }

    /// The same with this running.
    async fn start_as(&self, boot: &str, running: Running) -> Life {
        let (store, stop) = (Store::new(), stop::Handle::new());
        let meta = meta::Handle::new(boot);
        meta.attach(&self.root().join("meta")).await.unwrap();
        let state = state::Handle::new();
        state.put(state::State::Mounted { root: self.root().join("state") });
        let reachable = self.reachable.clone();
        let reach: Reach = Arc::new(move || {
            let answer = if reachable.load(Ordering::Relaxed) { Ok(()) } else { Err("no address".into()) };
            Box::pin(std::future::ready(answer))
        });
        let events = Events::open(&store, self.root().join("events")).unwrap();
        let sure = tokio::sync::watch::Sender::new(false).subscribe();
        let node = node::Handle::new(state.clone(), self.root(), sure);
        let run = self.root().to_owned();
        let parts = {
            let recovery = running == Running::Recovery;
            let generations = generations::Handle::fixed(meta.clone(), running);
            Parts {
                store: store.clone(),
                events,
                meta: meta.clone(),
                state,
                run,
                stop: stop.clone(),
                node,
                reach,
                generations,
                recovery,
            }
        };
        let (engine, task) = build(parts).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run());
        Life { engine, store, meta, stop, tasks }
    }

    /// Writes the boot state, as an installer, the loader or a gate does.
    async fn boot_state(&self, state: boot::state::State) {
        let meta = meta::Handle::new("writer");
        meta.attach(&self.root().join("meta")).await.unwrap();
        meta.change_boot(move |_| Ok::<_, ()>(state)).await.unwrap().unwrap();
    }
}

/// Generation 1, proven; with the second, generation 2 is on trial beside it.
fn generations(revision: u64) -> (boot::state::State, boot::state::State) {
    let uki = |number| boot::Uki { digest: boot::Digest([number; 32]), size: 10 };
    let first = boot::state::State::first(uki(1), None).bless(1, revision).unwrap();
    (first, first.stage(1, uki(2)).unwrap().0)
}

impl Life {
    async fn until(&self, what: &str, holds: impl Fn(&ConfigStatus) -> bool) -> ConfigStatus {
        self.within(SOON, what, holds).await
    }

    async fn within(&self, limit: Duration, what: &str, holds: impl Fn(&ConfigStatus) -> bool) -> ConfigStatus {
        let mut changes = self.store.watch::<ConfigStatus>();
        let wait = async {
            loop {
                changes.mark_seen();
                if let Some(status) = self.store.get::<ConfigStatus>(ConfigStatus::ID)
                    && holds(&status.value)
                {
                    return (*status.value).clone();
                }
                changes.changed().await;
            }
        };
        timeout(limit, wait)
            .await
            .unwrap_or_else(|_| panic!("{what}: {:?}", self.store.get::<ConfigStatus>(ConfigStatus::ID)))
    }

    fn hostname(&self) -> String {
        let document = self.store.get::<Document>("Hostname").unwrap();
        document.value.body["hostname"].as_str().unwrap().to_owned()
    }

    async fn blessed(&self, revision: u64) {
        self.until("blessed", |now| now.state == State::Blessed && now.revision == revision).await;
    }

    /// As SIGKILL does.
    async fn die(mut self) {
        self.tasks.shutdown().await;
    }
}

#[tokio::test]
async fn a_first_configuration_is_kept_and_proven_and_comes_back() {
    let (machine, pem) = (Machine::new(), authority());
    let life = machine.start("a").await;
    life.until("unconfigured", |now| now.state == State::Unconfigured).await;
    assert!(matches!(life.engine.history().await, Err(Error::Unconfigured)));
    let trial = life.engine.apply(apply(documents(&pem, "one"), Mode::Trial(60))).await;
    assert!(matches!(trial, Err(Error::NothingToGoBackTo)), "{trial:?}");
    let outcome = life.engine.apply(apply(documents(&pem, "one"), Mode::Auto)).await.unwrap();
    assert_eq!(outcome.revision, Some(1));
    assert!(life.meta.record().configured, "before the answer");
    life.blessed(1).await;
    // A stranger, or a source, that was late.
    let late = Apply { first_only: true, ..apply(documents(&pem, "evil"), Mode::Auto) };
    assert!(matches!(life.engine.apply(late).await, Err(Error::Configured)));
    life.die().await;

    let again = machine.start("b").await;
    again.blessed(1).await;
    assert_eq!(again.hostname(), "one");
    let (meta, text) = again.engine.read(None).await.unwrap();
    assert_eq!((meta.id, text), (1, documents(&pem, "one")));
}

#[tokio::test]
async fn wrong_documents_change_nothing_and_a_dry_run_neither() {
    let (machine, pem) = (Machine::new(), authority());
    let life = machine.start("a").await;
    life.until("unconfigured", |now| now.state == State::Unconfigured).await;
    for (text, says) in [
        ("kind: Hostname\n".to_owned(), "apiVersion"),
        ("apiVersion: stele/v1\nkind: Hostname\nhostname: a\n".to_owned(), "Api is missing"),
        (
            documents(&pem, "a")
                + "---\napiVersion: stele/v1\nkind: Authority\nsecret: api-ca\ncertificate: |\n"
                + &pem.lines().map(|l| format!("  {l}\n")).collect::<String>(),
            "--secrets",
        ),
    ] {
        let outcome = life.engine.apply(apply(text, Mode::Auto)).await.unwrap();
        assert_eq!(outcome.revision, None);
        assert!(outcome.problems.unwrap().to_string().contains(says), "{says}");
    }
    let dry = Apply { dry_run: true, ..apply(documents(&pem, "one"), Mode::Auto) };
    let outcome = life.engine.apply(dry).await.unwrap();
    assert_eq!((outcome.revision, outcome.changes.len()), (None, 2));
    assert!(!life.meta.record().configured);
    assert_eq!(life.store.get::<ConfigStatus>(ConfigStatus::ID).unwrap().value.state, State::Unconfigured);
}

async fn configured(machine: &Machine, pem: &str) -> Life {
    let life = machine.start("a").await;
    life.until("unconfigured", |now| now.state == State::Unconfigured).await;
    life.engine.apply(apply(documents(pem, "one"), Mode::Auto)).await.unwrap();
    life.blessed(1).await;
    life
}

#[tokio::test]
async fn a_trial_is_confirmed_or_goes_by_itself_also_across_boots() {
    let (machine, pem) = (Machine::new(), authority());
    let life = configured(&machine, &pem).await;
    life.engine.apply(apply(documents(&pem, "two"), Mode::Trial(3600))).await.unwrap();
    let status = life.until("on trial", |now| now.state == State::Reached).await;
    assert_eq!(status.trial.map(|trial| (trial.revision, trial.back)), Some((2, 1)));
    assert!(matches!(life.engine.apply(apply(documents(&pem, "x"), Mode::Auto)).await, Err(Error::Trial(2))));
    let later = Revert {
        to: None,
        mode: Mode::Reboot,
        dry_run: false,
        author: "tester".into(),
        force: false,
        answered: Answered::at_once(),
    };
    assert!(matches!(life.engine.revert(later).await, Err(Error::Trial(2))), "the way back is now");
    assert!(matches!(life.engine.confirm(Some(7)).await, Err(Error::OtherTrial { asked: 7, running: 2 })));
    life.die().await;

    // machined starts again in the same boot, then the machine boots: it is still on trial.
    for boot in ["a", "b"] {
        let life = machine.start(boot).await;
        let status = life.until("on trial", |now| now.state == State::Reached).await;
        assert_eq!(status.trial.map(|trial| trial.boots), Some(if boot == "a" { 3 } else { 2 }));
        assert_eq!(life.hostname(), "two");
        life.die().await;
    }
    let life = machine.start("c").await;
    life.until("on trial", |now| now.state == State::Reached).await;
    assert_eq!(life.engine.confirm(None).await.unwrap(), 2);
    assert_eq!(life.engine.confirm(Some(2)).await.unwrap(), 2, "asked twice");
    life.blessed(2).await;

    // The next one is not confirmed, and the machine boots too often.
    life.engine.apply(apply(documents(&pem, "three"), Mode::Trial(3600))).await.unwrap();
    life.until("on trial", |now| now.trial.is_some()).await;
    life.die().await;
    for boot in ["d", "e", "f"] {
        machine.start(boot).await.until("started", |now| now.decided).await;
    }
    let back = machine.start("g").await;
    back.blessed(2).await;
    assert_eq!(back.hostname(), "two");
    let (pointers, trial, listed) = back.engine.history().await.unwrap();
    assert!(pointers.given_up.contains("revision 3") && pointers.given_up.contains("trial"), "{pointers:?}");
    assert_eq!((trial, listed.len()), (None, 3));
}

#[tokio::test(start_paused = true)]
async fn a_trial_ends_when_its_time_is_over() {
    let (machine, pem) = (Machine::new(), authority());
    let life = configured(&machine, &pem).await;
    life.engine.apply(apply(documents(&pem, "two"), Mode::Trial(30))).await.unwrap();
    let status = life.within(LATE, "given up", |now| !now.given_up.is_empty()).await;
    assert!(status.given_up.contains("nobody confirmed it in time"), "{status:?}");
    life.blessed(1).await;
    assert_eq!(life.hostname(), "one");
}

#[tokio::test(start_paused = true)]
async fn a_revision_with_which_nobody_reaches_the_machine_is_given_up() {
    let (machine, pem) = (Machine::new(), authority());
    let life = configured(&machine, &pem).await;
    machine.reachable.store(false, Ordering::Relaxed);
    life.engine.apply(apply(documents(&pem, "two"), Mode::Auto)).await.unwrap();
    let status = life.within(LATE, "given up", |now| !now.given_up.is_empty()).await;
    assert!(status.given_up.contains("no address"), "{status:?}");
    assert_eq!(life.hostname(), "one");
}

#[tokio::test]
async fn the_newest_that_is_damaged_falls_back_to_the_proven_one() {
    let (machine, pem) = (Machine::new(), authority());
    let life = configured(&machine, &pem).await;
    life.engine.apply(apply(documents(&pem, "two"), Mode::Auto)).await.unwrap();
    life.blessed(2).await;
    life.die().await;
    let file = |n: u64| machine.root().join(format!("state/revisions/{n:08}/documents.yaml"));
    std::fs::write(file(2), "torn").unwrap();
    let life = machine.start("b").await;
    life.blessed(1).await;
    assert_eq!(life.hostname(), "one");
    let given_up = life.engine.history().await.unwrap().0.given_up;
    assert!(given_up.contains("damaged"), "told until something newer is proven: {given_up:?}");
    life.die().await;
    // And when nothing is left nobody is told that there is no configuration.
    std::fs::remove_file(file(1)).unwrap();
    let status = machine.start("c").await.until("unreadable", |now| now.decided).await;
    assert_eq!(status.state, State::Unreadable);
}

#[tokio::test]
async fn staged_and_reboot_come_with_the_next_boot_and_revert_goes_back() {
    let (machine, pem) = (Machine::new(), authority());
    let life = configured(&machine, &pem).await;
    life.engine.apply(apply(documents(&pem, "two"), Mode::Staged)).await.unwrap();
    assert_eq!(life.hostname(), "one");
    life.die().await;
    // machined starts again: that is no boot.
    let life = machine.start("a").await;
    life.blessed(1).await;
    assert_eq!(life.hostname(), "one");
    life.die().await;
    let life = machine.start("b").await;
    life.blessed(2).await;
    assert_eq!(life.hostname(), "two");
    let conflict = Apply { expected: Some(1), ..apply(documents(&pem, "x"), Mode::Auto) };
    assert!(matches!(life.engine.apply(conflict).await, Err(Error::Conflict { current: 2, expected: 1 })));

    let revert = Revert {
        to: None,
        mode: Mode::Auto,
        dry_run: false,
        author: "tester".into(),
        force: false,
        answered: Answered::at_once(),
    };
    assert_eq!(life.engine.revert(revert).await.unwrap().revision, Some(1));
    life.blessed(1).await;
    assert_eq!(life.hostname(), "one");
    life.engine.apply(apply(documents(&pem, "three"), Mode::Reboot)).await.unwrap();
    timeout(SOON, life.stop.requested()).await.unwrap();
    assert_eq!(life.hostname(), "one");
    life.die().await;
    let life = machine.start("c").await;
    life.blessed(3).await;
}

#[tokio::test]
async fn what_is_there_already_makes_no_revision_and_what_is_staged_is_not_lost() {
    let (machine, pem) = (Machine::new(), authority());
    let life = configured(&machine, &pem).await;
    let again = life.engine.apply(apply(documents(&pem, "one"), Mode::Auto)).await.unwrap();
    assert_eq!((again.revision, again.changes.len()), (None, 0));
    let comment = documents(&pem, "one") + "# why\n";
    assert_eq!(life.engine.apply(apply(comment.clone(), Mode::Auto)).await.unwrap().revision, Some(2));
    life.blessed(2).await;
    let staged = life.engine.apply(apply(documents(&pem, "two"), Mode::Staged)).await.unwrap().revision;
    assert_eq!(staged, Some(3));
    for mode in [Mode::Auto, Mode::Staged] {
        let patched = Apply { expected: Some(2), ..apply(documents(&pem, "three"), mode) };
        assert!(matches!(life.engine.apply(patched).await, Err(Error::Staged(3))), "{mode:?}");
    }
    // One that is damaged is mended by applying it anew.
    let kept = machine.root().join("state/revisions/00000002/documents.yaml");
    let whole = std::fs::read(&kept).unwrap();
    std::fs::write(&kept, "torn").unwrap();
    let anew = Apply { dry_run: true, ..apply(comment.clone(), Mode::Auto) };
    assert!(life.engine.apply(anew).await.is_ok());
    std::fs::write(&kept, whole).unwrap();
    // Whole documents take its place, also those that are in effect.
    assert_eq!(life.engine.apply(apply(comment, Mode::Auto)).await.unwrap().revision, Some(4));
    life.blessed(4).await;
    assert_eq!(life.engine.history().await.unwrap().0.staged, None);
}

#[tokio::test]
async fn a_confirmed_trial_is_proven_once_its_documents_are_applied() {
    let (machine, pem) = (Machine::new(), authority());
    let life = configured(&machine, &pem).await;
    let conditions = life.store.shared_writer::<crate::resources::Condition>("test").unwrap();
    let unmet = crate::resources::Condition::unmet("the kernel says no").optional();
    conditions.put("document/Hostname", unmet).unwrap();
    life.engine.apply(apply(documents(&pem, "two"), Mode::Trial(3600))).await.unwrap();
    life.until("on trial", |now| now.state == State::Reached && now.revision == 2).await;
    life.engine.confirm(Some(2)).await.unwrap();
    let status = life.until("confirmed", |now| now.trial.is_none()).await;
    assert_eq!((status.state, status.revision, status.blessed), (State::Reached, 2, 1));
    assert!(status.reason.contains("the kernel says no"), "{status:?}");
    conditions.remove("document/Hostname").unwrap();
    life.blessed(2).await;
}

#[tokio::test]
async fn a_revision_makes_the_machine_configured_whatever_meta_says() {
    let (machine, pem) = (Machine::new(), authority());
    configured(&machine, &pem).await.die().await;
    // The power went before META was written.
    meta::tests::fresh(machine.root());
    let life = machine.start("b").await;
    life.blessed(1).await;
    assert!(life.meta.record().configured);
}

#[tokio::test]
async fn meta_says_configured_and_state_is_empty() {
    let (machine, pem) = (Machine::new(), authority());
    configured(&machine, &pem).await.die().await;
    std::fs::remove_dir_all(machine.root().join("state")).unwrap();
    std::fs::create_dir(machine.root().join("state")).unwrap();
    let status = machine.start("b").await.until("unreadable", |now| now.decided).await;
    assert_eq!(status.state, State::Unreadable);
}

#[tokio::test]
async fn on_trial_the_configuration_stays_as_it_is_and_a_change_by_force_goes_with_the_trial() {
    let (machine, pem) = (Machine::new(), authority());
    let (first, trial) = generations(0);
    machine.boot_state(first).await;
    let life = machine.start_as("a", Running::Generation(1)).await;
    life.until("unconfigured", |now| now.state == State::Unconfigured).await;
    life.engine.apply(apply(documents(&pem, "one"), Mode::Auto)).await.unwrap();
    life.blessed(1).await;
    life.engine.apply(apply(documents(&pem, "two"), Mode::Auto)).await.unwrap();
    life.blessed(2).await;
    life.engine.apply(apply(documents(&pem, "staged"), Mode::Staged)).await.unwrap();
    let proven = |life: &Life| match life.meta.boot() {
        meta::BootState::Known(state) => state.generation(1).unwrap().revision,
        other => panic!("{other:?}"),
    };
    timeout(SOON, async {
        while proven(&life) != 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    life.die().await;

    // The trial takes neither the staged one nor a change, but by force.
    machine
        .boot_state(boot::state::State { slots: [first.bless(1, 2).unwrap().slots[0], trial.slots[1]], ..trial })
        .await;
    let life = machine.start_as("b", Running::Generation(2)).await;
    life.blessed(2).await;
    let change = apply(documents(&pem, "three"), Mode::Auto);
    assert!(matches!(life.engine.apply(change.clone()).await, Err(Error::Generation(2))));
    let revert = Revert {
        to: Some(1),
        mode: Mode::Auto,
        dry_run: false,
        author: "tester".into(),
        force: false,
        answered: Answered::at_once(),
    };
    assert!(matches!(life.engine.revert(revert).await, Err(Error::Generation(2))));
    life.engine.apply(Apply { force: true, ..change }).await.unwrap();
    life.blessed(4).await;
    life.die().await;

    // It failed: generation 1 comes back with what was proven with it.
    let life = machine.start_as("c", Running::Generation(1)).await;
    life.blessed(2).await;
    let status = life.until("told", |now| now.given_up.contains("generation 1 came back")).await;
    assert_eq!((life.hostname().as_str(), status.staged), ("two", 0));
    life.die().await;
    // Once: what is changed from now on stays.
    let life = machine.start_as("d", Running::Generation(1)).await;
    life.blessed(2).await;
    life.engine.apply(apply(documents(&pem, "five"), Mode::Auto)).await.unwrap();
    life.blessed(5).await;
    life.die().await;
    machine.start_as("e", Running::Generation(1)).await.blessed(5).await;
}

#[tokio::test]
async fn a_revision_that_nobody_confirmed_is_not_proven_under_the_trial_of_a_generation() {
    let (machine, pem) = (Machine::new(), authority());
    let (first, trial) = generations(0);
    machine.boot_state(first).await;
    let life = machine.start_as("a", Running::Generation(1)).await;
    life.until("unconfigured", |now| now.state == State::Unconfigured).await;
    life.engine.apply(apply(documents(&pem, "one"), Mode::Auto)).await.unwrap();
    life.blessed(1).await;
    life.engine.apply(apply(documents(&pem, "two"), Mode::Trial(3600))).await.unwrap();
    life.until("on trial", |now| now.state == State::Reached && now.revision == 2).await;
    life.die().await;

    let trial = boot::state::State { slots: [first.bless(1, 1).unwrap().slots[0], trial.slots[1]], ..trial };
    machine.boot_state(trial).await;
    let life = machine.start_as("b", Running::Generation(2)).await;
    let status = life.until("reached", |now| now.state == State::Reached || now.state == State::Blessed).await;
    assert_eq!((status.state, status.revision, status.blessed), (State::Reached, 2, 1));
    assert!(status.reason.contains("on trial"), "{}", status.reason);
    assert!(life.meta.record().run.unwrap().trial.is_some(), "it goes on when generation 1 is back");
}

#[tokio::test]
async fn a_version_that_cannot_use_the_configuration_gives_nothing_up() {
    let (machine, pem) = (Machine::new(), authority());
    let (first, trial) = generations(0);
    machine.boot_state(first).await;
    let life = machine.start_as("a", Running::Generation(1)).await;
    life.until("unconfigured", |now| now.state == State::Unconfigured).await;
    life.engine.apply(apply(documents(&pem, "one"), Mode::Auto)).await.unwrap();
    life.blessed(1).await;
    life.engine.apply(apply(documents(&pem, "two"), Mode::Auto)).await.unwrap();
    life.blessed(2).await;
    life.die().await;
    // As if this version did not know a word of it.
    let path = machine.root().join("state/revisions/00000002/documents.yaml");
    let text = std::fs::read(&path).unwrap();
    std::fs::write(&path, "kind: Later\n").unwrap();
    for running in [Running::Generation(2), Running::Recovery] {
        machine.boot_state(trial).await;
        let life = machine.start_as("b", running).await;
        life.until("unreadable", |now| now.state == State::Unreadable).await;
        life.die().await;
    }
    std::fs::write(&path, text).unwrap();
    let life = machine.start_as("c", Running::Generation(1)).await;
    life.blessed(2).await;
    assert_eq!(life.hostname(), "two");
}

#[tokio::test]
async fn the_recovery_system_runs_what_is_current_and_neither_proves_nor_changes_it() {
    let (machine, pem) = (Machine::new(), authority());
    machine.boot_state(generations(0).0).await;
    let life = machine.start_as("a", Running::Recovery).await;
    life.until("unconfigured", |now| now.state == State::Unconfigured).await;
    let refused = life.engine.apply(apply(documents(&pem, "one"), Mode::Auto)).await;
    assert!(matches!(refused, Err(Error::Recovery)), "{refused:?}");
    life.die().await;
    let life = machine.start_as("b", Running::Generation(1)).await;
    life.until("unconfigured", |now| now.state == State::Unconfigured).await;
    life.engine.apply(apply(documents(&pem, "one"), Mode::Auto)).await.unwrap();
    life.blessed(1).await;
    machine.reachable.store(false, Ordering::Relaxed);
    life.engine.apply(apply(documents(&pem, "two"), Mode::Auto)).await.unwrap();
    life.die().await;
    machine.reachable.store(true, Ordering::Relaxed);
    let life = machine.start_as("c", Running::Recovery).await;
    let status = life.until("reached", |now| now.state == State::Reached).await;
    assert!(status.reason.contains("recovery"), "{status:?}");
    assert_eq!(life.hostname(), "two");
    life.die().await;
    let life = machine.start_as("d", Running::Generation(1)).await;
    life.blessed(2).await;
}
