//! A DHCPv6 lease: what the server gave. Kept under /run like those of DHCPv4, so that the next machined goes on with it and
//! the address never leaves the link.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::resources::link_config::{LinkConfig, Source};

/// What a server gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The client it was given to: a lease of another machine, or of another link, is not ours.
    pub client: Vec<u8>,
    /// The client's number of the address, made of the link's name.
    pub association: u32,
    /// Who gave it.
    pub server: Vec<u8>,
    /// The address. Which network it is in only routers say, so it stands alone.
    pub address: Ipv6Addr,
    /// Name servers.
    pub servers: Vec<Ipv6Addr>,
    /// Search domains.
    pub search: Vec<String>,
    /// When the answer came, in milliseconds since the kernel started.
    pub since_ms: u64,
    /// Renew after this many milliseconds (T1); absent: never.
    pub renew_ms: Option<u64>,
    /// Ask any server after this many milliseconds (T2).
    pub rebind_ms: u64,
    /// Over after this many milliseconds; absent: never.
    pub expire_ms: Option<u64>,
}

impl Lease {
    /// Whether it is over.
    pub fn expired(&self, now: u64) -> bool {
        self.expire_ms.is_some_and(|length| now >= self.since_ms.saturating_add(length))
    }

    /// What it says about its link.
    pub fn config(&self, link: &str) -> LinkConfig {
        let mut config = LinkConfig::new(Source::Dhcp6, link);
        config.addresses = vec![IpNet::V6(Ipv6Net::from(self.address))];
        config.servers = self.servers.iter().copied().map(IpAddr::V6).collect();
        config.search = self.search.clone();
        config
    }
}
