//! Certificates: the one that the API shows is signed and renewed in time, and every one that matters is shown with its end.

mod certificate;
mod plan;
mod renew;
mod show;

use reconcile::Runtime;

pub use certificate::{Certificates, World};
#[cfg(test)]
pub(crate) use renew::renew;

/// Adds the controllers of this area.
pub fn register(runtime: &mut Runtime, world: World) {
    runtime.register(Certificates::new(world));
}
