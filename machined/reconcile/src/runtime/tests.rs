//! The life of controllers, under a paused clock.

use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, advance, sleep};

use super::*;
use crate::controller::Next;
use crate::cycle::{Cycle, CycleError};
use crate::samples::{Address, Link, Wait};
use crate::store::Writer;

mod check;
mod failure;
mod logged;
mod stop;
mod told;

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
        ports.watch::<Link>().watch::<Wait>().own::<Address>();
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
    links: Writer<Link>,
    waits: Writer<Wait>,
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
        let waits = store.writer::<Wait>("test").unwrap();
        let (begun, kick): (Arc<Mutex<_>>, Arc<Notify>) = Default::default();
        let mut runtime = Runtime::new(store.clone());
        let copier = Copier { script: script.into(), begun: Arc::clone(&begun), kick: Arc::clone(&kick) };
        runtime.register(copier).grace(Duration::from_secs(1));
        let status = runtime.status();
        let (stop, stopping) = oneshot::channel();
        let mut running = JoinSet::new();
        running.spawn(runtime.run(async move { drop(stopping.await) }));
        Self { store, links, waits, status, begun, kick, started: Instant::now(), stop, running }
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
        rig.waits.put("a", Wait(value));
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
