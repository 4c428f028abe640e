//! Devices without udev: drivers by modalias, the kernel's device events, the power button.

mod alias;
mod catalog;
mod class;
mod host;
mod loader;
mod module;
mod power;
mod queue;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;

use reconcile::Runtime;

use crate::events::Events;
use crate::link::Link;
use crate::uevent::Listener;
use crate::{state, stop};

/// What the names of power buttons that init keeps begin with: these are put anew, and not dropped as of nobody.
pub const BUTTON: &str = power::KEPT;

/// Adds this area's controllers. Must be called within a tokio runtime.
///
/// # Errors
/// The kernel gives no socket for device events.
pub fn register(
    runtime: &mut Runtime,
    events: &Events,
    stop: &stop::Handle,
    link: &Link,
    state: &state::Handle,
) -> io::Result<()> {
    let listener = Listener::open(module::Module::wants)?;
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let modules = PathBuf::from("/usr/lib/modules").join(release);
    runtime.register(module::Module::new(host::Host::real(), modules, listener, events.clone(), state));
    let listener = Listener::open(power::Power::wants)?;
    runtime.register(power::Power::new(listener, stop.clone(), link.clone(), events.clone()));
    Ok(())
}
