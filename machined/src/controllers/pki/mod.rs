//! Certificates: the one that the API shows is signed and renewed in time, and every one that matters is shown with its end.

mod access;
mod certificate;
mod plan;
mod renew;
mod show;

use reconcile::Runtime;
use tokio::sync::watch;

use self::access::Access;
use crate::served::Served;

pub use certificate::{Certificates, World};
#[cfg(test)]
pub(crate) use renew::renew;

/// Adds the controllers of this area.
pub fn register(runtime: &mut Runtime, world: World, served: watch::Receiver<Served>) {
    runtime.register(Certificates::new(world));
    runtime.register(Access::new(served));
}
