//! A DHCPv4 lease: what the server gave, and its copy under /run, so that the next machined goes on with it and the address
//! never leaves the link. /run is empty after a boot, so a lease never outlives one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::resources::link_config::{LinkConfig, RouteConfig, Source};

/// Below this a link cannot carry IPv6 (RFC 8200), and no honest server asks for it.
const MTU_MIN: u16 = 1280;

/// What a server gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The hardware address it was given to; a lease of another card is not ours.
    pub mac: [u8; 6],
    /// The address and its network.
    pub address: Ipv4Net,
    /// Who gave it: renewals go there.
    pub server: Ipv4Addr,
    /// Routes: the classless ones when there are any, else the router's (RFC 3442).
    pub routes: Vec<(Ipv4Net, Option<Ipv4Addr>)>,
    /// Name servers.
    pub servers: Vec<Ipv4Addr>,
    /// Search domains, else the domain name.
    pub search: Vec<String>,
    /// Time servers.
    pub time_servers: Vec<Ipv4Addr>,
    /// Largest packet.
    pub mtu: Option<u16>,
    /// When the request it answers was sent, in milliseconds since the kernel started.
    pub since_ms: u64,
    /// Renew after this many milliseconds (T1).
    pub renew_ms: u64,
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
        let mut config = LinkConfig::new(Source::Dhcp4, link);
        config.addresses = vec![IpNet::V4(self.address)];
        let routes = self.to_routers().into_iter().map(|router| (router, None)).chain(self.routes.iter().copied());
        config.routes = routes
            .map(|(destination, gateway)| RouteConfig {
                destination: IpNet::V4(destination),
                gateway: gateway.map(IpAddr::V4),
                metric: None,
            })
            .collect();
        config.servers = self.servers.iter().copied().map(IpAddr::V4).collect();
        config.search = self.search.clone();
        config.time_servers = self.time_servers.iter().copied().map(IpAddr::V4).collect();
        config.mtu = self.mtu.filter(|mtu| *mtu >= MTU_MIN).map(u32::from);
        config
    }
}

impl Lease {
    /// Routers that neither the address's network nor a route of the lease puts on the link (clouds give /32 addresses):
    /// the kernel takes no route by a router it cannot reach directly.
    fn to_routers(&self) -> BTreeSet<Ipv4Net> {
        let on_link = self.routes.iter().filter(|(_, gateway)| gateway.is_none()).map(|(destination, _)| *destination);
        let near: Vec<_> = on_link.chain([self.address]).collect();
        let routers = self.routes.iter().filter_map(|(_, gateway)| *gateway);
        routers.filter(|router| !near.iter().any(|net| net.contains(router))).map(Ipv4Net::from).collect()
    }
}

/// Where leases of either family are kept: one file per link.
#[derive(Clone, Debug)]
pub struct Leases(PathBuf);

impl Leases {
    /// In this folder, made when the first lease is saved.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    fn path(&self, link: &str) -> PathBuf {
        self.0.join(format!("{link}.json"))
    }

    /// The lease of a link. A file that does not parse is no lease: it was written by another version, and a new lease costs
    /// less than a guess.
    pub fn load<L: DeserializeOwned>(&self, link: &str) -> Option<L> {
        serde_json::from_slice(&fs::read(self.path(link)).ok()?).ok()
    }

    /// Keeps it: whole or not at all.
    pub fn save<L: Serialize>(&self, link: &str, lease: &L) -> io::Result<()> {
        crate::file::replace(&self.path(link), &serde_json::to_vec(lease)?, 0o644)
    }

    /// Forgets it.
    pub fn remove(&self, link: &str) -> io::Result<()> {
        match fs::remove_file(self.path(link)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }
}
