//! The start of machined as a straight line: connect to init, mount, identify, start the controllers, the services and the
//! API. `main` calls it once. Everything after it is level-triggered; everything that ends it is in `shutdown`.
//!
//! A machined that was restarted runs the same lines: each step finds what is there already and leaves it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::fingerprint::Fingerprint;
use reconcile::{Runtime, Store};
use tokio::sync::{oneshot, watch};

use crate::configuration::{self, Reach};
use crate::controllers;
use crate::events::Events;
use crate::identity::{self, Machine};
use crate::image::{self, Image};
use crate::link::{self, Link};
use crate::logs::Logs;
use crate::maintenance::{Door, Signs};
use crate::pki::own::Own;
use crate::pki::{self, keep, node};
use crate::program::Programs;
use crate::server::keys::Offer;
use crate::server::{self, Parts, ready, sockets};
use crate::services::{self, Paths};
use crate::shutdown::{self, Shutdown};
use crate::tasks::Tasks;
use crate::{audit, cgroup, clock, entropy, etc, limits, meta, mounts, offer, platform, state, stop, trace};

/// What survives a restart of machined, and the sockets.
const RUN: &str = "/run/stele";
/// Two fifths of what init expects at least.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The uid of the gateway, and of nobody else.
const GATEWAY: u32 = 100;
/// Where machined asks itself, through the gateway.
const API: &str = "127.0.0.1:50000";

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
    #[error("the address {API} is none")]
    Address(#[from] api::endpoint::ParseError),
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

    // The configuration: it decides by itself as soon as META and STATE are there. The node's certificate with it.
    let sure = clock::Sure::default();
    let (state, own) = (state::Handle::new(), Own::default());
    let node = node::Handle::new(state.clone(), run, sure.watch());
    let followed = node.clone();
    tasks.start("node identity", async move { followed.follow().await });
    let (offering, offer) = watch::channel(Offer::Nothing("machined starts".into()));
    let reacher = Arc::new(ready::Reacher::new(store.clone(), offer.clone(), own.clone()));
    let asked = reacher.clone();
    let reach: Reach = Arc::new(move || Box::pin(asked.clone().reach()));
    let parts = configuration::Parts {
        store: store.clone(),
        events: events.clone(),
        meta: meta.clone(),
        state: state.clone(),
        run: run.to_owned(),
        stop: stop.clone(),
        node: node.clone(),
        reach,
    };
    let (engine, configured) = configuration::build(parts)?;
    tasks.start("configuration", configured.run());
    let (verdict, found) = watch::channel(platform::Verdict::Looking);
    let world = platform::World {
        store: store.clone(),
        events: events.clone(),
        run: run.to_owned(),
        wanted: engine.wanted(),
        verdict,
    };
    tasks.start("sources", look_for_configuration(world, engine.clone()));

    // The controllers.
    let mut runtime = Runtime::new(store.clone());
    runtime.grace(shutdown::GRACE);
    let tail = meta::Tail::new(meta.clone(), logs.clone(), run);
    let (fingerprint, shown_fingerprint) = watch::channel(String::new());
    let context = controllers::Context {
        store: &store,
        events: &events,
        stop: &stop,
        link: &link,
        image: &image,
        meta: &meta,
        tail: &tail,
        identity: &identity,
        sure: &sure,
        fingerprint: shown_fingerprint,
        run,
        programs: &Programs::new(link.clone(), cgroups),
        state: &state,
        pki: controllers::pki::World {
            active: engine.active(),
            node: node.clone(),
            machine: identity.watch(),
            clock_sure: sure.watch(),
            events: events.clone(),
        },
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
        state: state.clone(),
        sure: sure.clone(),
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
    let file = pki::file::File::new(run.join("identity"));
    let (shown, showing) = watch::channel(Arc::new(keep::find(&file, &meta, &store).await?));
    let signs = Signs { meta: meta.clone(), active: engine.active(), sources: found };
    let door = Door::new(signs, run.join("configured"), events.clone());
    let sources = offer::Sources {
        door: door.watch(),
        identity: showing,
        node: node.watch(),
        active: engine.active(),
        meta: meta.clone(),
        own: own.clone(),
        rescue: pki::rescue::of_image(Path::new(platform::RESCUE)),
        clock_sure: sure.watch(),
    };
    offering.send_replace(sources.now());
    tasks.start("offer", sources.follow(offering));
    tasks.start("fingerprint", follow_offer(offer.clone(), fingerprint));
    let (audit, log) = audit::build(state.clone(), events.clone());
    tasks.start("audit", log.run());
    let about = about(&image);
    let parts = Parts {
        about,
        names: identity.watch(),
        store: store.clone(),
        stop: stop.clone(),
        init: link.clone(),
        logs,
        graph,
        controllers: status,
        engine,
        node,
        audit,
        events: events.clone(),
        offer: offer.clone(),
        maintenance: door.watch(),
    };
    let server = server::build(parts, server::Sockets { api, keys, gateway: GATEWAY })?;
    reacher.delivered(server.delivered());
    let probe = ready::Probe::new(&store, API.parse()?, offer, own, server.delivered())?;
    tasks.start("server", server.run());
    let mark = run.join("api-ready");
    let told = move |stamp| complain("console", ready::announce(stamp, &mark));
    let (supervisor, stopping) = (services.clone(), stop.watch());
    let restart = move || {
        let (services, wanted) = (supervisor.clone(), *stopping.borrow() == stop::State::Running);
        async move {
            // A machine that stops starts nothing.
            if wanted {
                complain("the gateway", services.restart("gateway").await);
            }
        }
    };
    tasks.start("probe", probe.run(told, restart));
    tasks.start("maintenance", door.run());
    let followed = meta.clone();
    tasks.start("api identity", async move { keep::follow(&shown, &file, &followed).await });

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

/// What people compare, for the machine's status and the console.
async fn follow_offer(mut offer: watch::Receiver<Offer>, fingerprint: watch::Sender<String>) {
    loop {
        let shown = match &*offer.borrow_and_update() {
            Offer::Keys(keys) => keys.chain.first().map(|der| Fingerprint::of_der(der).to_string()),
            Offer::Nothing(_) | Offer::Later(_) => None,
        };
        fingerprint.send_replace(shown.unwrap_or_default());
        if offer.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// A first configuration that somebody left for this machine.
async fn look_for_configuration(world: platform::World, engine: configuration::Handle) {
    let take = move |input| {
        let engine = engine.clone();
        async move { engine.take_first(input).await }
    };
    if let Err(error) = platform::run(world, take).await {
        tracing::error!("no source of a configuration can be looked at: {}", trace::chain(&error));
    }
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

fn about(image: &Image) -> server::About {
    server::About { version: image.version.clone(), commit: image.commit.clone(), built: image.built.clone() }
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
