//! The clock against imitated servers and an imitated kernel.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use reconcile::{Store, run_cycle};
use serde_json::json;

use super::*;
use crate::controllers::system::tests_support::{decide, document, undecided};
use crate::resources::event::Event;

/// What each server says.
#[derive(Clone, Default)]
struct Fake(Arc<Mutex<BTreeMap<String, Result<Sample, NoTime>>>>);

impl Fake {
    fn says(&self, server: &str, offset_us: i64) {
        let sample = Sample { server: server.into(), offset_us, delay_us: 100, stratum: 2 };
        self.0.lock().unwrap().insert(server.into(), Ok(sample));
    }
}

impl Servers for Fake {
    async fn ask(&self, server: String) -> Result<Sample, NoTime> {
        self.0.lock().unwrap().get(&server).cloned().unwrap_or_else(|| Err("no answer".to_owned().into()))
    }
}

/// What was done to the clock.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Change>>>);

impl Power for Recorder {
    fn step(&mut self, offset_us: i64) -> io::Result<()> {
        self.0.lock().unwrap().push(Change::Step(offset_us));
        Ok(())
    }
    fn slew(&mut self, offset_us: i64) -> io::Result<()> {
        self.0.lock().unwrap().push(Change::Slew(offset_us));
        Ok(())
    }
}

struct World {
    dir: tempfile::TempDir,
    store: Store,
    servers: Fake,
    done: Recorder,
    sure: Sure,
    clock: Clock<Fake, Recorder>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new();
        let events = Events::open(&store, dir.path().join("events")).unwrap();
        let (servers, done, sure) = (Fake::default(), Recorder::default(), Sure::default());
        let clock = Clock::new(servers.clone(), done.clone(), sure.clone(), dir.path().join("time"), events);
        Self { dir, store, servers, done, sure, clock }
    }

    fn names(&self, servers: &[&str]) {
        decide(&self.store, &[document("Time", "", json!({ "servers": servers }))]);
    }

    /// Asks, and takes the answers; how long until it asks again.
    async fn round(&mut self) -> Duration {
        run_cycle(&mut self.clock, &self.store).await.unwrap();
        self.clock.wake().await;
        run_cycle(&mut self.clock, &self.store).await.unwrap();
        self.clock.due.saturating_duration_since(Instant::now())
    }

    fn status(&self) -> Time {
        (*self.store.get::<Time>(Time::ID).unwrap().value).clone()
    }

    fn done(&self) -> Vec<Change> {
        std::mem::take(&mut self.done.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_set_once_then_slewed_and_asked_less_often() {
    let mut world = World::new();
    undecided(&world.store);
    assert_eq!(run_cycle(&mut world.clock, &world.store).await, Ok(Next::Unready));
    world.names(&["a", "b"]);
    world.servers.says("a", 5_000_000);
    assert_eq!(world.round().await, LEAST);
    assert_eq!(world.done(), [Change::Step(5_000_000)]);
    assert!(world.sure.is() && world.store.get::<Condition>("time").unwrap().value.met);
    let status = world.status();
    assert!(status.sure && status.server == "a" && status.problem.is_empty(), "{status:?}");
    assert_eq!(status.asked[1].problem, "no answer");
    assert_eq!(status.origin.unwrap().document, "Time");
    assert!(world.store.list::<Event>().iter().any(|e| e.value.message.contains("set by a: it was 5.000 s off")));

    for expected in [128, 256, 512, 1024, 1024] {
        world.servers.says("a", 50);
        tokio::time::advance(MOST).await;
        assert_eq!(world.round().await.as_secs(), expected);
    }
    assert_eq!(world.done(), [Change::Slew(50); 5]);
    // An hour off, and it does not jump.
    world.servers.says("a", 3_600_000_000);
    tokio::time::advance(MOST).await;
    assert_eq!(world.round().await, LEAST);
    assert_eq!(world.done(), [Change::Slew(3_600_000_000)]);
    assert!(world.status().problem.contains("60 min off") && world.status().problem.contains("reboot"));
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_it_waits_so_long_and_goes_on_asking() {
    let mut world = World::new();
    world.names(&["a"]);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        pauses.push(world.round().await.as_secs());
        tokio::time::advance(SOON).await;
    }
    assert_eq!(pauses, [4, 8, 16, 32, 64, 64, 64]);
    // With an address it is asked at once.
    let conditions = world.store.shared_writer::<Condition>("test").unwrap();
    conditions.put(Condition::NETWORK, Condition::met("eth0 has an address")).unwrap();
    assert_eq!(world.round().await.as_secs(), 4);
    let wait = world.store.get::<Wait>("time").unwrap().value;
    assert_eq!(wait.deadline_uptime_ms.unwrap() - wait.since_uptime_ms, 30_000);
    assert!(wait.reason.contains("a: no answer"), "{}", wait.reason);
    assert!(!world.sure.is() && world.done().is_empty());
    let condition = world.store.get::<Condition>("time").unwrap().value;
    assert!(!condition.met && !condition.required && condition.reason.contains("no time server has answered"));
    world.clock.since_ms = Some(0);
    tokio::time::advance(SOON).await;
    // It was long ago: nobody waits any more.
    if uptime::now_ms() > 30_000 {
        world.round().await;
        assert!(world.store.get::<Wait>("time").is_none());
    }
    world.servers.says("a", 1);
    tokio::time::advance(SOON).await;
    world.round().await;
    assert!(world.sure.is());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_wants_to_be_left_alone_is_and_the_others_are_asked() {
    let mut world = World::new();
    let says = |world: &World, rest| {
        world.servers.0.lock().unwrap().insert("a".into(), Err(NoTime { why: "no".into(), rest: Some(rest) }));
    };
    world.names(&["a", "b"]);
    says(&world, ask::DENIED);
    world.servers.says("b", 1);
    assert_eq!(world.round().await, LEAST);
    // It would say otherwise now, and is not asked.
    world.servers.says("a", 1);
    tokio::time::advance(LEAST).await;
    world.round().await;
    let status = world.status();
    assert_eq!(status.asked[0].problem, "no: it is not asked for 60 min", "{status:?}");
    assert_eq!(status.asked.len(), 2);

    // The only one: nothing is sent before its time, and a pause that was long stays so.
    let mut world = World::new();
    world.names(&["a"]);
    world.servers.says("a", 1);
    world.round().await;
    says(&world, ask::SLOWER);
    world.clock.pause = MOST;
    tokio::time::advance(MOST).await;
    assert_eq!((world.round().await, world.clock.pause), (MOST, MOST));
    world.clock.due = Instant::now();
    world.servers.says("a", 1);
    run_cycle(&mut world.clock, &world.store).await.unwrap();
    assert!(world.clock.asking.is_empty());
    assert_eq!(world.clock.due.saturating_duration_since(Instant::now()), ask::SLOWER);
    tokio::time::advance(ask::SLOWER).await;
    world.round().await;
    assert_eq!(world.status().problem, "");
}

#[tokio::test(start_paused = true)]
async fn the_document_counts_before_dhcp_and_others_are_asked_at_once() {
    let mut world = World::new();
    decide(&world.store, &[]);
    run_cycle(&mut world.clock, &world.store).await.unwrap();
    assert!(world.status().problem.contains("neither a document Time nor DHCP"), "{:?}", world.status());
    let offered = TimeServer { address: "192.0.2.1".parse().unwrap(), link: "eth0".into(), source: "dhcp4".into() };
    world.store.writer::<TimeServer>("test").unwrap().put("192.0.2.1", offered);
    world.round().await;
    let spec = || (*world.store.get::<TimeSpec>(TimeSpec::ID).unwrap().value).clone();
    assert_eq!((spec().servers, spec().source), (vec!["192.0.2.1".to_owned()], Source::Network));

    world.servers.says("b", 1);
    world.names(&["b"]);
    world.round().await;
    assert_eq!(world.status().server, "b");
    world.names(&[]);
    run_cycle(&mut world.clock, &world.store).await.unwrap();
    assert!(world.status().problem.contains("nobody is asked"));
}

#[tokio::test(start_paused = true)]
async fn the_next_machined_knows_that_it_was_set() {
    let mut world = World::new();
    world.names(&["a"]);
    world.servers.says("a", 5_000_000);
    world.round().await;
    world.done();
    let (sure, events) = (Sure::default(), world.clock.events.clone());
    world.clock =
        Clock::new(world.servers.clone(), world.done.clone(), sure.clone(), world.dir.path().join("time"), events);
    assert!(sure.is());
    world.round().await;
    assert_eq!(world.done(), [Change::Slew(5_000_000)]);
}
