//! The API without a node: machined's server over a small store, for trying clients and for measuring.
//!
//! `cargo run -p machined --example api -- DIR` listens on `DIR/api.sock` and `DIR/gateway.sock` for a gateway of the same
//! uid and prints the fingerprint. Start the gateway beside it, with its listening socket as descriptor 3:
//! `STELE_API_SOCKET=DIR/api.sock STELE_KEYS_SOCKET=DIR/gateway.sock gateway 3<LISTENER`. It stops when a client asks for
//! a reboot or shutdown.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use machined::{
    configuration, identity, jobs, link,
    logs::Logs,
    maintenance::Maintenance,
    meta, offer,
    pki::{file::File, keep, own::Own},
    poll,
    resources::{Condition, Machine, machine::Phase},
    server::{self, About, Parts, Sockets, ready, sockets},
    stop,
};
use reconcile::{Runtime, Store};
use tokio::sync::watch;

#[tokio::main(worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let dir = PathBuf::from(std::env::args().nth(1).context("usage: api DIR")?);
    std::fs::create_dir_all(&dir)?;
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();

    let store = Store::new();
    store.writer::<Machine>("example")?.put(Machine::ID, status(&boot_id));
    let conditions = store.shared_writer::<Condition>("example")?;
    conditions.put("example", Condition::met("this is not a node"))?;
    let logs = Logs::new(dir.join("logs"), &boot_id);
    logs.log("example")?.append(b"first line\nsecond line\n")?;

    let meta = meta::Handle::new(&boot_id);
    meta.detach("this is not a node");
    let identity_file = File::new(dir.join("identity"));
    let identity = Arc::new(keep::find(&identity_file, &meta, &store).await?);
    println!("fingerprint {}", identity.fingerprint_hex());
    let (shown, identity) = watch::channel(identity);

    let uid = rustix::process::getuid().as_raw();
    let sockets = Sockets {
        api: sockets::open(&dir.join("api.sock"), uid, None)?,
        keys: sockets::open(&dir.join("gateway.sock"), uid, None)?,
        gateway: uid,
    };
    let runtime = Runtime::new(store.clone());
    let stop = stop::Handle::new();
    let about = About { version: env!("CARGO_PKG_VERSION").into(), ..About::default() };
    let names = identity::Machine { machine_id: String::new(), boot_id, hostname: "example".into() };
    let names = watch::Sender::new(names);
    let (pretended, client) = sys::link::pair()?;
    let (init, link) = link::build(client, stop.clone());
    let door = watch::Sender::new(Maintenance::Open);
    let own = Own::default();
    let sources = offer::Sources {
        door: door.subscribe(),
        identity,
        node: watch::Sender::new(machined::pki::node::Now::None).subscribe(),
        active: watch::Sender::new(Arc::new(configuration::Active::looking())).subscribe(),
        meta: meta.clone(),
        mark: "/nowhere".into(),
        until: tokio::time::Instant::now(),
        own: own.clone(),
        rescue: None,
        clock_sure: watch::Sender::new(false).subscribe(),
    };
    let (offering, offer) = watch::channel(sources.now());
    let (log, _) = machined::audit::build(
        machined::state::Handle::new(),
        machined::events::Events::open(&Store::new(), dir.join("audit-events"))?,
    );
    let parts = Parts {
        about,
        names: names.subscribe(),
        store: store.clone(),
        stop: stop.clone(),
        init,
        logs,
        graph: runtime.graph(),
        controllers: runtime.status(),
        engine: configuration::Handle::nobody(),
        jobs: jobs::Handle::nobody(),
        generations: machined::generations::Handle::new(machined::meta::Handle::new("b")),
        meta: machined::meta::Handle::new("b"),
        audit: log,
        node: machined::pki::node::Handle::new(
            machined::state::Handle::new(),
            &dir,
            watch::Sender::new(false).subscribe(),
        ),
        events: machined::events::Events::open(&store, dir.join("events"))?,
        offer: offer.clone(),
        maintenance: door.subscribe(),
    };
    let server = server::build(parts, sockets)?;
    let port = std::env::var("PORT").unwrap_or_else(|_| api::PORT.to_string());
    let endpoint = format!("127.0.0.1:{port}").parse()?;
    let probe = ready::Probe::new(&store, endpoint, offer, own, server.delivered())?;
    tokio::select! {
        () = server.run() => {}
        () = sources.follow(offering) => {}
        ended = link.run() => ended?,
        ended = pretend_init(pretended) => ended?,
        () = probe.run(|stamp| println!("ready {stamp:?}"), async || println!("the gateway hangs")) => {}
        () = keep::follow(&shown, &identity_file, &meta) => {}
        request = stop.requested() => {
            println!("stop: {}", request.cause);
            // So that clients see NOT_SERVING and the phase.
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        }
    }
    Ok(())
}

/// Grants every stop.
async fn pretend_init(init: sys::link::Server) -> anyhow::Result<()> {
    let socket = poll::readable(rustix::io::dup(&init)?)?;
    loop {
        match init.try_recv() {
            Ok(Some((sys::link::Request::Stopping { .. }, _))) => init.try_send(&sys::link::Event::Done, None)?,
            Ok(Some(_)) => {}
            Ok(None) => return Ok(()),
            Err(_) => socket.readable().await?.clear_ready(),
        }
    }
}

fn status(boot_id: &str) -> Machine {
    Machine {
        phase: Phase::Maintenance,
        unmet: vec!["there is no configuration".into()],
        waits: vec![],
        step: String::new(),
        cause: String::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        machine_id: String::new(),
        boot_id: boot_id.into(),
        hostname: "example".into(),
        fingerprint: String::new(),
        addresses: vec![],
    }
}
