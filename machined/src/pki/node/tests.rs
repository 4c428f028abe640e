use std::{os::unix::fs::PermissionsExt, path::Path, time::Duration};

use api::pki::Client;

use super::*;
use crate::state::State;

const DAY: Duration = Duration::from_secs(24 * 3600);

struct Machine {
    folder: tempfile::TempDir,
    state: state::Handle,
    sure: watch::Sender<bool>,
}

impl Machine {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), state: state::Handle::new(), sure: watch::Sender::new(true) }
    }

    fn start(&self) -> Handle {
        Handle::new(self.state.clone(), &self.folder.path().join("run"), self.sure.subscribe())
    }

    fn root(&self) -> std::path::PathBuf {
        let root = self.folder.path().join("state");
        std::fs::create_dir_all(&root).unwrap();
        root
    }

    fn mount(&self) {
        self.state.put(State::Mounted { root: self.root() });
    }
}

fn answer(ca: &Ca, request: &Request) -> String {
    let node = Node { names: vec!["node.example".into()], ttl: 365 * DAY };
    ca.sign_node(request, &node).unwrap().pem() + &ca.certificate().pem()
}

/// Lets the handle follow STATE until it knows.
async fn settle(handle: &Handle) -> Now {
    let mut now = handle.watch();
    let known = now.wait_for(|now| !matches!(now, Now::Unknown));
    tokio::select! {
        () = handle.follow() => unreachable!(),
        known = tokio::time::timeout(Duration::from_secs(10), known) => known.unwrap().unwrap().clone(),
    }
}

#[tokio::test]
async fn an_answer_is_taken_and_found_after_a_boot() {
    let machine = Machine::new();
    let ca = Ca::make("ca").unwrap();
    let handle = machine.start();
    handle.put_names(vec!["node.example".into(), "192.0.2.7".into()]);
    let request = handle.request().await.unwrap();
    assert_eq!(request.names, ["node.example", "192.0.2.7"]);
    let key = |request: &Request| Certificate::chain(&answer(&ca, request)).unwrap()[0].public().to_vec();
    assert_eq!(key(&request), key(&machine.start().request().await.unwrap()), "after a restart of machined");
    // The first configuration: STATE is made, then the answer is installed.
    let chain = answer(&ca, &machine.start().request().await.unwrap());
    handle.check(&chain).await.unwrap();
    machine.mount();
    let held = handle.install(&chain).await.unwrap();
    assert_eq!(held.chain[0].names, ["node.example"]);
    handle.install(&chain).await.expect("once more, because the first answer was lost");
    let file = machine.root().join("identity/node.pem");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // The next boot.
    let now = settle(&machine.start()).await;
    assert_eq!(now.held().unwrap().chain, held.chain);
    assert_eq!(*now.held().unwrap().key.der(), *held.key.der());
    // A new request is for a new key.
    let again = machine.start().request().await.unwrap();
    assert!(!Certificate::chain(&answer(&ca, &again)).unwrap()[0].is_of(&held.key));
}

#[tokio::test]
async fn what_comes_before_state_is_kept_when_it_comes() {
    let machine = Machine::new();
    let handle = machine.start();
    let ca = Ca::make("ca").unwrap();
    let held = handle.sign(&ca, &Node { names: vec!["a".into()], ttl: DAY }).await.unwrap();
    machine.mount();
    let file = machine.root().join("identity/node.pem");
    let kept = async {
        while !file.exists() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = handle.follow() => unreachable!(),
        kept = tokio::time::timeout(Duration::from_secs(10), kept) => kept.unwrap(),
    }
    assert_eq!(settle(&machine.start()).await.held().unwrap().chain, held.chain);
}

#[tokio::test]
async fn without_state_or_with_a_damaged_one_nobody_has_signed() {
    let machine = Machine::new();
    machine.state.put(State::Unusable("damaged".into()));
    assert!(matches!(settle(&machine.start()).await, Now::None));
    machine.mount();
    assert!(matches!(settle(&machine.start()).await, Now::None));
    let write = |text: &str| {
        std::fs::create_dir_all(machine.root().join("identity")).unwrap();
        std::fs::write(machine.root().join("identity/node.pem"), text).unwrap();
    };
    let (ca, other) = (Ca::make("ca").unwrap(), Key::make().unwrap());
    let mixed = format!("{}{}", *other.pem(), ca.certificate().pem());
    for text in ["", "nonsense", &other.pem(), &mixed] {
        write(text);
        assert!(matches!(settle(&machine.start()).await, Now::None), "{text}");
    }
}

#[tokio::test]
async fn each_chain_that_is_not_an_answer_says_why() {
    let machine = Machine::new();
    let handle = machine.start();
    let (ca, other) = (Ca::make("ca").unwrap(), Ca::make("other").unwrap());
    let request = handle.request().await.unwrap();
    let good = answer(&ca, &request);
    let node = Node { names: vec!["a".into()], ttl: DAY };
    let alone = ca.sign_node(&request, &node).unwrap().pem();
    let old = SystemTime::now() - 3 * DAY;
    let client = Client { common_name: "x".into(), role: Role::Admin, ttl: DAY };
    let cases = [
        ("not PEM", "nonsense".to_owned(), "PEM"),
        ("of another key", answer(&ca, &Key::make().unwrap().request("x", &[]).unwrap()), "ask for the request again"),
        ("for a client", ca.sign_client(&request, &client).unwrap().pem(), "not one for servers"),
        ("a foreign issuer", alone.clone() + &other.certificate().pem(), "did not sign"),
        ("long", alone.clone() + &ca.certificate().pem().repeat(8), "at most 8"),
        ("over", ca.sign_node_at(&request, &node, old).unwrap().pem(), "is over"),
    ];
    for (name, chain, says) in cases {
        for error in [handle.check(&chain).await.unwrap_err(), handle.install(&chain).await.unwrap_err()] {
            assert!(error.to_string().contains(says), "{name}: {error}");
        }
    }
    machine.sure.send_replace(false);
    handle.check(&ca.sign_node_at(&request, &node, old).unwrap().pem()).await.expect("by a clock that nobody has set");
    handle.install(&good).await.expect("what was refused spoiled nothing");
    assert!(!Path::new(&machine.folder.path().join("run/pending-key")).exists());
}

#[tokio::test]
async fn nothing_shows_the_key() {
    let machine = Machine::new();
    let handle = machine.start();
    let held = handle.sign(&Ca::make("ca").unwrap(), &Node { names: vec!["a".into()], ttl: DAY }).await.unwrap();
    let shown = format!("{handle:?} {held:?} {:?}", held.key);
    assert!(!shown.contains(&format!("{:?}", &held.key.der()[40..44])), "{shown}");
}
