//! The whole path in one process: a client over pinned TLS, the gateway, machined's server.

use std::{net::SocketAddr, path::PathBuf, sync::Mutex, time::Duration};

use api::{
    connect::{Connector, Pin},
    fingerprint::Fingerprint,
    v1::{
        self, diagnostics_client::DiagnosticsClient, log_client::LogClient, machine_client::MachineClient,
        resource_client::ResourceClient, watch_event::Kind,
    },
};
use tokio::{task::AbortHandle, time::timeout};
use tokio_stream::StreamExt;
use tonic::{Code, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

use super::{keys::Delivered, *};
use crate::{
    events::Events,
    gateway,
    link::tests::{Init, connect},
    pki,
    pki::{Identity, own::Own},
    resources::{Condition, Machine, Wait, machine::Phase},
};

mod audit;
mod enrolment;
mod generations;
mod jobs;
mod reflection;
mod reset;
mod stops;

const SOON: Duration = Duration::from_secs(10);

struct Node {
    folder: tempfile::TempDir,
    address: SocketAddr,
    store: Store,
    stop: stop::Handle,
    shown: watch::Sender<Arc<Identity>>,
    maintenance: watch::Sender<Maintenance>,
    active: watch::Sender<Arc<configuration::Active>>,
    state: crate::state::Handle,
    held: watch::Sender<pki::node::Now>,
    init: Arc<Mutex<Init>>,
    link: JoinSet<()>,
    delivered: Option<watch::Receiver<Delivered>>,
    names: watch::Sender<crate::identity::Machine>,
    generations: crate::generations::Handle,
    meta: crate::meta::Handle,
    api: StdListener,
    running: Option<AbortHandle>,
    tasks: JoinSet<()>,
}

fn uid() -> u32 {
    rustix::process::getuid().as_raw()
}

async fn node() -> Node {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let api = sockets::open(&folder.path().join("api"), uid(), None).unwrap();
    let (shown, _) = watch::channel(Arc::new(Identity::make().unwrap()));
    let (store, stop) = (Store::new(), stop::Handle::new());
    store.register::<Machine>();
    let names = crate::identity::Machine {
        machine_id: "0123".into(),
        boot_id: "this boot".into(),
        hostname: "stele-0123".into(),
    };
    let names = watch::Sender::new(names);
    let maintenance = watch::Sender::new(Maintenance::Open);
    let mut node = Node {
        folder,
        address,
        store,
        stop,
        shown,
        maintenance,
        state: crate::state::Handle::new(),
        held: watch::Sender::new(pki::node::Now::None),
        active: watch::Sender::new(Arc::new(configuration::Active::looking())),
        init: Arc::default(),
        link: JoinSet::new(),
        delivered: None,
        names,
        generations: generations::none(),
        meta: crate::meta::Handle::new("this boot"),
        api,
        running: None,
        tasks: JoinSet::new(),
    };
    let (api, keys) = (node.path("api"), node.path("keys"));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let start = gateway::Start { listener, api: &api, keys: &keys, limits: gateway::LIMITS };
        runtime.block_on(gateway::serve(start, || ())).unwrap();
    });
    node.start().await;
    node
}

impl Node {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn start(&mut self) {
        self.begin();
        let delivered = self.delivered.as_mut().unwrap();
        timeout(SOON, delivered.wait_for(|now| *now == Delivered::Used)).await.unwrap().unwrap();
    }

    /// What boot does: the API's socket comes from init's store.
    fn begin(&mut self) {
        let sockets = Sockets {
            api: sockets::open(&self.path("api"), uid(), Some(self.api.try_clone().unwrap().into())).unwrap(),
            keys: sockets::open(&self.path("keys"), uid(), None).unwrap(),
            gateway: uid(),
        };
        let logs = Logs::new(self.path("logs"), "boot");
        logs.log("fixture").unwrap().append(b"one\ntwo\nthree\n").unwrap();
        let runtime = reconcile::Runtime::new(self.store.clone());
        let (init, tasks) = connect(&self.init, &self.stop);
        self.link = tasks;
        let (offering, offer) = watch::channel(keys::Offer::Nothing("the test starts".into()));
        let sources = self.sources();
        offering.send_replace(sources.now());
        self.link.spawn(sources.follow(offering));
        let sure = watch::Sender::new(true);
        let jobs = jobs::start(self);
        let (log, writer) =
            crate::audit::build(self.state.clone(), Events::open(&Store::new(), self.path("audit-events")).unwrap());
        self.link.spawn(writer.run());
        let parts = Parts {
            about: About { version: "1.2.3".into(), ..About::default() },
            names: self.names.subscribe(),
            store: self.store.clone(),
            stop: self.stop.clone(),
            init,
            logs,
            graph: runtime.graph(),
            controllers: runtime.status(),
            engine: configuration::Handle::nobody().in_effect(self.active.subscribe()),
            jobs,
            generations: self.generations.clone(),
            meta: self.meta.clone(),
            audit: log,
            node: pki::node::Handle::new(self.state.clone(), self.folder.path(), sure.subscribe()),
            events: Events::open(&Store::new(), self.path("events")).unwrap(),
            offer,
            maintenance: self.maintenance.subscribe(),
        };
        let server = build(parts, sockets).unwrap();
        let delivered = server.delivered();
        self.running = Some(self.tasks.spawn(server.run()));
        self.delivered = Some(delivered);
    }

    /// As it is now.
    fn offer(&self) -> watch::Receiver<keys::Offer> {
        watch::Sender::new(self.sources().now()).subscribe()
    }

    fn sources(&self) -> crate::offer::Sources {
        crate::offer::Sources {
            door: self.maintenance.subscribe(),
            identity: self.shown.subscribe(),
            node: self.held.subscribe(),
            active: self.active.subscribe(),
            meta: crate::meta::Handle::new("boot"),
            mark: "/nowhere".into(),
            until: tokio::time::Instant::now(),
            own: crate::pki::own::Own::default(),
            rescue: None,
            clock_sure: watch::Sender::new(false).subscribe(),
        }
    }

    async fn kill(&mut self) {
        self.running.take().unwrap().abort();
        self.tasks.join_next().await;
    }

    async fn connect(&self) -> Channel {
        let fingerprint = Fingerprint::of_der(&self.shown.borrow().certificate);
        let endpoint = self.address.to_string().parse().unwrap();
        Connector::new(endpoint, Pin::Exact(vec![fingerprint])).connect().await.unwrap()
    }
}

fn machine(phase: Phase, unmet: &[&str]) -> Machine {
    Machine {
        phase,
        unmet: unmet.iter().map(|&text| text.to_owned()).collect(),
        waits: vec![],
        step: String::new(),
        cause: String::new(),
        version: String::new(),
        machine_id: String::new(),
        boot_id: String::new(),
        hostname: String::new(),
        fingerprint: String::new(),
        addresses: vec![],
    }
}

#[tokio::test]
async fn a_pinned_client_asks_everything() {
    let node = node().await;
    let channel = node.connect().await;
    let version = MachineClient::new(channel.clone()).version(v1::VersionRequest {}).await.unwrap().into_inner();
    assert_eq!((version.version.as_str(), version.boot_id.as_str()), ("1.2.3", "this boot"));
    assert!(!version.kernel.is_empty());

    let mut resources = ResourceClient::new(channel.clone());
    let types = resources.types(v1::TypesRequest {}).await.unwrap().into_inner().types;
    let machine_type = types.iter().find(|info| info.name == "machine").unwrap();
    assert!(machine_type.schema.contains("\"phase\"") && !machine_type.columns.is_empty());

    let logs = v1::ServiceLogRequest { service: "fixture".into(), tail: Some(2), ..Default::default() };
    let mut chunks = LogClient::new(channel.clone()).service(logs).await.unwrap().into_inner();
    let chunk = chunks.next().await.unwrap().unwrap();
    assert_eq!(chunk.lines.iter().map(|line| line.text.as_slice()).collect::<Vec<_>>(), [b"two".as_slice(), b"three"]);
    assert!(chunks.next().await.is_none());

    let diagnostics = DiagnosticsClient::new(channel.clone()).controllers(v1::ControllersRequest {}).await.unwrap();
    assert!(diagnostics.into_inner().dot.starts_with("digraph"));

    for service in health::SERVICES {
        let request = HealthCheckRequest { service: service.into() };
        let answer = HealthClient::new(channel.clone()).check(request).await.unwrap().into_inner();
        assert_eq!(answer.status, 1, "{service:?}");
    }
}

#[tokio::test]
async fn refusals_name_what_would_be_right() {
    let node = node().await;
    node.store.writer::<Machine>("test").unwrap().put(Machine::ID, machine(Phase::Booting, &[]));
    let mut resources = ResourceClient::new(node.connect().await);
    let get = |of: &str, id: &str| v1::GetRequest { r#type: of.into(), id: id.into() };
    for alias in ["machine", "machines", "status"] {
        assert_eq!(resources.get(get(alias, "machine")).await.unwrap().into_inner().r#type, "machine");
    }
    let cases = [
        (get("machin", "x"), "did you mean machines", "UNKNOWN_TYPE"),
        (get("zzz", "x"), "no resource type \"zzz\"", "UNKNOWN_TYPE"),
        (get("machine", "x"), "there is machine", "UNKNOWN_RESOURCE"),
    ];
    for (request, says, reason) in cases {
        let status = resources.get(request).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        assert!(status.message().contains(says), "{}", status.message());
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.reason, reason);
        assert!(!info.metadata["remedy"].is_empty());
    }
    let logs = v1::ServiceLogRequest { service: "nobody".into(), ..Default::default() };
    let status = LogClient::new(node.connect().await).service(logs).await.unwrap_err();
    assert!(status.message().contains("there are: fixture"), "{}", status.message());
    let large = v1::GetRequest { r#type: "x".repeat(100_000), id: String::new() };
    assert_eq!(resources.get(large).await.unwrap_err().code(), Code::OutOfRange);
}

#[tokio::test]
async fn a_watch_tells_all_and_then_each_change() {
    let node = node().await;
    let conditions = node.store.shared_writer::<Condition>("test").unwrap();
    conditions.put("a", Condition::met("so")).unwrap();
    conditions.put("b", Condition::met("so")).unwrap();
    let request = v1::WatchRequest { r#type: "conditions".into(), id: "a".into(), ..Default::default() };
    let mut watch = ResourceClient::new(node.connect().await).watch(request).await.unwrap().into_inner();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(watch.next().await.unwrap().unwrap());
    }
    conditions.put("b", Condition::unmet("not for us")).unwrap();
    conditions.put("a", Condition::unmet("now not")).unwrap();
    let change = watch.next().await.unwrap().unwrap();
    assert_eq!(seen.iter().map(|e| e.kind()).collect::<Vec<_>>(), [Kind::Reset, Kind::Put, Kind::Synced]);
    assert_eq!(change.kind(), Kind::Put);
    assert!(change.object.unwrap().value.contains("now not"));
    // Another client goes on where this one was.
    conditions.remove("a").unwrap();
    let request = v1::WatchRequest { r#type: "condition".into(), id: String::new(), bookmark: change.bookmark };
    let mut again = ResourceClient::new(node.connect().await).watch(request).await.unwrap().into_inner();
    let kinds = [again.next().await.unwrap().unwrap().kind(), again.next().await.unwrap().unwrap().kind()];
    assert_eq!(kinds, [Kind::Deleted, Kind::Synced]);
}

#[tokio::test]
async fn clients_wait_for_the_next_machined() {
    let mut node = node().await;
    let channel = node.connect().await;
    MachineClient::new(channel.clone()).version(v1::VersionRequest {}).await.unwrap();
    node.kill().await;
    // The gateway kept keys and socket: the handshake succeeds, the call waits in the queue.
    let late = node.connect().await;
    let ask = async {
        let mut client = MachineClient::new(late);
        client.version(v1::VersionRequest {}).await
    };
    let (answer, ()) = tokio::join!(ask, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        node.start().await;
    });
    assert_eq!(answer.unwrap().into_inner().version, "1.2.3");
}

/// As after each restart, while the system disk is looked for.
#[tokio::test]
async fn clients_wait_until_it_is_known_who_is_let_in() {
    let mut node = node().await;
    node.kill().await;
    node.maintenance.send_replace(Maintenance::looking());
    node.begin();
    let late = node.connect().await;
    let ask = async {
        let mut client = MachineClient::new(late);
        client.version(v1::VersionRequest {}).await
    };
    let (answer, shown) = tokio::join!(ask, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let shown = node.delivered.as_ref().unwrap().borrow().clone();
        node.maintenance.send_replace(Maintenance::Open);
        shown
    });
    assert_eq!(answer.unwrap().into_inner().version, "1.2.3");
    assert!(matches!(&shown, Delivered::Withheld(why) if why.contains("looked for")), "{shown:?}");
}

#[tokio::test]
async fn a_new_identity_is_shown_at_once() {
    let node = node().await;
    let before = node.connect().await;
    node.shown.send_replace(Arc::new(Identity::make().unwrap()));
    let retry = async {
        loop {
            let fingerprint = Fingerprint::of_der(&node.shown.borrow().certificate);
            let endpoint = node.address.to_string().parse().unwrap();
            if Connector::new(endpoint, Pin::Exact(vec![fingerprint])).connect().await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, retry).await.unwrap();
    MachineClient::new(before).version(v1::VersionRequest {}).await.expect("open connections go on");
}

#[tokio::test]
async fn readiness_follows_the_gateway() {
    let node = node().await;
    let (stamps, mut stamped) = mpsc::unbounded_channel();
    let (told, delivered) = watch::channel(Delivered::Used);
    let endpoint = node.address.to_string().parse().unwrap();
    let probe = ready::Probe::new(&node.store, endpoint, node.offer(), Own::default(), delivered).unwrap();
    let met = || node.store.get::<Condition>("api").is_some_and(|object| object.value.met);
    assert!(!met());
    assert_eq!(node.store.list::<Wait>().len(), 1);
    let mut tasks = JoinSet::new();
    tasks.spawn(probe.run(move |stamp| stamps.send(stamp).unwrap(), async || unreachable!("it does not hang")));
    assert!(timeout(SOON, stamped.recv()).await.unwrap().unwrap().uptime_ns > 0);
    let until = |wanted: bool| async move {
        while met() != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, until(true)).await.unwrap();
    assert!(node.store.list::<Wait>().is_empty());
    for (trouble, says) in [
        (Delivered::Gone, "the gateway is gone"),
        (Delivered::Refused("no such curve".into()), "cannot use its keys: no such curve"),
        (Delivered::Withheld("configured".into()), "the API does not answer: configured"),
    ] {
        told.send_replace(trouble);
        let said = async {
            while !node.store.get::<Condition>("api").unwrap().value.reason.contains(says) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(SOON, said).await.expect(says);
        assert!(!met() && node.store.list::<Wait>()[0].value.reason.contains(says.rsplit(": ").next().unwrap()));
    }
    told.send_replace(Delivered::Used);
    timeout(SOON, until(true)).await.unwrap();
}

/// What the probe asks: passes on to the gateway, or, while it hangs, takes connections and says nothing.
async fn hangs_at_will(gateway: SocketAddr, hangs: watch::Receiver<bool>) -> (SocketAddr, JoinSet<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, mut tasks) = (listener.local_addr().unwrap(), JoinSet::new());
    tasks.spawn(async move {
        let mut silent = Vec::new();
        let mut passed = JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            if *hangs.borrow() {
                silent.push(client);
                continue;
            }
            passed.spawn(async move {
                let mut upstream = tokio::net::TcpStream::connect(gateway).await.unwrap();
                drop(tokio::io::copy_bidirectional(&mut client, &mut upstream).await);
            });
        }
    });
    (address, tasks)
}

#[tokio::test]
async fn a_gateway_that_hangs_is_shown_and_started_again() {
    let node = node().await;
    let hangs = watch::Sender::new(false);
    let (address, _proxy) = hangs_at_will(node.address, hangs.subscribe()).await;
    let (_told, delivered) = watch::channel(Delivered::Used);
    let endpoint = address.to_string().parse().unwrap();
    let mut probe = ready::Probe::new(&node.store, endpoint, node.offer(), Own::default(), delivered).unwrap();
    (probe.attempt, probe.again) = (Duration::from_millis(500), Duration::from_millis(10));
    let met = || node.store.get::<Condition>("api").is_some_and(|object| object.value.met);
    let (restarts, mut restarted) = mpsc::unbounded_channel();
    let (answers, go) = mpsc::channel::<()>(1);
    let go = Arc::new(tokio::sync::Mutex::new(go));
    let restart = move || {
        let (restarts, go) = (restarts.clone(), go.clone());
        async move {
            restarts.send(()).unwrap();
            go.lock().await.recv().await;
        }
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(probe.run(|_| (), restart));
    let until_met = async || {
        while !met() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, until_met()).await.unwrap();
    hangs.send_replace(true);
    timeout(SOON, restarted.recv()).await.unwrap().unwrap();
    assert!(!met() && node.store.list::<Wait>()[0].value.reason.contains("no answer"));
    hangs.send_replace(false);
    answers.send(()).await.unwrap();
    timeout(SOON, until_met()).await.unwrap();
}

#[tokio::test]
async fn a_machine_that_turns_out_to_be_configured_lets_everybody_go() {
    let mut node = node().await;
    let mut client = MachineClient::new(node.connect().await);
    let until = v1::Phase::Stopping.into();
    let mut phases = client.watch_phase(v1::WatchPhaseRequest { until }).await.unwrap().into_inner();
    phases.next().await.unwrap().unwrap();
    node.maintenance.send_replace(Maintenance::Closed("configured".into()));
    let ended = timeout(SOON, phases.next()).await.unwrap();
    assert!(!matches!(ended, Some(Ok(_))), "{ended:?}");
    let mut delivered = node.delivered.take().unwrap();
    timeout(SOON, delivered.wait_for(|now| *now == Delivered::Withheld("configured".into()))).await.unwrap().unwrap();
    // Another identity opens nothing.
    node.shown.send_replace(Arc::new(Identity::make().unwrap()));
    let connecting = timeout(Duration::from_millis(500), async {
        let endpoint = node.address.to_string().parse().unwrap();
        let fingerprint = Fingerprint::of_der(&node.shown.borrow().certificate);
        Connector::new(endpoint, Pin::Exact(vec![fingerprint])).connect().await.is_ok()
    });
    assert!(!connecting.await.is_ok_and(|connected| connected));
}
