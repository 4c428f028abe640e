//! The controllers, by area. Each area has `register`, which adds its controllers to the runtime; [`register`] calls them
//! all, once, from `boot`. What they watch and own is drawn in `docs/controllers.md`.

pub mod boot;
pub mod console;
pub mod device;
pub mod disk;
pub mod network;
pub mod pki;
pub mod process;
pub mod system;

use std::io;
use std::path::Path;

use reconcile::{Runtime, Store};
use tokio::sync::watch;

use self::process::machine::Outside;
use crate::clock::Sure;
use crate::events::Events;
use crate::identity::Identity;
use crate::image::Image;
use crate::link::Link;
use crate::program::Programs;
use crate::served::Served;
use crate::{generations, meta, state, stop};

/// What controllers use that is not a resource.
#[derive(Debug)]
pub struct Context<'a> {
    /// The store, for types that are read when somebody looks.
    pub store: &'a Store,
    /// The log for people.
    pub events: &'a Events,
    /// Where a stop is asked for and watched.
    pub stop: &'a stop::Handle,
    /// To init.
    pub link: &'a Link,
    /// What the image says of itself.
    pub image: &'a Image,
    /// What is kept before anything else is readable.
    pub meta: &'a meta::Handle,
    /// Runs programs of the image.
    pub programs: &'a Programs,
    /// How others see STATE.
    pub state: &'a state::Handle,
    /// The tail of the boot log.
    pub tail: &'a meta::Tail,
    /// Who the machine is.
    pub identity: &'a Identity,
    /// Whether the clock is sure.
    pub sure: &'a Sure,
    /// By what the API is served.
    pub served: watch::Receiver<Served>,
    /// machined's folder in /run.
    pub run: &'a Path,
    /// What runs, and what was proven.
    pub generations: &'a generations::Handle,
    /// For the certificates.
    pub pki: pki::World,
}

/// Why a controller cannot be made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed; the causes say why")]
pub enum Error {
    #[error("cannot listen to the kernel")]
    Kernel(#[from] io::Error),
    #[error(transparent)]
    Claim(#[from] reconcile::ClaimError),
}

/// Adds all controllers. Must be called within a tokio runtime.
pub fn register(runtime: &mut Runtime, context: Context<'_>) -> Result<(), Error> {
    let Context {
        store,
        events,
        stop,
        link,
        image,
        meta,
        tail,
        identity,
        sure,
        served,
        run,
        programs,
        state,
        generations,
        pki,
    } = context;
    device::register(runtime, events, stop, link, state)?;
    disk::register(
        runtime,
        disk::Parts {
            events,
            meta,
            state,
            programs: programs.clone(),
            run,
            recovery: image.recovery,
            generations,
            stop,
        },
    )?;
    boot::register(runtime, boot::Parts { events, stop, image, meta, tail, run, generations });
    network::register(runtime, run, identity.watch(), events)?;
    let outside = Outside {
        version: image.version.clone(),
        recovery: image.recovery,
        identity: identity.watch(),
        served: served.clone(),
        stop: stop.watch(),
    };
    process::register(runtime, store, outside)?;
    pki::register(runtime, pki, served);
    system::register(runtime, run, identity, events, sure);
    console::register(runtime);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_DOCS=1 cargo test -p machined graph` writes the page anew.
    #[tokio::test]
    async fn the_drawn_graph_is_the_one_that_runs() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path();
        let store = Store::new();
        let events = Events::open(&store, run.join("events")).unwrap();
        let meta = meta::Handle::new("boot");
        let logs = crate::logs::Logs::new(run.join("logs"), "boot");
        let tail = meta::Tail::new(meta.clone(), logs, run);
        let (identity, _keeper) = crate::identity::build(&run.join("machine-id"), "boot".into());
        let (_sender, served) = watch::channel(Served::default());
        let (image, stop) = (Image::unknown(), stop::Handle::new());
        let (_init, client) = sys::link::pair().unwrap();
        let (link, _task) = crate::link::build(client, stop.clone());
        let (programs, state) = (Programs::free(link.clone()), state::Handle::new());
        let context = Context {
            store: &store,
            events: &events,
            stop: &stop,
            link: &link,
            image: &image,
            meta: &meta,
            tail: &tail,
            identity: &identity,
            sure: &Sure::default(),
            served,
            run,
            programs: &programs,
            state: &state,
            generations: &generations::Handle::new(meta.clone()),
            pki: pki::World {
                active: watch::Sender::new(std::sync::Arc::new(crate::configuration::Active::looking())).subscribe(),
                node: crate::pki::node::Handle::new(
                    crate::state::Handle::new(),
                    run,
                    watch::Sender::new(false).subscribe(),
                ),
                machine: identity.watch(),
                clock_sure: watch::Sender::new(false).subscribe(),
                events: events.clone(),
                rescue: None,
            },
        };
        let mut runtime = Runtime::new(store.clone());
        register(&mut runtime, context).unwrap();

        let drawn = format!(
            "# Controllers\n\nWho watches and writes what, as the runtime enforces it. Generated: \
             `UPDATE_DOCS=1 cargo test -p machined graph`.\n\n{}",
            runtime.graph().markdown()
        );
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/controllers.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&page, &drawn).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&page).unwrap_or_default(), drawn, "{} is out of date", page.display());
    }
}
