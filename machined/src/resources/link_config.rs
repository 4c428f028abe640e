//! What one source says about one link (`link-config`, id `<source>/<link>`), and what comes out of all of them for the
//! link itself (`link-spec`, id: the link). Sources are the defaults, DHCP, router announcements and the documents of the
//! configuration. `network/merge` reads all of them; a new source adds objects here and nothing else.

use std::net::IpAddr;

use ipnet::IpNet;
use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;
use super::virtual_link::Virtual;

/// Where settings come from, the weakest first: for one setting the strongest source that has it wins, lists add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// What every link gets without configuration.
    Default,
    /// A router's announcements (RFC 4861, RFC 8106).
    Router,
    /// A DHCPv6 lease.
    Dhcp6,
    /// A DHCPv4 lease.
    Dhcp4,
    /// The machine's configuration.
    Config,
}

impl Source {
    /// The word in ids and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Router => "router",
            Self::Dhcp6 => "dhcp6",
            Self::Dhcp4 => "dhcp4",
            Self::Config => "config",
        }
    }
}

/// A route one source asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouteConfig {
    /// Where to.
    pub destination: IpNet,
    /// By which machine; absent: on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Absent: the link's own metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
}

/// What one source says about one link. Absent settings are left to weaker sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkConfig {
    /// Who says so.
    pub source: Source,
    /// About which link.
    pub link: String,
    /// Made by software, in this way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub make: Option<Virtual>,
    /// The bond it shall be a port of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// Switched on or off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// Largest packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Whether to ask for an IPv4 lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp4: Option<bool>,
    /// Whether to ask for an IPv6 lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp6: Option<bool>,
    /// Whether the kernel follows router announcements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accept_ra: Option<bool>,
    /// Metric of the link's routes that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpNet>,
    /// Routes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteConfig>,
    /// Name servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<IpAddr>,
    /// Search domains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// Time servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub time_servers: Vec<IpAddr>,
    /// The document that says so; absent for other sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl LinkConfig {
    /// Nothing said yet.
    pub fn new(source: Source, link: impl Into<String>) -> Self {
        Self {
            source,
            link: link.into(),
            make: None,
            controller: None,
            up: None,
            mtu: None,
            dhcp4: None,
            dhcp6: None,
            accept_ra: None,
            metric: None,
            addresses: Vec::new(),
            routes: Vec::new(),
            servers: Vec::new(),
            search: Vec::new(),
            time_servers: Vec::new(),
            origin: None,
        }
    }

    /// `<source>/<link>`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.source.name(), self.link)
    }
}

impl Resource for LinkConfig {
    const TYPE: &'static str = "link-config";
    const PLURAL: &'static str = "link-configs";
    const DOC: &'static str = "What one source (defaults, DHCP, a router, configuration) says about one link.";
    const COLUMNS: &'static [Column] = &[
        Column::new("SOURCE", "/source"),
        Column::new("LINK", "/link"),
        Column::new("ADDRESSES", "/addresses"),
        Column::new("SERVERS", "/servers"),
        Column::wide("MTU", "/mtu"),
        Column::wide("METRIC", "/metric"),
        Column::wide("DOCUMENT", "/origin/document"),
    ];
}

/// How a link shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkSpec {
    /// Made by software, in this way; absent: it is there or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub make: Option<Virtual>,
    /// The bond it is a port of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// Switched on.
    pub up: bool,
    /// Largest packet; absent: as the driver has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Asks for an IPv4 lease.
    pub dhcp4: bool,
    /// Asks for an IPv6 lease.
    #[serde(default)]
    pub dhcp6: bool,
    /// The kernel follows router announcements.
    pub accept_ra: bool,
    /// Metric of its routes.
    pub metric: u32,
    /// The document that has a say in it; absent: defaults alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Resource for LinkSpec {
    const TYPE: &'static str = "link-spec";
    const PLURAL: &'static str = "link-specs";
    const DOC: &'static str = "How a link shall be: what comes out of all sources.";
    const COLUMNS: &'static [Column] = &[
        Column::new("UP", "/up"),
        Column::new("MTU", "/mtu"),
        Column::new("DHCP4", "/dhcp4"),
        Column::new("DHCP6", "/dhcp6"),
        Column::new("RA", "/acceptRa"),
        Column::new("METRIC", "/metric"),
        Column::wide("DOCUMENT", "/origin/document"),
        Column::wide("CONTROLLER", "/controller"),
    ];
}

/// A source that has said what it has to say at least once (`network-source`, the id is the source's name). Until all are
/// here, a new machined must not conclude from silence that an address is no longer wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NetworkSource {
    /// About how many links it says something now.
    pub links: usize,
    /// For the configuration: the links it has looked at. What other sources say about one that it has not seen yet waits,
    /// because a selector may fit it.
    #[serde(default, skip_serializing_if = "std::collections::BTreeSet::is_empty")]
    pub seen: std::collections::BTreeSet<String>,
}

impl Resource for NetworkSource {
    const TYPE: &'static str = "network-source";
    const PLURAL: &'static str = "network-sources";
    const DOC: &'static str = "A source of link configuration that has reported.";
    const COLUMNS: &'static [Column] = &[Column::new("LINKS", "/links")];
}
