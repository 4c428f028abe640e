//! Links, addresses, routes, resolvers.
//!
//! ```text
//!   kernel --status--> link, address, route
//!   link --defaults--> link-config <--dhcp4-- link, link-spec
//!                      link-config <--router- router announcements
//!   link-config --merge--> link-spec, address-spec, route-spec, resolver-spec, time-server
//!   specs --apply--> kernel;  resolver-spec --resolver--> /run/stele/resolv.conf, resolver
//! ```

pub mod defaults;
pub mod dhcp4;
pub mod kernel;
pub mod merge;
pub mod netlink;
pub mod plan;
