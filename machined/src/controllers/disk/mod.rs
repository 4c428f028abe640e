//! Disks and partitions, what lies on them, their stable names, and the system disk.

mod choose;
mod content;
mod host;
mod inventory;
mod link;
mod names;
mod path;
mod system;
mod table;
#[cfg(test)]
mod tests;
mod unique;

use std::io;
use std::path::Path;

use reconcile::Runtime;

use crate::events::Events;
use crate::meta;
use crate::uevent::Listener;

/// Adds this area's controllers; `run` is machined's folder in /run. Must be called within a tokio runtime.
///
/// # Errors
/// The kernel gives no socket for device events.
pub fn register(runtime: &mut Runtime, events: &Events, meta: &meta::Handle, run: &Path) -> io::Result<()> {
    let host = host::Host { sys: "/sys".into(), dev: "/dev".into() };
    let listener = Listener::open(inventory::Inventory::wants)?;
    runtime.register(inventory::Inventory::new(host.clone(), listener, events.clone()));
    runtime.register(link::Link::new(&host.dev));
    runtime.register(system::System::new(host, system::file(run), meta.clone(), events.clone()));
    Ok(())
}
