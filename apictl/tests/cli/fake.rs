//! A node in this process: real TLS, real gRPC, and resources, logs and phases that a test sets.
//!
//! Invariant: it keeps the watch protocol of `resource.proto`, so a client that loses or repeats a change is wrong.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use api::{
    fingerprint::Fingerprint,
    v1::{
        Column, Object, Phase, PhaseStatus, Type, WatchEvent, audit_server::AuditServer, config_server::ConfigServer,
        diagnostics_server::DiagnosticsServer, enrolment_server::EnrolmentServer, log_server::LogServer,
        machine_server::MachineServer, resource_server::ResourceServer, watch_event::Kind,
    },
};
use futures_util::{Stream, StreamExt, stream};
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use tokio::{
    io::{DuplexStream, copy_bidirectional, duplex},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, transport::Server};
use tonic_health::ServingStatus;

use crate::{
    configured::{Configured, tls},
    service::Service,
};

/// What the node is right now.
pub(crate) struct State {
    pub(crate) boot: String,
    pub(crate) phase: PhaseStatus,
    pub(crate) objects: BTreeMap<String, Object>,
    pub(crate) history: Vec<WatchEvent>,
    pub(crate) epoch: u64,
    pub(crate) log: Vec<Vec<u8>>,
    /// The cursors by which the log was asked for.
    pub(crate) cursors: Vec<String>,
    /// Accepts no connection.
    pub(crate) off: bool,
    /// Does not know its types yet.
    pub(crate) starting: bool,
    /// How long it takes to accept a stop.
    pub(crate) slow: Duration,
    /// Refuses to stop.
    pub(crate) busy: bool,
    /// Reboot and Shutdown that were asked for, with their reasons.
    pub(crate) asked: Vec<String>,
    pub(crate) configured: Configured,
}

/// The state, and who waits for it to change.
pub(crate) struct Node {
    pub(crate) state: Mutex<State>,
    pub(crate) changed: watch::Sender<()>,
    /// How the next connection is served.
    pub(crate) tls: Mutex<Arc<ServerConfig>>,
}

/// A running node.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) fingerprint: String,
    shown: Mutex<String>,
    pub(crate) node: Arc<Node>,
    /// Connections, ended by sending.
    cut: watch::Sender<()>,
    _tasks: JoinSet<()>,
}

impl Node {
    pub(crate) fn change<T>(&self, edit: impl FnOnce(&mut State) -> T) -> T {
        let result = edit(&mut self.state.lock().unwrap());
        self.changed.send_replace(());
        result
    }

    /// A stream that asks for more after each change.
    pub(crate) fn stream<T: Send + 'static>(
        self: &Arc<Self>,
        mut more: impl FnMut(&State) -> Option<Vec<T>> + Send + 'static,
    ) -> impl Stream<Item = Result<T, Status>> + Send + 'static {
        let (node, changed) = (self.clone(), self.changed.subscribe());
        let next = move || more(&node.state.lock().unwrap());
        let chunks = stream::unfold((next, changed), async |(mut next, mut changed)| {
            loop {
                changed.borrow_and_update();
                let ready = next()?;
                if !ready.is_empty() {
                    return Some((stream::iter(ready.into_iter().map(Ok)), (next, changed)));
                }
                changed.changed().await.ok()?;
            }
        });
        chunks.flatten()
    }
}

impl State {
    pub(crate) fn status(phase: Phase, boot: &str) -> PhaseStatus {
        PhaseStatus { phase: phase.into(), boot_id: boot.into(), ..PhaseStatus::default() }
    }

    pub(crate) fn enter(&mut self, phase: Phase, step: &str) {
        self.phase = Self::status(phase, &self.boot);
        self.phase.step = step.into();
    }

    pub(crate) fn put(&mut self, id: &str, value: &str) {
        let object = Object {
            r#type: "thing".into(),
            id: id.into(),
            version: self.history.len() as u64 + 1,
            owner: "test".into(),
            phase: api::v1::object::Phase::Running.into(),
            value: value.into(),
        };
        self.objects.insert(id.into(), object.clone());
        self.record(Kind::Put, object);
    }

    pub(crate) fn delete(&mut self, id: &str) {
        let object = self.objects.remove(id).unwrap();
        self.record(Kind::Deleted, object);
    }

    fn record(&mut self, kind: Kind, object: Object) {
        let bookmark = format!("{}/{}", self.epoch, self.history.len() + 1);
        self.history.push(WatchEvent { kind: kind.into(), object: Some(object), bookmark });
    }

    /// What a watch with this bookmark starts with.
    pub(crate) fn open(&self, bookmark: &str) -> Vec<WatchEvent> {
        let event = |kind: Kind, object, bookmark| WatchEvent { kind: kind.into(), object, bookmark };
        let synced = event(Kind::Synced, None, format!("{}/{}", self.epoch, self.history.len()));
        let known = bookmark.split_once('/').filter(|(epoch, _)| *epoch == self.epoch.to_string());
        let mut events = match known {
            Some((_, at)) => self.history[at.parse::<usize>().unwrap()..].to_vec(),
            None => {
                let put = |object: &Object| event(Kind::Put, Some(object.clone()), String::new());
                let reset = event(Kind::Reset, None, String::new());
                std::iter::once(reset).chain(self.objects.values().map(put)).collect()
            }
        };
        events.push(synced);
        events
    }

    pub(crate) fn types() -> Vec<Type> {
        let column =
            |header: &str, pointer: &str, wide| Column { header: header.into(), pointer: pointer.into(), wide };
        vec![Type {
            name: "thing".into(),
            plural: "things".into(),
            aliases: vec!["th".into()],
            doc: "Something.".into(),
            schema: "{}".into(),
            columns: vec![column("SIZE", "/size", false), column("NOTE", "/note", true)],
        }]
    }
}

impl Fake {
    pub(crate) async fn start() -> Self {
        let (fingerprint, config) = identity();

        let boot = "boot-1".to_owned();
        let state = State {
            phase: State::status(Phase::Maintenance, &boot),
            boot,
            objects: BTreeMap::new(),
            history: Vec::new(),
            epoch: 1,
            log: Vec::new(),
            cursors: Vec::new(),
            off: false,
            starting: false,
            slow: Duration::ZERO,
            busy: false,
            asked: Vec::new(),
            configured: Configured::new(),
        };
        let node = Arc::new(Node { state: Mutex::new(state), changed: watch::channel(()).0, tls: Mutex::new(config) });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = watch::channel(()).0;
        let (accepted, incoming) = mpsc::channel(16);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, node.clone(), cut.clone(), accepted));
        tasks.spawn(serve(node.clone(), incoming));
        let shown = Mutex::new(fingerprint.clone());
        Self { address, fingerprint, shown, node, cut, _tasks: tasks }
    }

    /// From now on it has another certificate.
    pub(crate) fn shows_another(&self) {
        let (fingerprint, config) = identity();
        *self.node.tls.lock().unwrap() = config;
        *self.shown.lock().unwrap() = fingerprint;
    }

    /// The fingerprint that it shows now.
    pub(crate) fn shown(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Ends every connection at once.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(());
    }

    /// What a restart of machined does: same resources, another history.
    pub(crate) fn restart(&self) {
        self.node.change(|state| {
            state.epoch += 1;
            state.history.clear();
        });
        self.cut();
    }
}

fn identity() -> (String, Arc<ServerConfig>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["stele".into()]).unwrap().self_signed(&key).unwrap();
    let fingerprint = Fingerprint::of_der(certificate.der()).to_string();
    (fingerprint, tls(vec![certificate.der().clone()], &key.serialize_der(), &[]))
}

async fn serve(node: Arc<Node>, incoming: mpsc::Receiver<std::io::Result<DuplexStream>>) {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", ServingStatus::Serving).await;
    let service = Service(node);
    Server::builder()
        .add_service(health)
        .add_service(MachineServer::new(service.clone()))
        .add_service(ResourceServer::new(service.clone()))
        .add_service(LogServer::new(service.clone()))
        .add_service(DiagnosticsServer::new(service.clone()))
        .add_service(ConfigServer::new(service.clone()))
        .add_service(EnrolmentServer::new(service.clone()))
        .add_service(AuditServer::new(service))
        .serve_with_incoming(ReceiverStream::new(incoming))
        .await
        .unwrap();
}

/// The gateway's part: TLS outside, bytes inside.
async fn accept(
    listener: TcpListener,
    node: Arc<Node>,
    cut: watch::Sender<()>,
    accepted: mpsc::Sender<std::io::Result<DuplexStream>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        if node.state.lock().unwrap().off {
            continue;
        }
        let tls = TlsAcceptor::from(node.tls.lock().unwrap().clone());
        node.state.lock().unwrap().configured.connections += 1;
        let (mut cut, accepted) = (cut.subscribe(), accepted.clone());
        connections.spawn(async move {
            tokio::select! {
                () = pump(tcp, tls, accepted) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

async fn pump(tcp: TcpStream, tls: TlsAcceptor, accepted: mpsc::Sender<std::io::Result<DuplexStream>>) {
    let Ok(mut outside) = tls.accept(tcp).await else { return };
    let (inside, mut pipe) = duplex(1 << 16);
    accepted.send(Ok(inside)).await.unwrap();
    let _ = copy_bidirectional(&mut outside, &mut pipe).await;
}
