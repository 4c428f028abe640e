//! The gRPC server, on a unix socket that only the gateway may connect to.
//!
//! Invariant: every request has a peer the gateway vouched for and a line in the table of `access`; services only read the
//! store and the handles they were given, and never wait for a controller. Built and run by `boot`.
//!
//! ```text
//! gateway --api.sock--> accept -> serve -> access -> Machine, Resource, Config, Log, Diagnostics, health, reflection
//! gateway <-gateway.sock-- keys <- offer
//! ```

use std::{os::unix::net::UnixListener as StdListener, sync::Arc};

use reconcile::{Graph, Store, runtime};
use tokio::{
    net::UnixListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tonic::service::Routes;

mod about;
pub mod accept;
pub mod access;
mod audit;
mod config;
mod diagnostics;
mod enrolment;
pub mod error;
pub mod flights;
pub mod health;
pub mod keys;
mod log;
mod machine;
pub mod peer;
pub mod ready;
mod reset;
mod resource;
mod serve;
pub mod sockets;

pub use about::About;

use crate::{configuration, generations, jobs, link::Link, logs::Logs, maintenance::Maintenance, meter::Meter, stop};
use api::v1::{
    audit_server::AuditServer, config_server::ConfigServer, diagnostics_server::DiagnosticsServer,
    enrolment_server::EnrolmentServer, log_server::LogServer, machine_server::MachineServer,
    resource_server::ResourceServer,
};

/// Largest request. All of ours are a few names; what takes documents will have a limit of its own.
const REQUEST: usize = 2 * 1024;

/// Largest request of reflection, whose library repeats the name that was asked for in its error.
const REFLECTION: usize = 1024;

/// What the server shows and does.
#[derive(Debug)]
pub struct Parts {
    /// What `Machine.Version` answers.
    pub about: About,
    /// The machine's names, now and when META brings others.
    pub names: watch::Receiver<crate::identity::Machine>,
    /// What Resource serves.
    pub store: Store,
    /// Reboot and shutdown.
    pub stop: stop::Handle,
    /// Who makes sure that a stop that was granted happens.
    pub init: Link,
    /// What Log serves.
    pub logs: Logs,
    /// What Diagnostics serves.
    pub graph: Graph,
    /// How the controllers are doing.
    pub controllers: runtime::Status,
    /// What Config serves.
    pub engine: configuration::Handle,
    /// Long tasks.
    pub jobs: jobs::Handle,
    /// What there is to start.
    pub generations: generations::Handle,
    /// Where a reset is written down.
    pub meta: crate::meta::Handle,
    /// The node's own certificate.
    pub node: crate::pki::node::Handle,
    /// The log of calls.
    pub audit: crate::audit::Handle,
    /// The log for people.
    pub events: crate::events::Events,
    /// What the gateway is to have.
    pub offer: watch::Receiver<keys::Offer>,
    /// Who is served.
    pub maintenance: watch::Receiver<Maintenance>,
}

/// Where the gateway connects.
#[derive(Debug)]
pub struct Sockets {
    /// For its clients.
    pub api: StdListener,
    /// For its keys.
    pub keys: StdListener,
    /// The only uid that is served.
    pub gateway: u32,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A socket cannot be used.
    #[error("a listening socket cannot be used")]
    Socket(#[from] std::io::Error),
    /// The descriptors of our own API are damaged: a wrong build.
    #[error("the API's descriptors cannot be served")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// A server that is ready to run.
#[derive(Debug)]
pub struct Server {
    routes: Routes,
    health: tonic_health::server::HealthReporter,
    stop: stop::Handle,
    wished: mpsc::Receiver<machine::Wish>,
    init: Link,
    offer: watch::Receiver<keys::Offer>,
    maintenance: watch::Receiver<Maintenance>,
    events: crate::events::Events,
    audit: crate::audit::Handle,
    api: UnixListener,
    keys: UnixListener,
    gateway: u32,
    delivered: Arc<watch::Sender<keys::Delivered>>,
}

/// Puts the parts together.
pub fn build(parts: Parts, sockets: Sockets) -> Result<Server, Error> {
    let Parts {
        about,
        names,
        store,
        stop,
        init,
        logs,
        graph,
        controllers,
        engine,
        jobs,
        generations,
        meta,
        node,
        audit,
        events,
        offer,
        maintenance,
    } = parts;
    let (machine, wished) = machine::Machines::new(about, names, store.clone(), stop.clone(), jobs, generations, meta);
    let (health, health_service) = tonic_health::server::health_reporter();
    let (v1, v1alpha) = (reflection().build_v1()?, reflection().build_v1alpha()?);
    let mut routes = Routes::builder();
    routes
        .add_service(MachineServer::new(machine).max_decoding_message_size(REQUEST))
        .add_service(ResourceServer::new(resource::Resources::new(store)).max_decoding_message_size(REQUEST))
        .add_service(LogServer::new(log::Journal::new(logs)).max_decoding_message_size(REQUEST))
        .add_service(
            DiagnosticsServer::new(diagnostics::Controllers::new(graph, controllers))
                .max_decoding_message_size(REQUEST),
        )
        .add_service(
            EnrolmentServer::new(enrolment::Enrolments::new(engine.active(), node, events.clone()))
                .max_decoding_message_size(enrolment::REQUEST),
        )
        .add_service(AuditServer::new(audit::Records::new(audit.clone())).max_decoding_message_size(REQUEST))
        .add_service(ConfigServer::new(config::Configs::new(engine)).max_decoding_message_size(config::REQUEST))
        .add_service(health_service.max_decoding_message_size(REQUEST))
        .add_service(v1.max_decoding_message_size(REFLECTION))
        .add_service(v1alpha.max_decoding_message_size(REFLECTION));
    Ok(Server {
        routes: routes.routes().prepare(),
        health,
        stop,
        wished,
        init,
        offer,
        maintenance,
        events,
        audit,
        api: UnixListener::from_std(sockets.api)?,
        keys: UnixListener::from_std(sockets.keys)?,
        gateway: sockets.gateway,
        delivered: Arc::default(),
    })
}

impl Server {
    /// Whether a gateway has keys: for `ready::Probe`.
    pub fn delivered(&self) -> watch::Receiver<keys::Delivered> {
        self.delivered.subscribe()
    }

    /// Serves for ever; the caller ends it by dropping the future.
    pub async fn run(self) {
        let Self {
            routes,
            health,
            stop,
            wished,
            init,
            offer,
            mut maintenance,
            events,
            audit,
            api,
            keys,
            gateway,
            delivered,
        } = self;
        // Until it is known who is let in nobody is told anything: after a restart clients wait at the sockets, and the gateway
        // keeps those it has.
        if let Maintenance::Closed(why) = &*maintenance.borrow() {
            delivered.send_replace(keys::Delivered::Withheld(why.clone()));
        }
        if maintenance.wait_for(Maintenance::is_decided).await.is_err() {
            // The machine is ending.
            return std::future::pending().await;
        }
        let (to, connections) = mpsc::channel(16);
        tokio::join!(
            accept::accept(api, gateway, to),
            serve_all(connections, routes, maintenance.clone(), events, audit),
            keys::serve(keys, gateway, offer, delivered),
            machine::stopper(wished, stop.clone(), init),
            health::follow(health, stop),
        );
    }
}

async fn serve_all(
    mut connections: mpsc::Receiver<accept::Connection>,
    routes: Routes,
    maintenance: watch::Receiver<Maintenance>,
    events: crate::events::Events,
    audit: crate::audit::Handle,
) {
    let flights = flights::Flights::default();
    let mut clients = JoinSet::new();
    loop {
        tokio::select! {
            Some(connection) = connections.recv() => {
                shout(connection.peer(), &events);
                clients.spawn(serve::serve(connection, routes.clone(), flights.clone(), maintenance.clone(), audit.clone()));
            }
            Some(_) = clients.join_next() => {}
            else => return,
        }
    }
}

/// Everybody shall know that somebody is here whom no document lets in: log, console and kernel log.
fn shout(peer: &peer::Peer, events: &crate::events::Events) {
    if let Some(certificate) = peer.certificate.as_ref().filter(|certificate| certificate.rescue) {
        let what =
            format!("RESCUE: {} is let in from {} by the rescue authority", certificate.subject, peer.address.ip());
        events.error("api", what);
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(api::v1::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // So that generic clients can show the details of our errors.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

/// Logs what a client caused, but never so much of it that the rest of the log is pushed out, and not in the kernel's log,
/// which META keeps the end of.
fn complain(what: std::fmt::Arguments<'_>) {
    static METER: Meter = Meter::new();
    if let Some(left_out) = METER.may_say(std::time::Instant::now()) {
        tracing::warn!(target: crate::trace::STRANGER, left_out, "{what}");
    }
}

#[cfg(test)]
mod tests;
