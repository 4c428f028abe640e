//! The configuration's part of the start: the engine, the sources of a first configuration, and the node's certificate. Each
//! decides by itself as soon as META and STATE are there.

use std::path::Path;
use std::sync::Arc;

use reconcile::Store;
use tokio::sync::watch;

use super::Error;
use crate::configuration::{self, Handle, Parts, Reach};
use crate::controllers;
use crate::events::Events;
use crate::identity::Identity;
use crate::image::Image;
use crate::jobs::install::Unattended;
use crate::pki::{node, own::Own, rescue};
use crate::platform::{self, Verdict};
use crate::server::keys::Offer;
use crate::server::ready::Reacher;
use crate::tasks::Tasks;
use crate::{clock, generations, meta, state, stop, trace};

/// What it stands on.
pub(super) struct Ground<'a> {
    pub(super) run: &'a Path,
    pub(super) store: &'a Store,
    pub(super) events: &'a Events,
    pub(super) meta: &'a meta::Handle,
    pub(super) stop: &'a stop::Handle,
    pub(super) identity: &'a Identity,
    pub(super) generations: &'a generations::Handle,
    pub(super) image: &'a Image,
}

/// What the controllers and the API need of it.
pub(super) struct Configuration {
    pub(super) engine: Handle,
    pub(super) state: state::Handle,
    pub(super) node: node::Handle,
    /// machined as its own client.
    pub(super) own: Own,
    /// Whether the clock was set by somebody who knows.
    pub(super) sure: clock::Sure,
    /// What the sources of a first configuration say.
    pub(super) found: watch::Receiver<Verdict>,
    /// What the gateway is to have; told by the API's part.
    pub(super) offering: watch::Sender<Offer>,
    /// Asks the API the way a client does.
    pub(super) reacher: Arc<Reacher>,
}

impl Configuration {
    /// Besides, the sources of a first configuration, which are looked at once it can be installed, too.
    pub(super) fn start(tasks: &mut Tasks, ground: &Ground<'_>) -> Result<(Self, platform::World), Error> {
        let Ground { run, store, events, meta, stop, generations, image, identity: _ } = *ground;
        let sure = clock::Sure::default();
        let (state, own) = (state::Handle::new(), Own::default());
        let node = node::Handle::new(state.clone(), run, sure.watch());
        let followed = node.clone();
        tasks.start("node identity", async move { followed.follow().await });

        tasks.start("clock", raise_clock(node.watch(), sure.clone(), events.clone()));

        let offering = watch::Sender::new(Offer::Nothing("machined starts".into()));
        let reacher = Arc::new(Reacher::new(store.clone(), offering.subscribe(), own.clone()));
        let asked = reacher.clone();
        let reach: Reach = Arc::new(move || Box::pin(asked.clone().reach()));
        let parts = Parts {
            store: store.clone(),
            events: events.clone(),
            meta: meta.clone(),
            state: state.clone(),
            run: run.to_owned(),
            stop: stop.clone(),
            node: node.clone(),
            reach,
            generations: generations.clone(),
            recovery: image.recovery,
        };
        let (engine, task) = configuration::build(parts)?;
        tasks.start("configuration", task.run());

        let (verdict, found) = watch::channel(Verdict::Looking);
        let world = platform::World {
            store: store.clone(),
            events: events.clone(),
            run: run.to_owned(),
            wanted: engine.wanted(),
            verdict,
        };
        let configuration = Self { engine, state, node, own, sure, found, offering, reacher };
        Ok((configuration, world))
    }

    /// For the controllers of certificates.
    pub(super) fn pki(&self, ground: &Ground<'_>) -> controllers::pki::World {
        controllers::pki::World {
            active: self.engine.active(),
            node: self.node.clone(),
            machine: ground.identity.watch(),
            clock_sure: self.sure.watch(),
            events: ground.events.clone(),
            rescue: rescue::of_image(Path::new(platform::RESCUE)),
        }
    }
}

/// The node's certificate was signed by somebody whose clock was right: it is not earlier than that, as long as nobody who
/// knows has set it.
async fn raise_clock(mut now: watch::Receiver<node::Now>, sure: clock::Sure, events: Events) {
    loop {
        let from = now.borrow_and_update().held().and_then(|held| held.chain.first().map(|one| one.not_before));
        if let Some(from) = from.and_then(|from| u64::try_from(from).ok()).filter(|_| !sure.is()) {
            match clock::raise(from) {
                Ok(Some(step)) => {
                    let days = step.as_secs() / 86_400;
                    let text =
                        format!("the clock was {days} days before the machine's certificate: set to its beginning");
                    events.warn("clock", text);
                }
                Ok(None) => {}
                Err(error) => events.error("clock", format!("the clock cannot be set: {error}")),
            }
        }
        if now.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// A first configuration that somebody left for this machine, or for a disk of it.
pub(super) async fn look_for_one(world: platform::World, engine: Handle, unattended: Arc<Unattended>) {
    let take = move |input| {
        let (engine, unattended) = (engine.clone(), unattended.clone());
        async move {
            match unattended.look(&input).await {
                Some(done) => done,
                None => engine.take_first(input).await,
            }
        }
    };
    if let Err(error) = platform::run(world, take).await {
        tracing::error!("no source of a configuration can be looked at: {}", trace::chain(&error));
    }
}
