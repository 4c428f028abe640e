//! The part of jobs in the start: what each kind of job does on this machine.

use std::sync::Arc;

use tokio::sync::watch;

use super::Error;
use super::configuration::{Configuration, Ground};
use crate::drivers::Drivers;
use crate::image::Image;
use crate::jobs::install::{self, Install, Unattended};
use crate::jobs::upgrade::{self, Generations, Upgrade};
use crate::jobs::{self, Handle, Parts, Puller, Work, Works};
use crate::link::Link;
use crate::program::Programs;
use crate::tasks::Tasks;

/// What jobs use beside the ground.
pub(super) struct Outside<'a> {
    pub(super) image: &'a Image,
    pub(super) init: &'a Link,
    pub(super) programs: &'a Programs,
    /// What there is to boot; without it nothing can be upgraded.
    pub(super) generations: Option<Arc<dyn Generations>>,
}

pub(super) fn start(
    tasks: &mut Tasks,
    ground: &Ground<'_>,
    configuration: &Configuration,
    outside: Outside<'_>,
) -> Result<(Handle, Unattended), Error> {
    let Outside { image, init, programs, generations } = outside;
    let puller = Puller {
        programs: programs.clone(),
        image: image.clone(),
        store: ground.store.clone(),
        run: ground.run.to_owned(),
    };
    let (offer, offered) = watch::channel(None);
    let install = Install::new(install::Parts {
        puller,
        boot_id: ground.meta.boot_id().to_owned(),
        active: configuration.engine.active(),
        offered,
        stop: ground.stop.clone(),
        init: init.clone(),
        generations: ground.generations.clone(),
        drivers: Drivers::new(ground.store, "install")?,
        sys: "/sys".into(),
    });
    let upgrade = generations.map(|generations| {
        let parts = upgrade::Parts {
            programs: programs.clone(),
            image: image.clone(),
            store: ground.store.clone(),
            run: ground.run.to_owned(),
            boot_id: ground.meta.boot_id().to_owned(),
            active: configuration.engine.active(),
            stop: ground.stop.clone(),
            init: init.clone(),
            generations,
        };
        Arc::new(Upgrade::new(parts)) as Arc<dyn Work>
    });
    let (handle, engine) = jobs::build(Parts {
        store: ground.store.clone(),
        events: ground.events.clone(),
        meta: ground.meta.clone(),
        state: configuration.state.clone(),
        run: ground.run.to_owned(),
        stop: ground.stop.clone(),
        works: Works { upgrade, install: Some(Arc::new(install)) },
    })?;
    tasks.start("jobs", engine.run());
    Ok((handle.clone(), Unattended::new(ground.store.clone(), handle, offer)))
}
