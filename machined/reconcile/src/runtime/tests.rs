//! The life of controllers, under a paused clock.

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, advance, sleep};

use super::*;
use crate::controller::Next;
use crate::cycle::{Cycle, CycleError};
use crate::samples::{Address, Link, Wait};

mod logged;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Cycle(#[from] CycleError),
    #[error("{0}")]
    Told(String),
}

/// What one cycle is told to do.
#[derive(Clone)]
enum Do {
    End(Next),
    Fail(&'static str),
    Panic,
    /// Take so long.
    Work(Duration),
    Hang,
}

/// Watches links, owns addresses: copies each link; does the script's steps one by one, then `Next::OnChange`.
struct Copier {
    script: Vec<Do>,
    begun: Arc<Mutex<Vec<Instant>>>,
    kick: Arc<Notify>,
}

impl Controller for Copier {
    const NAME: &'static str = "test/copier";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        ports.watch::<Link>().own::<Address>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        self.begun.lock().unwrap().push(Instant::now());
        for link in cx.list::<Link>()? {
            cx.put::<Address>(&link.id, Address(link.value.0))?;
        }
        let step = if self.script.is_empty() { Do::End(Next::OnChange) } else { self.script.remove(0) };
        match step {
            Do::End(next) => Ok(next),
            Do::Fail(error) => Err(Error::Told(error.to_owned())),
            Do::Panic => panic!("told to"),
            Do::Work(time) => {
                sleep(time).await;
                Ok(Next::OnChange)
            }
            Do::Hang => std::future::pending().await,
        }
    }

    async fn wake(&mut self) {
        self.kick.notified().await;
    }
}

struct Rig {
    store: Store,
    links: crate::store::Writer<Link>,
    status: Status,
    begun: Arc<Mutex<Vec<Instant>>>,
    kick: Arc<Notify>,
    started: Instant,
    stop: oneshot::Sender<()>,
    running: JoinSet<Result<Stopped, Problems>>,
}

impl Rig {
    fn new(script: impl Into<Vec<Do>>) -> Self {
        let store = Store::new();
        let links = store.writer::<Link>("test").unwrap();
        let (begun, kick): (Arc<Mutex<_>>, Arc<Notify>) = Default::default();
        let mut runtime = Runtime::new(store.clone());
        let copier = Copier { script: script.into(), begun: Arc::clone(&begun), kick: Arc::clone(&kick) };
        runtime.register(copier).grace(Duration::from_secs(1));
        let status = runtime.status();
        let (stop, stopping) = oneshot::channel();
        let mut running = JoinSet::new();
        running.spawn(runtime.run(async move { drop(stopping.await) }));
        Self { store, links, status, begun, kick, started: Instant::now(), stop, running }
    }

    /// When each cycle began, in milliseconds from the start.
    fn begun(&self) -> Vec<u128> {
        self.begun.lock().unwrap().iter().map(|at| (*at - self.started).as_millis()).collect()
    }

    fn status(&self) -> ControllerStatus {
        self.status.controller("test/copier").unwrap()
    }

    fn outputs(&self) -> Vec<String> {
        self.store.list::<Address>().into_iter().map(|object| object.id).collect()
    }

    async fn stop(mut self) -> Stopped {
        self.stop.send(()).unwrap();
        self.running.join_next().await.unwrap().unwrap().unwrap()
    }
}

const MS: Duration = Duration::from_millis(1);
/// Long enough for whatever is ready to happen, on a clock that stands still meanwhile.
async fn settle() {
    sleep(MS).await;
}

#[tokio::test(start_paused = true)]
async fn a_cycle_at_the_start_and_one_for_each_burst_of_changes() {
    let rig = Rig::new([]);
    settle().await;
    assert_eq!((rig.begun().len(), rig.status().state), (1, State::Idle));
    for value in 0..100 {
        rig.links.put("eth0", Link(value));
        rig.links.put("eth1", Link(value));
    }
    settle().await;
    assert_eq!((rig.begun().len(), rig.outputs()), (2, vec!["eth0".to_owned(), "eth1".to_owned()]));
    rig.links.put("eth1", Link(99));
    settle().await;
    assert_eq!(rig.begun().len(), 2, "an equal value asks for nothing");
    rig.links.remove("eth0");
    settle().await;
    assert_eq!((rig.begun().len(), rig.outputs()), (3, vec!["eth1".to_owned()]), "what is not put again is removed");
    assert_eq!(rig.stop().await.cut, Vec::<&str>::new());
}

#[tokio::test(start_paused = true)]
async fn a_change_during_a_cycle_asks_for_another() {
    let rig = Rig::new([Do::Work(100 * MS)]);
    sleep(50 * MS).await;
    assert_eq!(rig.status().state, State::Running);
    rig.links.put("eth0", Link(1));
    sleep(100 * MS).await;
    assert_eq!((rig.begun(), rig.outputs()), (vec![0, 100], vec!["eth0".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn time_and_wake_ups() {
    let rig = Rig::new([Do::End(Next::After(Duration::from_secs(10))), Do::End(Next::After(Duration::from_secs(10)))]);
    settle().await;
    assert_eq!(rig.status().next_cycle, Some(Duration::from_millis(9_999)));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(rig.begun(), [0, 10_000]);
    sleep(Duration::from_secs(4)).await;
    rig.kick.notify_one();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(rig.begun(), [0, 10_000, 14_001], "a wake-up comes before the time, and replaces it");
}

#[tokio::test(start_paused = true)]
async fn unready_keeps_outputs_and_waits_for_news() {
    let rig = Rig::new([Do::End(Next::OnChange), Do::End(Next::Unready)]);
    rig.links.put("eth0", Link(1));
    settle().await;
    rig.links.remove("eth0");
    settle().await;
    assert_eq!((rig.status().state, rig.outputs()), (State::Unready, vec!["eth0".to_owned()]));
    sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.begun().len(), 2);
    rig.kick.notify_one();
    settle().await;
    assert_eq!((rig.status().state, rig.outputs()), (State::Idle, vec![]));
}

#[tokio::test(start_paused = true)]
async fn failures_back_off_and_keep_outputs() {
    let rig = Rig::new([
        Do::End(Next::OnChange),
        Do::Fail("no"),
        Do::Fail("no"),
        Do::Panic,
        Do::Fail("no"),
        Do::End(Next::OnChange),
        Do::Fail("again"),
    ]);
    rig.links.put("eth0", Link(1));
    settle().await;
    rig.links.remove("eth0");
    settle().await;
    let status = rig.status();
    assert_eq!((status.state, status.failures, status.last_error.as_deref()), (State::BackingOff, 1, Some("no")));
    assert!(status.next_cycle.unwrap() <= 200 * MS && status.next_cycle.unwrap() > 150 * MS);
    sleep(700 * MS).await;
    assert_eq!(rig.status().last_error.as_deref(), Some("panicked: told to"));
    assert_eq!(rig.outputs(), ["eth0"], "a failure sweeps nothing");
    sleep(Duration::from_secs(10)).await;
    let status = rig.status();
    assert_eq!((status.state, status.cycles, status.failures, status.failures_in_a_row), (State::Idle, 6, 4, 0));
    assert_eq!(rig.outputs(), Vec::<String>::new());
    let begun = rig.begun();
    for (pair, full) in begun[1..].windows(2).zip([200, 400, 800, 1600]) {
        let delay = pair[1] - pair[0];
        assert!((full * 3 / 4).max(200) <= delay && delay <= full + 2, "{delay} of {full}: {begun:?}");
    }
    rig.kick.notify_one();
    sleep(201 * MS + MS).await;
    assert_eq!(rig.status().cycles, 8, "success has reset the back-off");
}

#[tokio::test(start_paused = true)]
async fn news_cuts_a_long_wait_short_but_does_not_spin() {
    let rig = Rig::new(vec![Do::Fail("no"); 1000]);
    sleep(Duration::from_secs(300)).await;
    let before = rig.begun().len();
    assert!((14..=19).contains(&before), "{before} tries in five minutes");
    for value in 0..1000 {
        rig.links.put("eth0", Link(value));
        sleep(10 * MS).await;
    }
    let more = rig.begun().len() - before;
    assert!((2..=5).contains(&more), "{more} tries in ten seconds of endless news");
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_the_cycle_finish() {
    let rig = Rig::new([Do::Work(500 * MS)]);
    rig.links.put("eth0", Link(1));
    settle().await;
    let (store, started) = (rig.store.clone(), rig.started);
    assert_eq!(rig.stop().await.cut, Vec::<&str>::new());
    assert_eq!((started.elapsed(), store.list::<Address>().len()), (500 * MS, 1));
}

#[tokio::test(start_paused = true)]
async fn a_stop_cuts_what_hangs() {
    let rig = Rig::new([Do::Hang]);
    settle().await;
    let started = rig.started;
    assert_eq!(rig.stop().await.cut, ["test/copier"]);
    assert_eq!(started.elapsed(), 1001 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_back_off() {
    let rig = Rig::new(vec![Do::Fail("no"); 100]);
    sleep(Duration::from_secs(100)).await;
    let (status, now) = (rig.status.clone(), Instant::now());
    assert_eq!(rig.stop().await.cut, Vec::<&str>::new());
    assert_eq!((now.elapsed(), status.controllers()[0].state), (Duration::ZERO, State::Stopped));
}

struct Restless {
    panics: u32,
}

impl Controller for Restless {
    const NAME: &'static str = "test/restless";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.own::<Address>().share::<Wait>();
    }

    async fn reconcile(&mut self, _: &mut Cycle<'_>) -> Result<Next, CycleError> {
        Ok(Next::OnChange)
    }

    async fn wake(&mut self) {
        if self.panics > 0 {
            self.panics -= 1;
            panic!("in wake");
        }
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_wake_is_a_failure() {
    let mut runtime = Runtime::new(Store::new());
    runtime.register(Restless { panics: 1 });
    let status = runtime.status();
    let stopped = runtime.run(async {
        settle().await;
        let failed = status.controller("test/restless").unwrap();
        assert_eq!((failed.state, failed.last_error.as_deref()), (State::BackingOff, Some("panicked: in wake")));
        advance(Duration::from_secs(1)).await;
        settle().await;
        assert_eq!(status.controller("test/restless").unwrap().state, State::Idle);
    });
    assert_eq!(stopped.await.unwrap().cut, Vec::<&str>::new());
}

struct Torn;

impl Controller for Torn {
    const NAME: &'static str = "test/torn";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.own::<Link>().share::<Link>();
    }

    async fn reconcile(&mut self, _: &mut Cycle<'_>) -> Result<Next, CycleError> {
        unreachable!("never starts")
    }
}

#[tokio::test]
async fn every_problem_is_told_before_anything_starts() {
    let rig = || Copier { script: vec![], begun: Arc::default(), kick: Arc::default() };
    let mut runtime = Runtime::new(Store::new());
    runtime.register(rig()).register(Restless { panics: 0 }).register(Torn).register(rig());
    let problems = runtime.run(std::future::pending()).await.unwrap_err();
    let told: Vec<_> = problems.0.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "test/restless wants to own address, but test/copier has declared to own it: one may own a type, or all \
             share it",
            "test/torn wants to share link, but test/torn has declared to own it: one may own a type, or all share it",
            "two controllers are named test/copier: rename one, or register it once",
        ]
    );
}
