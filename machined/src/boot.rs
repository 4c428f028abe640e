//! The start of machined as a straight line: connect to init, mount, identify, start the controllers, the services and the
//! API. `main` calls it once. Everything after it is level-triggered; everything that ends it is in `shutdown`.
//!
//! A machined that was restarted runs the same lines: each step finds what is there already and leaves it.

mod api;
mod configuration;
mod generations;
mod jobs;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use reconcile::{Runtime, Store};
use tokio::sync::{oneshot, watch};

use self::api::Outside;
use self::configuration::{Configuration, Ground};
use crate::controllers;
use crate::events::Events;
use crate::identity::{self, Machine};
use crate::image::{self, Image};
use crate::link::{self, Link};
use crate::logs::Logs;
use crate::pki;
use crate::program::Programs;
use crate::served::Served;
use crate::server::{self, Sockets, sockets};
use crate::services::{self, Paths};
use crate::shutdown::{self, Shutdown};
use crate::tasks::Tasks;
use crate::{cgroup, clock, entropy, etc, limits, meta, mounts, stop, trace};

/// What survives a restart of machined, and the sockets.
const RUN: &str = "/run/stele";
/// Two fifths of what init expects at least.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The uid of the gateway, and of nobody else.
const GATEWAY: u32 = 100;

/// Why machined cannot go on. init starts it again.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed; the causes say why")]
pub enum Error {
    #[error("cannot start threads")]
    Runtime(#[source] std::io::Error),
    #[error("not started by init")]
    NoInit(#[from] sys::link::Error),
    #[error("init does not answer")]
    Link(#[from] link::Error),
    #[error("cannot mount what every program needs")]
    Mounts(#[from] sys::mount::Error),
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("cannot make {RUN}")]
    Run(#[source] std::io::Error),
    #[error("cannot open machined's own log")]
    Log(#[from] crate::logs::Error),
    #[error("cannot start the controllers")]
    Controllers(#[from] controllers::Error),
    #[error(transparent)]
    Graph(#[from] reconcile::Problems),
    #[error("cannot start the supervisor")]
    Services(#[from] services::Error),
    #[error("cannot open the API's sockets")]
    Sockets(#[from] sockets::Error),
    #[error("cannot make the API's identity")]
    Pki(#[from] pki::Error),
    #[error("cannot start the API")]
    Server(#[from] server::Error),
    #[error(transparent)]
    Claim(#[from] reconcile::ClaimError),
    #[error("machined's own address is none")]
    Address(#[from] ::api::endpoint::ParseError),
    #[error("the task {0} has ended: {1}")]
    Task(&'static str, String),
}

/// Runs the machine until it is stopped, or until a part of machined fails.
pub async fn run(ring: trace::Ring) -> Result<(), Error> {
    let run = Path::new(RUN);
    let mut tasks = Tasks::default();
    let stop = stop::Handle::new();

    // init: first, since it expects a heartbeat from here on; what it kept for us comes with the answer.
    let (link, task) = link::build(sys::link::Client::inherited()?, stop.clone());
    tasks.start("link", async move {
        if let Err(error) = task.run().await {
            tracing::error!("{}", trace::chain(&error));
        }
    });
    tasks.start("heartbeat", heartbeat(link.clone()));
    let mut kept = link.fetch().await?;

    // The system around us.
    complain("limits", limits::set());
    for error in mounts::ensure()? {
        tracing::warn!("{}", trace::chain(&error));
    }
    let cgroups = Path::new("/sys/fs/cgroup");
    complain("cgroups", cgroup::ensure(cgroups));
    fs::DirBuilder::new().recursive(true).mode(0o711).create(run).map_err(Error::Run)?;
    let image = Image::load(Path::new(image::FILE)).unwrap_or_else(|error| {
        tracing::error!("{}", trace::chain(&error));
        Image::unknown()
    });
    let stepped = clock::raise(image.built_unix);

    // Who we are; META says more once its disk is found.
    let boot_id = identity::boot_id()?;
    let meta = meta::Handle::new(&boot_id);
    let logs = Logs::new(run.join("logs"), &boot_id);
    ring.attach(logs.log("machined")?);
    let (identity, keeper) = identity::build(&run.join("machine-id"), boot_id);
    name(&identity.now());

    let store = Store::new();
    let events = Events::open(&store, run.join("events"))?;
    tell_start(&events, &image, &kept, stepped);
    let paths = Paths {
        declarations: "/usr/lib/stele/services".into(),
        run: run.join("services"),
        cgroups: cgroups.join("services"),
    };
    let supervised = services::Context::new(paths, store.clone(), link.clone(), logs.clone(), events.clone())?;

    // What was started, and what can be.
    let programs = Programs::new(link.clone(), cgroups);
    let (generations, slots) = {
        let (store, events, meta, link, image) = (&store, &events, &meta, &link, &image);
        let ground = generations::Ground { store, events, meta, link, image, programs: &programs, run };
        generations::start(&mut tasks, &ground)?
    };

    // The configuration decides by itself as soon as META and STATE are there; the node's certificate with it.
    let ground = Ground {
        run,
        store: &store,
        events: &events,
        meta: &meta,
        stop: &stop,
        identity: &identity,
        generations: &generations,
        image: &image,
    };
    let (configuration, sources) = Configuration::start(&mut tasks, &ground)?;

    let doing = jobs::Outside { image: &image, init: &link, programs: &programs, generations: Some(slots) };
    let (jobs, unattended) = jobs::start(&mut tasks, &ground, &configuration, doing)?;
    let taking = configuration::look_for_one(sources, configuration.engine.clone(), unattended.into());
    tasks.start("sources", taking);

    // The controllers.
    let mut runtime = Runtime::new(store.clone());
    runtime.grace(shutdown::GRACE);
    let tail = meta::Tail::new(meta.clone(), logs.clone(), run);
    let (shown, served) = watch::channel(Served::default());
    let context = controllers::Context {
        store: &store,
        events: &events,
        stop: &stop,
        link: &link,
        image: &image,
        meta: &meta,
        tail: &tail,
        identity: &identity,
        sure: &configuration.sure,
        served,
        run,
        programs: &programs,
        state: &configuration.state,
        generations: &generations,
        pki: configuration.pki(&ground),
    };
    controllers::register(&mut runtime, context)?;
    let (graph, status) = (runtime.graph(), runtime.status());
    runtime.check()?;
    let (quit, quitting) = oneshot::channel::<()>();
    let (ended, controllers) = oneshot::channel();
    tasks.start("controllers", async move {
        let stopped = runtime.run(async { drop(quitting.await) }).await;
        // Ends only when shutdown asked for it, and shutdown waits for this word.
        let _ = ended.send(stopped);
        std::future::pending().await
    });
    let keeper_of_time = controllers::system::TimeKeeper {
        state: configuration.state.clone(),
        sure: configuration.sure.clone(),
        stop: stop.watch(),
        events: events.clone(),
    };
    tasks.start("time", keeper_of_time.run());
    tasks.start("identity", follow_meta(keeper, meta.clone()));

    // The services: what runs is adopted before anything is started.
    let api = keep_socket(&link, &mut kept, "api", &run.join("api.sock")).await?;
    let keys = keep_socket(&link, &mut kept, "gateway-keys", &run.join("gateway.sock")).await?;
    let (services, supervisor) = services::build(supervised, &mut kept).await?;
    drop_rest(&link, kept).await;
    tasks.start("services", supervisor.run());

    // The API.
    let outside = Outside {
        image: &image,
        init: &link,
        logs,
        graph,
        controllers: status,
        services: &services,
        sockets: Sockets { api, keys, gateway: GATEWAY },
        shown,
        jobs,
    };
    api::start(&mut tasks, &ground, configuration, outside).await?;

    tokio::select! {
        request = stop.requested() => {
            let shutdown = Shutdown { link, stop, services, meta, tail, events, quit, controllers };
            shutdown::run(shutdown, &request).await.map_err(Error::Link)
        }
        (name, why) = tasks.ended() => Err(Error::Task(name, why)),
    }
}

/// Beats only as long as the runtime takes up new work, so that a hung one is noticed.
async fn heartbeat(link: Link) {
    let mut every = tokio::time::interval(HEARTBEAT);
    let mut proof = tokio::task::JoinSet::new();
    loop {
        every.tick().await;
        proof.spawn(async {});
        proof.join_next().await;
        if link.heartbeat().await.is_err() {
            return;
        }
    }
}

/// Host name and /etc.
fn name(machine: &Machine) {
    complain("host name", rustix::system::sethostname(machine.short().as_bytes()));
    complain("/etc", etc::write(Path::new("/etc"), machine));
}

async fn follow_meta(keeper: identity::Keeper, meta: meta::Handle) {
    let mut state = meta.watch();
    let seed = async {
        let attached = state.wait_for(|state| matches!(state, meta::State::Attached { .. })).await.is_ok();
        if attached {
            complain("random seed", entropy::renew(&meta).await);
        }
    };
    tokio::join!(keeper.run(meta.clone(), name), seed);
}

/// A listening socket that clients can queue at while machined is restarted.
async fn keep_socket(
    link: &Link,
    kept: &mut link::Kept,
    name: &str,
    path: &Path,
) -> Result<std::os::unix::net::UnixListener, Error> {
    let entry = kept.take(name);
    let known = entry.is_some();
    let listener = sockets::open(path, GATEWAY, entry.map(|entry| entry.descriptor))?;
    if !known {
        let copy = listener.try_clone().map_err(Error::Run)?;
        link.put(name, sys::link::Kind::Plain, copy.into()).await?;
    }
    Ok(listener)
}

/// What init keeps and nobody wants any more: of services that are not declared now.
async fn drop_rest(link: &Link, kept: link::Kept) {
    let names = kept.entries.iter().map(|entry| entry.name.to_string());
    let names: BTreeSet<String> = names.filter(|name| !name.starts_with(controllers::device::BUTTON)).collect();
    drop(kept);
    for name in names {
        complain("a descriptor nobody wants", link.drop(&name).await);
    }
}

fn tell_start(events: &Events, image: &Image, kept: &link::Kept, stepped: std::io::Result<Option<Duration>>) {
    match (kept.generation, kept.last) {
        (0 | 1, _) => events.info("machined", format!("Stele {} starts", image.version)),
        (n, last) => {
            let how = last.map_or("in an unknown way".into(), |status| format!("with {status}"));
            let hung = if kept.hung { ", killed because it hung" } else { "" };
            events.warn("machined", format!("machined was started again (life {n}); the one before ended {how}{hung}"));
        }
    }
    match stepped {
        Ok(Some(step)) => {
            let days = step.as_secs() / 86_400;
            events.warn("clock", format!("the clock was {days} days before the image was built: set to that time"));
        }
        Ok(None) => {}
        Err(error) => events.error("clock", format!("the clock cannot be set: {error}")),
    }
}

/// For what the machine can be without.
fn complain<E: std::error::Error>(what: &str, result: Result<(), E>) {
    if let Err(error) = result {
        tracing::warn!("{what}: {}", trace::chain(&error));
    }
}
