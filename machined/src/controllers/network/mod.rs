//! Links, addresses, routes, resolvers: `config -> merge -> spec -> status`.
//!
//! ```text
//!   kernel --status--> link, address, route
//!   link --defaults--> link-config <--dhcp4-- link, link-spec
//!   documents --config--> link-config, resolver-config, kernel-module-spec, network-document
//!                      link-config <--dhcp6-- link, link-spec, address
//!                      link-config <--router- router announcements
//!   link-config --merge--> link-spec, address-spec, route-spec, resolver-spec, time-server
//!   link, address --ready--> condition "network"
//!   specs --apply--> kernel;  resolver-spec --resolver--> /run/stele/resolv.conf, resolver
//! ```
//! A link that no document names gets the defaults: every card is switched on, asks for an IPv4 lease and follows IPv6 router announcements;
//! link-local IPv6 addresses stay the kernel's, so that the API is reachable without any server.

pub mod apply;
pub mod config;
pub mod defaults;
pub mod devices;
pub mod dhcp4;
pub mod dhcp6;
pub mod kernel;
#[cfg(test)]
mod live;
pub mod merge;
pub mod netlink;
pub mod plan;
pub mod ready;
pub mod resolver;
pub mod router;
pub mod status;

use std::io;
use std::path::Path;

use reconcile::Runtime;
use tokio::sync::watch;

use crate::events::Events;
use crate::{identity, uptime};

use self::dhcp4::lease::Leases;
use self::dhcp4::wire::Sockets;
use self::dhcp4::{Dhcp4, Setup};
use self::dhcp6::Dhcp6;
use self::dhcp6::wire::Socket;
use self::kernel::Kernel;
use self::kernel::listen::Listener;

/// IPv4 keeps the other addresses of a network when the first one goes.
const PROMOTE: [&str; 2] =
    ["/proc/sys/net/ipv4/conf/all/promote_secondaries", "/proc/sys/net/ipv4/conf/default/promote_secondaries"];

/// Adds the network's controllers. `run` is /run/stele; leases and what routers said are kept there.
pub fn register(
    runtime: &mut Runtime,
    run: &Path,
    identity: watch::Receiver<identity::Machine>,
    events: &Events,
) -> io::Result<()> {
    for path in PROMOTE {
        if let Err(error) = std::fs::write(path, "1") {
            tracing::warn!("network: cannot write {path}: {error}");
        }
    }
    let setup = |folder: &str| Setup {
        leases: Leases::new(run.join(folder)),
        identity: identity.clone(),
        events: events.clone(),
        now: uptime::now_ms,
        random: || Box::new(random),
    };
    let devices = devices::Devices::new("/sys/class/net");
    runtime
        .register(status::Status::new(Kernel, Listener::state()?, devices, events.clone()))
        .register(defaults::Defaults)
        .register(config::Config::new(events.clone()))
        .register(router::Router::new(Listener::router()?, run.join("router.json")))
        .register(Dhcp4::<Sockets>::new(setup("dhcp")))
        .register(Dhcp6::<Socket>::new(setup("dhcp6")))
        .register(merge::Merge)
        .register(apply::Apply::new(Kernel, events.clone(), run.join("mtus.json")))
        .register(ready::Ready)
        .register(resolver::Resolvers::new(run.join("resolv.conf")));
    Ok(())
}

/// Never waits for entropy: transaction ids and jitter need not be secret.
fn random() -> u32 {
    let mut bytes = [0; 4];
    let _ = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::INSECURE);
    u32::from_ne_bytes(bytes)
}
