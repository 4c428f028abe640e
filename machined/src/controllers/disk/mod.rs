//! Disks and partitions, what lies on them, their stable names, and the system disk.

mod choose;
mod content;
mod host;
mod inventory;
mod link;
mod names;
mod path;
mod rewrite;
mod system;
mod table;
#[cfg(test)]
mod tests;
mod unique;
mod volumes;

use std::io;
use std::path::Path;

use reconcile::Runtime;

use crate::events::Events;
use crate::program::Programs;
use crate::uevent::Listener;
use crate::{generations, meta, state, stop};

/// Where EPHEMERAL is mounted.
const VAR: &str = "/var";

/// What this area uses that is not a resource.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The log for people.
    pub events: &'a Events,
    /// What is kept before STATE.
    pub meta: &'a meta::Handle,
    /// How others see STATE.
    pub state: &'a state::Handle,
    /// Runs mkfs and its like.
    pub programs: Programs,
    /// machined's folder in /run.
    pub run: &'a Path,
    /// The recovery system runs: it makes no file system.
    pub recovery: bool,
    /// What was proven, which a reset changes.
    pub generations: &'a generations::Handle,
    /// A reset may switch the machine off.
    pub stop: &'a stop::Handle,
}

/// Adds this area's controllers. Must be called within a tokio runtime.
///
/// # Errors
/// The kernel gives no socket for device events.
pub fn register(runtime: &mut Runtime, parts: Parts<'_>) -> io::Result<()> {
    let Parts { events, meta, state, programs, run, recovery, generations, stop } = parts;
    let host = host::Host { sys: "/sys".into(), dev: "/dev".into() };
    let listener = Listener::open(inventory::Inventory::wants)?;
    runtime.register(inventory::Inventory::new(host.clone(), listener, events.clone()));
    runtime.register(link::Link::new(&host.dev));
    runtime.register(system::System::new(host.clone(), system::file(run), meta.clone(), events.clone()));
    let places = volumes::Places { state: run.join("state"), var: VAR.into() };
    let powers = volumes::Real { programs };
    let around = volumes::Around {
        meta: meta.clone(),
        handle: state.clone(),
        events: events.clone(),
        generations: generations.clone(),
        stop: stop.clone(),
    };
    let volumes = volumes::Volumes::new(host, powers, places, around);
    runtime.register(if recovery { volumes.of_recovery() } else { volumes });
    Ok(())
}
