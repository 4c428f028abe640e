//! Settings against an imitated kernel.

use std::sync::{Arc, Mutex};

use reconcile::{Store, run_cycle};
use serde_json::{Value, json};

use super::*;
use crate::controllers::system::tests_support::{decide, document, undecided};
use crate::resources::event::Event;

#[derive(Clone, Debug, Default)]
struct Fake(Arc<Mutex<BTreeMap<String, String>>>);

impl Fake {
    fn get(&self, path: &str) -> String {
        self.0.lock().unwrap()[path].clone()
    }
    fn put(&self, path: &str, value: &str) {
        self.0.lock().unwrap().insert(path.into(), value.into());
    }
}

impl Host for Fake {
    fn read(&self, path: &str) -> io::Result<String> {
        match self.0.lock().unwrap().get(path) {
            Some(_) if path.ends_with("flush") => Err(io::ErrorKind::PermissionDenied.into()),
            Some(value) => Ok(value.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
    fn write(&self, path: &str, value: &str) -> io::Result<()> {
        match (value, self.0.lock().unwrap().get_mut(path)) {
            (_, None) => Err(io::ErrorKind::NotFound.into()),
            ("wrong", _) => Err(io::ErrorKind::InvalidInput.into()),
            // As the kernel shows what it was given.
            (value, Some(old)) => {
                *old = if value == "0x10" { "16".into() } else { value.replace(' ', "\t") };
                Ok(())
            }
        }
    }
}

struct World {
    _dir: tempfile::TempDir,
    store: Store,
    host: Fake,
    path: PathBuf,
    controller: Sysctls<Fake>,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new();
        let events = Events::open(&store, dir.path().join("events")).unwrap();
        let host = Fake::default();
        for (path, value) in [("net/ipv4/ip_forward", "0"), ("vm/hex", "1"), ("vm/range", "1\t2"), ("vm/flush", "")] {
            host.put(path, value);
        }
        let path = dir.path().join("sysctl.json");
        let controller = Sysctls::new(host.clone(), path.clone(), events);
        Self { _dir: dir, store, host, path, controller }
    }

    /// Another machined takes over.
    fn restart(&mut self) {
        let events = self.controller.events.clone();
        self.controller = Sysctls::new(self.host.clone(), self.path.clone(), events);
    }

    async fn run(&mut self, settings: Option<Value>) -> Next {
        let document = settings.map(|settings| document("Sysctl", "a", json!({ "settings": settings })));
        decide(&self.store, document.as_slice());
        run_cycle(&mut self.controller, &self.store).await.unwrap()
    }

    fn status(&self, name: &str) -> Sysctl {
        (*self.store.get::<Sysctl>(name).unwrap().value).clone()
    }

    fn why_not(&self) -> String {
        let condition = self.store.get::<Condition>("document/Sysctl/a").unwrap().value;
        if condition.met { String::new() } else { condition.reason.clone() }
    }
}

#[tokio::test]
async fn set_while_wanted_and_put_back_after_even_by_another_machined() {
    let mut world = World::new();
    undecided(&world.store);
    assert_eq!(run_cycle(&mut world.controller, &world.store).await, Ok(Next::Unready));

    let settings = json!({ "net.ipv4.ip_forward": "1", "vm.hex": "0x10", "vm.range": "3 4", "vm.flush": "1" });
    assert_eq!(world.run(Some(settings.clone())).await, Next::After(LOOK));
    let status = world.status("net.ipv4.ip_forward");
    assert_eq!((status.value.as_str(), status.before.as_str(), status.problem.as_str()), ("1", "0", ""));
    assert_eq!(status.origin.unwrap().document, "Sysctl/a");
    assert_eq!((world.host.get("vm/hex"), world.host.get("vm/range")), ("16".into(), "3\t4".into()));
    assert_eq!(world.why_not(), "");

    // What is as it was left is not written again: a second time changes nothing.
    world.run(Some(settings)).await;
    assert!(world.store.list::<Event>().is_empty());

    world.run(Some(json!({ "net.ipv4.ip_forward": "1" }))).await;
    assert_eq!((world.host.get("vm/hex"), world.host.get("vm/range")), ("1".into(), "1\t2".into()));
    world.restart();
    undecided(&world.store);
    run_cycle(&mut world.controller, &world.store).await.unwrap();
    assert_eq!(world.host.get("net/ipv4/ip_forward"), "1", "nothing is taken back while nothing is known");
    assert_eq!(world.run(None).await, Next::OnChange);
    assert_eq!(world.host.get("net/ipv4/ip_forward"), "0");
    assert!(world.store.list::<Sysctl>().is_empty() && world.store.list::<SysctlSpec>().is_empty());
}

#[tokio::test]
async fn what_somebody_else_changes_is_set_back_and_told() {
    let mut world = World::new();
    let settings = json!({ "net.ipv4.ip_forward": "1" });
    world.run(Some(settings.clone())).await;
    world.host.put("net/ipv4/ip_forward", "0");
    world.run(Some(settings.clone())).await;
    assert_eq!((world.host.get("net/ipv4/ip_forward"), world.status("net.ipv4.ip_forward").drifts), ("1".into(), 1));
    let told: Vec<_> = world.store.list::<Event>().iter().map(|event| event.value.message.clone()).collect();
    assert_eq!(told, ["net.ipv4.ip_forward had been changed to 0: set back to 1"]);
    // Another value in the document is none.
    world.run(Some(json!({ "net.ipv4.ip_forward": "2" }))).await;
    assert_eq!(world.status("net.ipv4.ip_forward").drifts, 1);
    world.run(None).await;
    assert_eq!(world.host.get("net/ipv4/ip_forward"), "0", "as it was before the first of them");
}

#[tokio::test]
async fn one_that_is_refused_is_said_and_the_others_go_on() {
    let mut world = World::new();
    let settings = json!({ "net.ipv4.ip_forward": "wrong", "vm.nothing": "1", "vm.hex": "5" });
    world.run(Some(settings.clone())).await;
    assert_eq!(world.host.get("vm/hex"), "5");
    let why = world.why_not();
    assert!(why.contains("net.ipv4.ip_forward: the kernel does not take this value"), "{why}");
    assert!(why.contains("vm.nothing: there is no /proc/sys/vm/nothing: check the name"), "{why}");
    assert!(why.starts_with("Sysctl/a (revision 7, line 3)"), "{why}");
    // It comes with a module, later.
    world.host.put("vm/nothing", "0");
    world.run(Some(settings)).await;
    assert_eq!(world.host.get("vm/nothing"), "1");
    world.run(None).await;
    assert_eq!(world.host.get("net/ipv4/ip_forward"), "0");
}

#[tokio::test]
async fn nothing_is_changed_when_what_it_was_cannot_be_kept() {
    let mut world = World::new();
    world.controller.path = world.path.join("file/in/a/file");
    std::fs::write(&world.path, "a file").unwrap();
    decide(&world.store, &[document("Sysctl", "a", json!({ "settings": { "vm.hex": "5" } }))]);
    assert!(run_cycle(&mut world.controller, &world.store).await.is_err());
    assert_eq!(world.host.get("vm/hex"), "1");
}

#[tokio::test]
async fn what_was_written_by_a_machined_that_died_right_then_is_put_back() {
    let mut world = World::new();
    world.run(Some(json!({ "vm.hex": "5" }))).await;
    let mut kept = world.controller.kept();
    // As it was kept before the write.
    kept.get_mut("vm/hex").unwrap().applied = None;
    std::fs::write(&world.path, serde_json::to_vec(&kept).unwrap()).unwrap();
    world.restart();
    world.run(None).await;
    assert_eq!(world.host.get("vm/hex"), "1");
}

#[test]
fn names_are_as_sysctl_prints_them() {
    for (path, expected) in [
        ("net/ipv4/ip_forward", "net.ipv4.ip_forward"),
        ("net/ipv4/conf/eth0.10/rp_filter", "net.ipv4.conf.eth0/10.rp_filter"),
    ] {
        assert_eq!(name(path), expected);
        assert_eq!(config::kinds::sysctl_path(expected).unwrap(), path);
    }
}

/// The real kernel, in a network of its own.
#[test]
fn the_kernel_takes_shows_and_gets_back_its_settings() {
    let work = || {
        if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            eprintln!("skipped: no network namespace: {error}");
            return;
        }
        let (host, kept) = (Proc::new("/proc/sys"), std::cell::RefCell::new(BTreeMap::new()));
        let apply = |settings: &[(&str, &str)]| {
            let wanted = settings.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
            let known = kept.borrow().clone();
            let keep = |new: &BTreeMap<String, Kept>| {
                kept.replace(new.clone());
                Ok(())
            };
            apply::apply(&host, &wanted, known, keep).unwrap()
        };
        let (forward, range) = ("net/ipv4/ip_forward", "net/ipv4/ip_local_port_range");
        let before = host.read(range).unwrap();
        let first = apply(&[(forward, "1"), (range, "40000 50000"), ("net/ipv4/nothing", "1"), ("net/ipv4", "1")]);
        assert_eq!((first[forward].value.as_str(), first[forward].problem.as_str()), ("1", ""));
        assert_eq!(first[range].value, "40000\t50000");
        assert!(first["net/ipv4/nothing"].problem.contains("there is no /proc/sys/net/ipv4/nothing"), "{first:?}");
        assert!(first["net/ipv4"].problem.contains("a group of settings"), "{first:?}");
        host.write(forward, "0").unwrap();
        assert_eq!(apply(&[(forward, "1"), (range, "40000 50000")])[forward].drifted.as_deref(), Some("0"));
        assert!(apply(&[(forward, "1"), (range, "nonsense")])[range].problem.contains("does not take"));
        assert!(apply(&[]).is_empty() && kept.borrow().is_empty());
        assert_eq!((host.read(forward).unwrap(), host.read(range).unwrap()), ("0".into(), before));
    };
    std::thread::spawn(work).join().unwrap();
}
