//! How this boot went and how the last one ended: the boot record, the tail of the boot log in META, crash records.

mod gates;
mod generations;
mod log;
mod phase;
mod probe;
mod pstore;
mod record;
mod source;
mod started;

use std::path::Path;

use reconcile::Runtime;

use self::phase::Stamp;
use crate::events::Events;
use crate::image::Image;
use crate::meta::{self, Tail};
use crate::stop;

/// What they work with.
#[derive(Debug)]
#[expect(missing_docs, reason = "see `controllers::Context`")]
pub struct Parts<'a> {
    pub events: &'a Events,
    pub stop: &'a stop::Handle,
    pub image: &'a Image,
    pub meta: &'a meta::Handle,
    pub tail: &'a Tail,
    pub run: &'a Path,
    pub generations: &'a crate::generations::Handle,
}

/// Adds this area's controllers, early in machined's start: its stamp is taken here. `run` is machined's folder in /run.
pub fn register(runtime: &mut Runtime, parts: Parts<'_>) {
    let Parts { events, stop, image, meta, tail, run, generations: handle } = parts;
    let places =
        record::Places { sys: "/sys".into(), proc: "/proc".into(), run: run.to_owned(), init: init(), started: now() };
    runtime.register(generations::Generations::new(handle.clone(), meta.clone()));
    runtime.register(gates::Gates::new(handle.clone(), stop.clone(), events.clone()));
    runtime.register(log::Log::new(tail.clone(), stop.clone()));
    runtime.register(record::Record::new(places, image.clone(), meta.clone(), tail.clone(), events.clone(), handle));
}

fn now() -> Stamp {
    Stamp { uptime_ns: sys::tsc::uptime_ns(), tsc: sys::tsc() }
}

/// What init says about its own start.
fn init() -> Option<Stamp> {
    let number = |name| std::env::var(name).ok()?.parse().ok();
    Some(Stamp { uptime_ns: number("STELE_INIT_UPTIME_NS")?, tsc: number("STELE_INIT_TSC")? })
}
