//! The API's part of the start: who is let in, the certificate that is shown, the audit, the server, and machined asking itself.

use std::path::Path;
use std::sync::Arc;

use reconcile::Graph;
use tokio::sync::watch;
use tokio::time::Instant;

use super::configuration::{Configuration, Ground};
use super::{Error, complain};
use crate::image::Image;
use crate::link::Link;
use crate::logs::Logs;
use crate::maintenance::{Door, Signs};
use crate::pki::{self, keep};
use crate::served::Served;
use crate::server::keys::{Delivered, Offer};
use crate::server::{self, Parts, Sockets, ready};
use crate::tasks::Tasks;
use crate::{audit, jobs, offer, platform, services, stop};

/// Where machined asks itself, through the gateway.
const API: &str = "127.0.0.1:50000";

/// What is served beside the configuration.
pub(super) struct Outside<'a> {
    pub(super) image: &'a Image,
    pub(super) init: &'a Link,
    pub(super) logs: Logs,
    pub(super) graph: Graph,
    pub(super) controllers: reconcile::Status,
    pub(super) services: &'a services::Handle,
    pub(super) sockets: Sockets,
    /// Told by what clients are served.
    pub(super) shown: watch::Sender<Served>,
    pub(super) jobs: jobs::Handle,
}

pub(super) async fn start(
    tasks: &mut Tasks,
    ground: &Ground<'_>,
    configuration: Configuration,
    served: Outside<'_>,
) -> Result<(), Error> {
    let Ground { run, store, events, meta, stop, identity, generations, image: _ } = *ground;
    let Configuration { engine, state, node, own, sure, found, offering, reacher } = configuration;
    let file = pki::file::File::new(run.join("identity"));
    let (shown, showing) = watch::channel(Arc::new(keep::find(&file, meta, store).await?));
    let signs = Signs { meta: meta.clone(), generations: generations.clone(), active: engine.active(), sources: found };
    let door = Door::new(signs, run.join("configured"), events.clone());
    let offer = offering.subscribe();
    let sources = offer::Sources {
        door: door.watch(),
        identity: showing,
        node: node.watch(),
        active: engine.active(),
        meta: meta.clone(),
        mark: run.join("configured"),
        until: Instant::now() + offer::LOOKING,
        own: own.clone(),
        rescue: pki::rescue::of_image(Path::new(platform::RESCUE)),
        clock_sure: sure.watch(),
    };
    offering.send_replace(sources.now());
    tasks.start("offer", sources.follow(offering));
    let (audit, log) = audit::build(state, events.clone());
    tasks.start("audit", log.run());

    let parts = Parts {
        about: about(served.image),
        names: identity.watch(),
        store: store.clone(),
        stop: stop.clone(),
        init: served.init.clone(),
        logs: served.logs,
        graph: served.graph,
        controllers: served.controllers,
        engine,
        jobs: served.jobs,
        generations: generations.clone(),
        meta: meta.clone(),
        node,
        audit,
        events: events.clone(),
        offer: offer.clone(),
        maintenance: door.watch(),
    };
    let server = server::build(parts, served.sockets)?;
    reacher.delivered(server.delivered());
    tasks.start("served", follow(offer.clone(), server.delivered(), served.shown));
    let probe = ready::Probe::new(store, API.parse()?, offer, own, server.delivered())?;
    tasks.start("server", server.run());
    let mark = run.join("api-ready");
    let told = move |stamp| complain("console", ready::announce(stamp, &mark));
    let (supervisor, stopping) = (served.services.clone(), stop.watch());
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
    Ok(())
}

fn about(image: &Image) -> server::About {
    server::About { version: image.version.clone(), commit: image.commit.clone(), built: image.built.clone() }
}

/// For those who show it, for ever.
async fn follow(
    mut offer: watch::Receiver<Offer>,
    mut delivered: watch::Receiver<Delivered>,
    shown: watch::Sender<Served>,
) {
    loop {
        let now = Served::of(&offer.borrow_and_update(), &delivered.borrow_and_update());
        shown.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
        // A sender that is gone changes nothing any more.
        tokio::select! {
            Ok(()) = offer.changed() => {}
            Ok(()) = delivered.changed() => {}
            else => return std::future::pending().await,
        }
    }
}
