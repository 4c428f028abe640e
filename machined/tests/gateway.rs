//! The gateway as the program that a node runs, hardened, between the client's own library and machined's server.

#![expect(clippy::unwrap_used, reason = "in a test, also in its helpers")]

use std::{
    io::Read,
    net::TcpListener,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use api::{
    connect::{Connector, Error, Identity as Shown, Pin},
    fingerprint::Fingerprint,
    pki::{Ca, Client, Key},
    roles::Role,
    v1::{VersionRequest, machine_client::MachineClient},
};
use machined::{
    configuration,
    gateway::keys::{Accepted, Keys},
    identity, jobs, link,
    logs::Logs,
    maintenance::Maintenance,
    pki::Identity,
    server::{self, About, Parts, Server, Sockets, keys::Offer, sockets},
    stop,
};
use reconcile::{Runtime, Store};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::{sync::watch, task::JoinSet, time::timeout};

const SOON: Duration = Duration::from_secs(20);

/// Killed when the test ends, however it does.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As the supervisor does: the listening socket as descriptor 3, and one to say "ready" on.
#[expect(clippy::disallowed_methods, reason = "a test's own child")]
fn start(dir: &Path, listener: TcpListener) -> Gateway {
    // The shell only renumbers descriptors: stdin is the socket, stdout the way to say "ready".
    let renumber = "exec \"$0\" 3<&0 4>&1 </dev/null >&2";
    let child = Command::new("sh")
        .args(["-c", renumber, env!("CARGO_BIN_EXE_gateway")])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::piped())
        .env("STELE_READY_FD", "4")
        .env("STELE_API_SOCKET", dir.join("api"))
        .env("STELE_KEYS_SOCKET", dir.join("keys"))
        .spawn();
    Gateway(child.unwrap())
}

fn machined(dir: &Path, identity: &Identity, accepted: Vec<Accepted>, door: Maintenance) -> Server {
    let uid = rustix::process::getuid().as_raw();
    let (store, runtime) = (Store::new(), Runtime::new(Store::new()));
    let names = identity::Machine { machine_id: "0".into(), boot_id: "b".into(), hostname: "h".into() };
    let stop = stop::Handle::new();
    // Nobody asks for a stop here, so init need not answer.
    let (init, _) = link::build(sys::link::pair().unwrap().1, stop.clone());
    let keys = Keys {
        chain: vec![identity.certificate.clone()],
        key: identity.key.clone(),
        accepted,
        allow: Vec::new(),
        revoked: Vec::new(),
        clock_sure: true,
    };
    let offer = Offer::Keys(Arc::new(keys));
    let (log, _) = machined::audit::build(
        machined::state::Handle::new(),
        machined::events::Events::open(&Store::new(), dir.join("audit-events")).unwrap(),
    );
    let parts = Parts {
        about: About { version: "1.2.3".into(), ..About::default() },
        names: watch::Sender::new(names).subscribe(),
        store,
        stop,
        init,
        logs: Logs::new(dir.join("logs"), "b"),
        graph: runtime.graph(),
        controllers: runtime.status(),
        engine: configuration::Handle::nobody(),
        jobs: jobs::Handle::nobody(),
        generations: machined::generations::Handle::new(machined::meta::Handle::new("b")),
        meta: machined::meta::Handle::new("b"),
        audit: log,
        node: machined::pki::node::Handle::new(
            machined::state::Handle::new(),
            dir,
            watch::Sender::new(false).subscribe(),
        ),
        events: machined::events::Events::open(&Store::new(), dir.join("events")).unwrap(),
        offer: watch::Sender::new(offer).subscribe(),
        maintenance: watch::Sender::new(door).subscribe(),
    };
    let open = |name| sockets::open(&dir.join(name), uid, None).unwrap();
    server::build(parts, Sockets { api: open("api"), keys: open("keys"), gateway: uid }).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hardened_program_serves() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let shown = Identity::make().unwrap();
    let mut gateway = start(dir.path(), listener);
    let mut tasks = JoinSet::new();
    tasks.spawn(machined(dir.path(), &shown, Vec::new(), Maintenance::Open).run());

    let mut ready = gateway.0.stdout.take().unwrap();
    let said = machined::blocking::run(move || {
        let mut byte = [0; 1];
        ready.read_exact(&mut byte).map(|()| byte)
    });
    assert_eq!(timeout(SOON, said).await.unwrap().unwrap(), *b"1");

    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.0.id())).unwrap();
    for line in ["Seccomp:\t2", "NoNewPrivs:\t1", "Threads:\t1"] {
        assert!(status.contains(line), "{line} in\n{status}");
    }
    for _ in 0..20 {
        let pin = Pin::Exact(vec![Fingerprint::of_der(&shown.certificate)]);
        let channel = Connector::new(endpoint.parse().unwrap(), pin).connect().await.unwrap();
        let answer = timeout(SOON, MachineClient::new(channel).version(VersionRequest {})).await.unwrap().unwrap();
        assert_eq!(answer.into_inner().version, "1.2.3");
    }
    assert!(gateway.0.try_wait().unwrap().is_none(), "it still runs");
}

/// What it may do is enough for what clients' certificates need, also for each kind that is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hardened_program_checks_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let node = Identity::make().unwrap();
    let (ca, rescue, foreign) = (Ca::make("ca").unwrap(), Ca::make("rescue").unwrap(), Ca::make("ca").unwrap());
    let accepted = [(&ca, false), (&rescue, true)];
    let accepted = accepted.map(|(ca, rescue)| Accepted { der: ca.certificate().der().to_vec(), rescue });
    let mut gateway = start(dir.path(), listener);
    let mut tasks = JoinSet::new();
    tasks.spawn(machined(dir.path(), &node, accepted.to_vec(), Maintenance::Configured).run());
    let hours = |n: u64| Duration::from_secs(n * 3600);
    let client = |ca: &Ca, ttl, at| {
        let (key, wanted) = (Key::make().unwrap(), Client { common_name: "x".into(), role: Role::Reader, ttl });
        let signed = ca.sign_client_at(&key.request("x", &[]).unwrap(), &wanted, at).unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.der().to_vec()));
        Shown::from_der(vec![CertificateDer::from(signed.der().to_vec())], private).unwrap()
    };
    let now = std::time::SystemTime::now();
    let cases = [
        ("good", Some(client(&ca, hours(24), now)), true),
        ("none", None, false),
        ("over", Some(client(&ca, hours(24), now - hours(100))), false),
        ("not yet", Some(client(&ca, hours(24), now + hours(100))), false),
        ("foreign", Some(client(&foreign, hours(24), now)), false),
        ("rescue", Some(client(&rescue, hours(20), now)), true),
        ("long rescue", Some(client(&rescue, hours(30), now)), false),
        ("good again", Some(client(&ca, hours(24), now)), true),
    ];
    for (name, client, welcome) in cases {
        let pin = Pin::Exact(vec![Fingerprint::of_der(&node.certificate)]);
        let connected = Connector::new(endpoint.parse().unwrap(), pin).client(client).connect().await;
        match connected {
            Ok(channel) => {
                let mut machine = MachineClient::new(channel);
                let answer = timeout(SOON, machine.version(VersionRequest {})).await.unwrap();
                assert!(welcome, "{name} is let in: {answer:?}");
                assert_eq!(answer.unwrap().into_inner().version, "1.2.3", "{name}");
            }
            Err(error) => assert!(!welcome && matches!(error, Error::NotLetIn { .. }), "{name}: {error}"),
        }
    }
    assert!(gateway.0.try_wait().unwrap().is_none(), "it still runs");
}
