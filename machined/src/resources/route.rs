//! Routes: those wanted (`route-spec`, by `network/merge`) and those the kernel has (`route`, by `network/status`).
//! Only the main table: the local table repeats the addresses.

use std::net::IpAddr;

use ipnet::IpNet;
use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// A route that the machine shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteSpec {
    /// The link packets leave by.
    pub link: String,
    /// Where to; `0.0.0.0/0` and `::/0` are everywhere.
    pub destination: IpNet,
    /// The next machine on the way; absent: the destination is on the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The address packets should leave with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_source: Option<IpAddr>,
    /// The lower one of two routes to the same destination is used.
    pub metric: u32,
    /// The source that wants it: "dhcp4".
    pub source: String,
    /// The document, when the source is the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl RouteSpec {
    /// `<link>/<destination>/<metric>`: the kernel knows one route for each of these.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.link, self.destination, self.metric)
    }
}

impl Resource for RouteSpec {
    const TYPE: &'static str = "route-spec";
    const PLURAL: &'static str = "route-specs";
    const DOC: &'static str = "A route that the machine shall have.";
    const COLUMNS: &'static [Column] = &[
        Column::new("LINK", "/link"),
        Column::new("DESTINATION", "/destination"),
        Column::new("GATEWAY", "/gateway"),
        Column::new("METRIC", "/metric"),
        Column::new("SOURCE", "/source"),
        Column::wide("DOCUMENT", "/origin/document"),
    ];
}

/// Who made a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RouteOrigin {
    /// machined: from DHCP or configuration.
    Stele,
    /// The kernel, from a router's announcement.
    Router,
    /// The kernel, for the prefix of an address.
    Kernel,
    /// Somebody else, for example a container network.
    Other,
}

/// A route as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// The link packets leave by; empty when there is none (unreachable).
    pub link: String,
    /// Where to.
    pub destination: IpNet,
    /// The next machine on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The address packets leave with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_source: Option<IpAddr>,
    /// The lower one of two routes to the same destination is used.
    pub metric: u32,
    /// The document that wants it; absent where another source does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Origin>,
    /// Who made it.
    pub origin: RouteOrigin,
}

impl Route {
    /// `<link>/<destination>/<metric>`, with the gateway where several routes differ only in it.
    pub fn id(&self) -> String {
        match self.gateway {
            Some(gateway) if matches!(gateway, IpAddr::V6(_)) => {
                format!("{}/{}/{}/{gateway}", self.link, self.destination, self.metric)
            }
            _ => format!("{}/{}/{}", self.link, self.destination, self.metric),
        }
    }
}

impl Resource for Route {
    const TYPE: &'static str = "route";
    const PLURAL: &'static str = "routes";
    const DOC: &'static str = "A route of the main table as the kernel has it.";
    const COLUMNS: &'static [Column] = &[
        Column::new("LINK", "/link"),
        Column::new("DESTINATION", "/destination"),
        Column::new("GATEWAY", "/gateway"),
        Column::new("METRIC", "/metric"),
        Column::new("ORIGIN", "/origin"),
        Column::wide("SOURCE", "/preferredSource"),
        Column::wide("DOCUMENT", "/document/document"),
    ];
}
