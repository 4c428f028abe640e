use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reconcile::Store;
use serde_json::json;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use super::record::HISTORY;
use super::*;
use crate::events::Events;
use crate::resources::job::{Job as Shown, Phase};
use crate::{meta, state, stop};

/// Tells when it has begun, leaves something, and ends as it is told.
struct Told {
    begun: mpsc::UnboundedSender<Option<u32>>,
    ends: tokio::sync::Mutex<mpsc::UnboundedReceiver<Result<String, Failed>>>,
    commits: bool,
    tidied: AtomicUsize,
    /// Whether the job was over when `before` and `after` were called.
    told: std::sync::Mutex<Vec<bool>>,
    left: Notify,
}

impl Work for Told {
    fn run<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Result<String, Failed>> {
        async move {
            let before = job.left::<u32>("count");
            job.step("work").await?;
            job.leave("count", &(before.unwrap_or(0) + 1)).await?;
            if self.commits {
                job.commit().await?;
            }
            job.bytes(5, 10);
            self.begun.send(before).unwrap();
            let _dropped = scopeguard(&self.left);
            let end = self.ends.lock().await.recv().await.unwrap();
            if end == Ok("panic".into()) {
                panic!("odd image")
            }
            end
        }
        .boxed()
    }

    fn tidy<'a>(&'a self, _: &'a Job) -> BoxFuture<'a, ()> {
        self.tidied.fetch_add(1, Ordering::SeqCst);
        async {}.boxed()
    }

    fn before<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, ()> {
        self.told.lock().unwrap().push(job.record().phase.is_over());
        async {}.boxed()
    }

    fn after<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, ()> {
        self.told.lock().unwrap().push(job.record().phase.is_over());
        self.left.notify_one();
        async {}.boxed()
    }
}

/// Says that the work was let go.
fn scopeguard(left: &Notify) -> impl Drop + '_ {
    struct Guard<'a>(&'a Notify);
    impl Drop for Guard<'_> {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    Guard(left)
}

/// A machine; another machined on it has the same folder and META.
struct Machine {
    meta: meta::Handle,
    state: state::Handle,
    stop: stop::Handle,
    folder: tempfile::TempDir,
}

struct Life {
    store: Store,
    jobs: Handle,
    engine: JoinHandle<()>,
    work: Arc<Told>,
    begun: mpsc::UnboundedReceiver<Option<u32>>,
    end: mpsc::UnboundedSender<Result<String, Failed>>,
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            meta: meta::Handle::new("boot"),
            state: state::Handle::new(),
            stop: stop::Handle::new(),
            folder: tempfile::tempdir().unwrap(),
        };
        machine.meta.detach("no disk");
        machine
    }

    fn run(&self) -> &Path {
        self.folder.path()
    }

    fn machined(&self, commits: bool) -> Life {
        let store = Store::new();
        let (begin, begun) = mpsc::unbounded_channel();
        let (end, ends) = mpsc::unbounded_channel();
        let work = Arc::new(Told {
            begun: begin,
            ends: ends.into(),
            commits,
            tidied: AtomicUsize::default(),
            told: std::sync::Mutex::default(),
            left: Notify::new(),
        });
        let parts = Parts {
            events: Events::open(&store, self.run().join("events")).unwrap(),
            store: store.clone(),
            meta: self.meta.clone(),
            state: self.state.clone(),
            run: self.run().into(),
            stop: self.stop.clone(),
            works: Works { upgrade: Some(work.clone()), install: None },
        };
        let (jobs, engine) = build(parts).unwrap();
        #[expect(clippy::disallowed_methods, reason = "a test")]
        let engine = tokio::spawn(engine.run());
        Life { store, jobs, engine, work, begun, end }
    }
}

impl Life {
    fn shown(&self, id: u64) -> Arc<Shown> {
        self.store.get::<Shown>(&id.to_string()).unwrap().value
    }

    /// The job once it is over.
    async fn over(&self, id: u64) -> Arc<Shown> {
        let mut changes = self.store.watch::<Shown>();
        loop {
            changes.mark_seen();
            if self.shown(id).phase.is_over() {
                return self.shown(id);
            }
            changes.changed().await;
        }
    }
}

fn upgrade(image: &str) -> Request {
    Request::Upgrade(Upgrade { image: image.into(), allow_downgrade: false, retry_failed: false })
}

#[tokio::test]
async fn one_runs_at_a_time_and_the_same_wish_is_the_same_job() {
    let machine = Machine::new();
    let mut life = machine.machined(false);
    let id = life.jobs.start(upgrade("r.example/a:1"), "alice".into()).await.unwrap();
    assert_eq!(life.begun.recv().await, Some(None));
    assert_eq!(life.jobs.start(upgrade("r.example/a:1"), "bob".into()).await.unwrap(), id);
    let busy = life.jobs.start(upgrade("r.example/a:2"), "bob".into()).await.unwrap_err();
    assert_eq!(busy.to_string(), "job 1 is under way: upgrade r.example/a:1, at the step work");
    let shown = life.shown(id);
    assert_eq!((shown.phase, &*shown.by, shown.cancellable), (Phase::Running, "alice", true));

    life.end.send(Err(Failed::refused("signature: none fits", "sign it"))).unwrap();
    let shown = life.over(id).await;
    assert_eq!((shown.phase, &*shown.reason, &*shown.remedy), (Phase::Refused, "signature: none fits", "sign it"));
    assert!(!shown.cancellable && shown.ended_unix_ms.is_some() && (shown.done_bytes, shown.total_bytes) == (5, 10));
    assert_eq!(life.work.tidied.load(Ordering::SeqCst), 1);
    assert!(matches!(life.jobs.cancel(id, "bob".into()).await, Err(Error::Over(1))));

    let next = life.jobs.start(upgrade("r.example/a:1"), "bob".into()).await.unwrap();
    life.end.send(Ok("panic".into())).unwrap();
    let shown = life.over(next).await;
    assert_eq!((next, shown.phase), (2, Phase::Failed));
    assert!(shown.reason.contains("odd image"), "{}", shown.reason);

    let install =
        Request::Install(Install { disk: "x".into(), image: String::new(), wipe: false, document: String::new() });
    let unknown = life.jobs.start(install, "bob".into()).await.unwrap_err();
    assert_eq!(unknown.to_string(), "this version of Stele has no install");
    assert!(matches!(life.jobs.start(upgrade(&"x".repeat(601)), String::new()).await, Err(Error::TooLong("image"))));
}

#[tokio::test]
async fn what_must_follow_is_sure_before_the_job_is_over() {
    let machine = Machine::new();
    let mut life = machine.machined(false);
    let id = life.jobs.start(upgrade("r.example/a:1"), "alice".into()).await.unwrap();
    life.begun.recv().await;
    life.end.send(Ok("done".into())).unwrap();
    life.over(id).await;
    while life.work.told.lock().unwrap().len() < 2 {
        life.work.left.notified().await;
    }
    assert_eq!(*life.work.told.lock().unwrap(), [false, true]);
}

#[tokio::test]
async fn another_start_is_not_chosen_while_a_job_would_undo_it() {
    let machine = Machine::new();
    let mut life = machine.machined(true);
    life.jobs.undisturbed().await.unwrap();
    let id = life.jobs.start(upgrade("r.example/a:1"), "alice".into()).await.unwrap();
    life.begun.recv().await;
    let busy = life.jobs.undisturbed().await.unwrap_err();
    assert_eq!(busy.to_string(), "job 1 is under way: upgrade r.example/a:1, at the step work");
    // Also while the machine stops: it goes on in the next boot.
    machine.stop.request(stop::Request::new(stop::Action::Reboot, "test"));
    life.work.left.notified().await;
    assert!(matches!(life.jobs.undisturbed().await, Err(Error::Busy { .. })));
    let mut record = Record::new(id, upgrade("r.example/a:1"), "alice", 0);
    (record.committed, record.step) = (true, "prove".into());
    assert!(record.is_proving() && !Record { committed: false, ..record }.is_proving());
}

#[tokio::test]
async fn it_is_cancelled_until_it_is_committed() {
    let machine = Machine::new();
    let mut life = machine.machined(false);
    let id = life.jobs.start(upgrade("r.example/a:1"), "alice".into()).await.unwrap();
    life.begun.recv().await;
    assert!(matches!(life.jobs.cancel(7, "bob".into()).await, Err(Error::Unknown(7))));
    life.jobs.cancel(id, "bob".into()).await.unwrap();
    life.work.left.notified().await;
    let shown = life.over(id).await;
    assert_eq!((shown.phase, &*shown.reason), (Phase::Cancelled, "cancelled by bob"));

    life.engine.abort();
    let mut life = machine.machined(true);
    let id = life.jobs.start(upgrade("r.example/a:1"), "alice".into()).await.unwrap();
    life.begun.recv().await;
    let late = life.jobs.cancel(id, "bob".into()).await.unwrap_err();
    assert_eq!(late.to_string(), "job 2 cannot be cancelled any more: it is at the step work");
    assert!(!life.shown(id).cancellable);
    life.end.send(Ok("done".into())).unwrap();
    assert_eq!(life.over(id).await.phase, Phase::Done);
}

#[tokio::test]
async fn it_goes_on_with_the_next_machined_and_after_a_boot() {
    let machine = Machine::new();
    let mut life = machine.machined(false);
    let id = life.jobs.start(upgrade("r.example/a:1"), "alice".into()).await.unwrap();
    life.begun.recv().await;
    life.engine.abort();
    life.work.left.notified().await;

    // It is shown before anybody has looked, and goes on where it left something.
    let mut life = machine.machined(false);
    assert_eq!(life.shown(id).phase, Phase::Running);
    assert_eq!(life.begun.recv().await, Some(Some(1)));
    assert_eq!(life.shown(id).starts, 2);

    // A machine that stops does not end it; after the boot only META is left.
    machine.stop.request(stop::Request::new(stop::Action::Reboot, "test"));
    life.work.left.notified().await;
    let stopping = life.jobs.start(upgrade("r.example/b:1"), "bob".into()).await.unwrap_err();
    assert!(matches!(stopping, Error::Stopping), "{stopping}");
    assert_eq!(life.shown(id).phase, Phase::Running);
    let next = Machine { meta: machine.meta.clone(), ..Machine::new() };
    let mut life = next.machined(false);
    assert_eq!(life.begun.recv().await, Some(Some(2)));
    life.end.send(Ok("blessed".into())).unwrap();
    let shown = life.over(id).await;
    assert_eq!((shown.phase, &*shown.reason, shown.starts), (Phase::Done, "blessed", 3));
}

#[tokio::test]
async fn the_last_ones_are_kept_on_state() {
    let machine = Machine::new();
    let disk = tempfile::tempdir().unwrap();
    let life = machine.machined(false);
    let mut last = 0;
    for n in 0..HISTORY + 3 {
        last = life.jobs.start(upgrade(&format!("r.example/a:{n}")), "alice".into()).await.unwrap();
        life.end.send(Ok("done".into())).unwrap();
        life.over(last).await;
    }
    machine.state.put(state::State::Mounted { root: disk.path().into() });
    let id = life.jobs.start(upgrade("r.example/a:x"), "alice".into()).await.unwrap();
    life.end.send(Ok("done".into())).unwrap();
    life.over(id).await;
    assert_eq!(id, last + 1);
    // Another machine that finds the disk: STATE alone says what was.
    life.engine.abort();
    let next = Machine::new();
    next.state.put(state::State::Mounted { root: disk.path().into() });
    let life = next.machined(false);
    let new = life.jobs.start(upgrade("r.example/b:1"), "bob".into()).await.unwrap();
    assert_eq!(new, id + 1);
    let ids = life.store.list::<Shown>().len();
    assert_eq!(ids, HISTORY + 1, "those that are over, and the one that runs");
    assert!(life.store.get::<Shown>(&last.to_string()).is_some());
    assert!(life.store.get::<Shown>("1").is_none());
}

#[tokio::test(start_paused = true)]
async fn nothing_begins_before_it_is_known_what_is_under_way() {
    let machine = Machine { meta: meta::Handle::new("boot"), ..Machine::new() };
    let mut life = machine.machined(false);
    let early = life.jobs.start(upgrade("r.example/a:1"), "alice".into()).await.unwrap_err();
    assert!(matches!(early, Error::Looking(_)), "{early}");
    // A job of a release that knows more; one that begins again and again.
    let upgrade = json!({ "kind": "upgrade", "image": "r.example/a:1" });
    let again = json!({ "id": 4, "request": upgrade, "by": "x", "startedUnixMs": 1, "starts": 20, "later": 1 });
    let other = json!({ "id": 5, "request": { "kind": "moonwalk" }, "by": "x", "startedUnixMs": 1 });
    let jobs = json!({ "last": 5, "jobs": [again, other] });
    machine.meta.update(|record| record.jobs = Some(jobs)).await.unwrap();
    machine.meta.detach("no disk");
    let wait = async {
        while life.store.get::<Shown>("4").is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap();
    let shown = life.over(4).await;
    assert_eq!(shown.phase, Phase::Failed);
    assert!(shown.reason.contains("begun 20 times"), "{}", shown.reason);
    assert_eq!(life.work.tidied.load(Ordering::SeqCst), 1);
    assert!(life.store.get::<Shown>("5").is_none());
    assert_eq!(life.jobs.start(self::upgrade("r.example/a:2"), "alice".into()).await.unwrap(), 6);
    life.begun.recv().await;
}

#[test]
fn a_step_is_known_by_when_it_began_last_and_what_it_moved() {
    let mut job = Record::new(1, upgrade("r.example/a:1"), "alice", 1);
    for (now, step, other) in [(2, "pull", true), (3, "fetch", true), (4, "fetch", false), (5, "pull", true)] {
        assert_eq!(job.begin(step, now), other, "{step}");
    }
    job.moved("fetch", 7);
    job.moved("unknown", 8);
    job.begin("stage", 6);
    let steps: Vec<_> = job.shown((0, 0)).steps.into_iter().map(|step| (step.name, step.unix_ms, step.bytes)).collect();
    assert_eq!(steps, [("fetch".into(), 3, 7), ("pull".into(), 5, 0), ("stage".into(), 6, 0)]);
    let mut kept = Kept::default();
    kept.put(job);
    assert_eq!(Kept::read(&kept.value()), kept);
}

#[test]
fn whatever_is_said_there_is_room_for_it_in_meta() {
    let long = "\u{1}\"é".repeat(5000);
    let mut job = Record::new(u64::MAX, upgrade(&"\"".repeat(600)), &long, u64::MAX);
    (0..9).for_each(|n| job.warn(&format!("{n}{long}")));
    assert!(!job.leave("long", json!(long)));
    assert!(job.leave("short", json!("x".repeat(400))) && !job.leave("next", json!("x".repeat(200))));
    assert_eq!(job.left.keys().collect::<Vec<_>>(), ["short"]);
    for n in 0..99 {
        assert!(job.begin(&format!("{n}{long}"), u64::MAX));
    }
    job.steps.iter_mut().for_each(|begun| begun.bytes = u64::MAX);
    job.step = "a step".into();
    let mut kept = Kept::default();
    kept.put(job.clone());
    job.end(Phase::Failed, &long, &long, 1);
    kept.put(Record { id: 1, ..job });
    let bytes = kept.value().to_string().len();
    assert!(bytes < 10 << 10, "{bytes} bytes");
    assert_eq!(Kept::read(&kept.value()), kept);
}
