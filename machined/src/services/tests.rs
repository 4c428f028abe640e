//! The supervisor with real processes and an init that is a task: starts, readiness, ends, back-off, adoption.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reconcile::Store;
use tokio::task::JoinSet;

use super::*;
use crate::events::Events;
use crate::link::tests::{Init, connect};
use crate::logs::{Logs, Start};
use crate::resources::Condition;
use crate::resources::service::{self as resource, State};

/// A machine in a folder: what survives a machined is in `init` and the folder.
struct Host {
    dir: tempfile::TempDir,
    init: Arc<Mutex<Init>>,
}

/// One machined of it.
struct Run {
    store: Store,
    handle: Handle,
    logs: Logs,
    tasks: JoinSet<()>,
}

impl Host {
    fn new(declarations: &[(&str, &str)]) -> Self {
        let host = Self { dir: tempfile::tempdir().unwrap(), init: Arc::default() };
        let dir = host.dir.path().join("declarations");
        fs::create_dir(&dir).unwrap();
        for (name, text) in declarations {
            let text =
                format!("apiVersion: stele/v1\nkind: Service\nname: {name}\nuser: 0\ncapabilities: [ALL]\n{text}");
            fs::write(dir.join(format!("{name}.yaml")), text).unwrap();
        }
        host
    }

    async fn start(&self) -> Run {
        self.try_start().await.unwrap().0
    }

    /// Also what nobody took of what init kept.
    async fn try_start(&self) -> Result<(Run, Vec<String>), Error> {
        let at = |name| self.dir.path().join(name);
        let (link, mut tasks) = connect(&self.init, &stop::Handle::new());
        let (store, logs) = (Store::new(), Logs::new(at("logs"), "0a1b2c3d"));
        let events = Events::open(&store, at("events")).unwrap();
        let paths = Paths { declarations: at("declarations"), run: at("run"), cgroups: at("cgroups") };
        let mut kept = link.fetch().await.unwrap();
        let context = Context::new(paths, store.clone(), link, logs.clone(), events).unwrap();
        let (handle, supervisor) = build(context, &mut kept).await?;
        tasks.spawn(supervisor.run());
        let left = kept.entries.iter().map(|entry| entry.name.to_string()).collect();
        Ok((Run { store, handle, logs, tasks }, left))
    }
}

impl Run {
    async fn until(&self, name: &str, what: &str, holds: impl Fn(&resource::Service) -> bool) -> resource::Service {
        let mut changes = self.store.watch::<resource::Service>();
        let wait = async {
            loop {
                if let Some(object) = self.store.get::<resource::Service>(name)
                    && holds(&object.value)
                {
                    return (*object.value).clone();
                }
                changes.changed().await;
            }
        };
        match tokio::time::timeout(Duration::from_secs(20), wait).await {
            Ok(service) => service,
            Err(_) => panic!("{name} is not {what}: {:?}", self.store.get::<resource::Service>(name)),
        }
    }

    async fn state(&self, name: &str, state: State) -> resource::Service {
        self.until(name, &format!("{state:?}"), |s| s.state == state).await
    }

    /// The log, once it has so many lines.
    async fn lines(&self, name: &str, wanted: usize) -> String {
        let there = async {
            loop {
                let log = self.log(name).await;
                if log.lines().count() >= wanted {
                    return log;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), there).await.expect("lines in the log")
    }

    async fn log(&self, name: &str) -> String {
        let mut reader = self.logs.open(name, &Start::Oldest, false).unwrap();
        let mut text = String::new();
        while let Some(chunk) = reader.next().await.unwrap() {
            chunk.lines.iter().for_each(|l| text += &format!("{}\n", String::from_utf8_lossy(&l.text)));
        }
        text
    }
}

fn sh(script: &str) -> String {
    format!("run: [/bin/sh, -c, '{script}']\n")
}

#[tokio::test]
async fn it_starts_says_ready_logs_and_stops() {
    let script = "echo hello; echo err >&2; eval \"echo x >&$STELE_READY_FD\"; exec sleep 1000";
    let host = Host::new(&[("web", &(sh(script) + "ready: { notify: true }\n"))]);
    let run = host.start().await;
    let service = run.state("web", State::Ready).await;
    assert!(service.pid.is_some() && service.why.is_empty());
    run.handle.stop("web").await.unwrap();
    let service = run.state("web", State::Stopped).await;
    assert_eq!((service.pid, service.last_end.as_deref()), (None, Some("stopped as wanted")));
    assert_eq!(run.log("web").await, "hello\nerr\n");
    assert!(matches!(run.handle.stop("nope").await, Err(Error::Unknown { .. })));
}

#[tokio::test]
async fn a_socket_is_passed_on_and_stays_the_same() {
    let script = "echo $LISTEN_FDS $LISTEN_FDNAMES; test -S /dev/fd/3 && echo socket; exec sleep 1000";
    let listen = "listen: [{ name: api, tcp: \"127.0.0.1:0\" }]\n";
    let host = Host::new(&[("web", &(sh(script) + listen))]);
    let run = host.start().await;
    run.state("web", State::Ready).await;
    run.handle.restart("web").await.unwrap();
    run.until("web", "restarted", |s| s.state == State::Ready && s.restarts == 1).await;
    let twice = "1 api\nsocket\n".repeat(2);
    assert_eq!(run.lines("web", 4).await, twice);
}

#[tokio::test]
async fn one_that_ends_is_started_again_after_a_pause_and_says_why() {
    let host = Host::new(&[("web", &(sh("exit 3") + "restart: { when: always, backoff: 10ms..20ms }\n"))]);
    let run = host.start().await;
    let service = run.until("web", "restarted twice", |s| s.restarts >= 2).await;
    assert_eq!(service.last_end.as_deref(), Some("ended with exit code 3"));
    run.handle.stop("web").await.unwrap();
}

#[tokio::test]
async fn one_that_ignores_the_signal_is_killed_and_one_that_is_late_is_ended() {
    let deaf = sh("trap \"\" TERM; echo up; while :; do sleep 1; done") + "stop: { within: 300ms }\n";
    let late = sh("exec sleep 1000") + "ready: { notify: true, within: 200ms }\nrestart: { when: never }\n";
    let host = Host::new(&[("deaf", &deaf), ("late", &late)]);
    let run = host.start().await;
    run.state("deaf", State::Ready).await;
    let service = run.state("late", State::Failed).await;
    assert_eq!(service.last_end.as_deref(), Some("was not ready in time"));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stop = stop::Handle::new();
    assert!(run.handle.stop_all(&stop, "gateway").await.is_empty());
    run.state("deaf", State::Stopped).await;
}

#[tokio::test]
async fn needs_are_waited_for_and_bad_files_do_not_stop_others() {
    let web = sh("exec sleep 1000") + "needs: [db]\n";
    let db = sh("exec sleep 1000") + "needs: [\"path:/nonexistent/disk\"]\n";
    let host = Host::new(&[("web", &web), ("db", &db), ("bad", "run: 5\n"), ("fine", &sh("exec sleep 1000"))]);
    let run = host.start().await;
    assert_eq!(run.state("web", State::Waiting).await.why, "needs db");
    assert_eq!(run.state("db", State::Waiting).await.why, "needs path:/nonexistent/disk");
    run.state("fine", State::Ready).await;
    let condition = run.store.get::<Condition>("service-bad").unwrap();
    assert!(condition.value.reason.contains("expected a list"), "{}", condition.value.reason);
}

#[tokio::test]
async fn what_waits_for_the_network_holds_nothing_up() {
    let run = sh("exec sleep 1000");
    let host = Host::new(&[
        ("db", &(run.clone() + "needs: [network]\n")),
        ("web", &(run.clone() + "needs: [db]\n")),
        ("disk", &(run + "needs: [network, \"path:/nonexistent/disk\"]\n")),
    ]);
    let run = host.start().await;
    run.until("web", "to know why", |web| web.why == "needs db (waits for the network)").await;
    assert_eq!(run.state("db", State::Waiting).await.why, "needs network");
    run.state("disk", State::Waiting).await;
    let required = |name: &str| {
        let condition = run.store.get::<Condition>(&format!("service-{name}")).unwrap().value;
        assert!(!condition.met, "{name}: {}", condition.reason);
        condition.required
    };
    assert_eq!([required("db"), required("web"), required("disk")], [false, false, true]);
    let network = run.store.shared_writer::<Condition>("network").unwrap();
    network.put(Condition::NETWORK, Condition::met("an address").optional()).unwrap();
    run.state("web", State::Ready).await;
    assert!(run.store.get::<Condition>("service-web").unwrap().value.required);
}

#[tokio::test]
async fn a_new_machined_adopts_what_runs_and_learns_how_it_ends() {
    let script = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.02; done";
    let host = Host::new(&[("web", &sh(script)), ("once", &(sh("exit 4") + "restart: { when: never }\n"))]);
    let mut first = host.start().await;
    let before = first.state("web", State::Ready).await;
    first.state("once", State::Failed).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.tasks.shutdown().await; // machined is killed
    drop(first);
    tokio::time::sleep(Duration::from_millis(100)).await;

    let second = host.start().await;
    let after = second.state("web", State::Ready).await;
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
    let once = second.state("once", State::Failed).await;
    assert_eq!(once.restarts, 0);
    second.lines("web", 9).await;
    second.handle.stop("web").await.unwrap();
    let log = second.log("web").await;
    let numbers: Vec<u32> = log.lines().map(|l| l.parse().unwrap()).collect();
    assert!(numbers.len() > 8, "{numbers:?}");
    assert!(numbers.iter().zip(1..).all(|(a, b)| *a == b), "no line is lost or twice: {numbers:?}");
    let service = second.state("web", State::Stopped).await;
    assert_eq!(service.pid, None);
}

/// Killed between fork and init's answer, and between the end's record and init's forgetting it.
#[tokio::test]
async fn a_machined_killed_halfway_leaves_nothing_in_doubt() {
    let once = sh("exit 4") + "restart: { when: never }\n";
    let host = Host::new(&[("web", &sh("exec sleep 1000")), ("once", &once)]);
    let mut first = host.start().await;
    let before = first.state("web", State::Ready).await;
    first.state("once", State::Failed).await;
    first.tasks.shutdown().await;
    drop(first);
    {
        let kept = &mut host.init.lock().unwrap().kept;
        let web = kept.iter().position(|(name, ..)| name.as_str() == "pid:web").unwrap();
        let (_, kind, pidfd) = kept.remove(web);
        // A descriptor of a process that is not the record's.
        kept.push((sys::link::Name::new("pid:once").unwrap(), kind, pidfd));
    }

    let second = host.start().await;
    let after = second.state("web", State::Ready).await;
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
    let once = second.state("once", State::Failed).await;
    assert_eq!((once.restarts, once.last_end.as_deref()), (0, Some("ended with exit code 4")));
    let kept = || host.init.lock().unwrap().kept.iter().map(|(name, ..)| name.to_string()).collect::<Vec<_>>();
    assert!(kept().contains(&"pid:web".into()) && !kept().contains(&"pid:once".into()), "{:?}", kept());
    second.handle.stop("web").await.unwrap();
}

/// As with a kernel short of memory: what runs keeps its descriptors, and the next machined has it again.
#[tokio::test]
async fn what_runs_and_cannot_be_taken_over_is_left_to_the_next_machined() {
    let host = Host::new(&[("web", &sh("exec sleep 1000"))]);
    let mut first = host.start().await;
    let before = first.state("web", State::Ready).await;
    first.tasks.shutdown().await;
    drop(first);
    let log = host.dir.path().join("logs/web");
    fs::rename(&log, log.with_extension("away")).unwrap();
    fs::write(&log, "not a folder").unwrap();
    let error = host.try_start().await.err().map(|error| chain(&error));
    assert!(error.as_ref().is_some_and(|e| e.starts_with("cannot take over the service web")), "{error:?}");
    fs::remove_file(&log).unwrap();
    fs::rename(log.with_extension("away"), &log).unwrap();

    let third = host.start().await;
    let after = third.state("web", State::Ready).await;
    assert_eq!((after.pid, after.restarts), (before.pid, 0));
    third.handle.stop("web").await.unwrap();
}

#[tokio::test]
async fn one_that_never_ran_and_cannot_stops_no_other_and_keeps_what_is_its_own() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("listen: [{{ name: api, tcp: \"{}\" }}]\n", taken.local_addr().unwrap());
    let host = Host::new(&[("web", &(sh("exec sleep 1000") + &listen)), ("fine", &sh("exec sleep 1000"))]);
    let null = || std::fs::File::open("/dev/null").unwrap().into();
    for name in ["log:web", "log:gone"] {
        host.init.lock().unwrap().kept.push((sys::link::Name::new(name).unwrap(), sys::link::Kind::Plain, null()));
    }
    let (run, left) = host.try_start().await.unwrap();
    run.state("fine", State::Ready).await;
    assert!(run.store.get::<Condition>("service-web").is_some_and(|condition| !condition.value.met));
    assert_eq!(left, ["log:gone"]);
    run.handle.stop("fine").await.unwrap();
}
