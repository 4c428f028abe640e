//! Name servers: those wanted (`resolver-spec`, by `network/merge`) and what is in effect (`resolver`, by
//! `network/resolver`, the same as /run/stele/resolv.conf). One object each, id "resolver". Time servers that the network
//! offered are recorded as `time-server`, for the clock's owner to use.

use std::net::IpAddr;

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// What the document `Resolver` says; each list replaces what the network offers, unless it is empty. Written by
/// `network/config`, one object, id "resolver".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolverConfig {
    /// Name servers in the order they are asked.
    pub servers: Vec<IpAddr>,
    /// Domains tried after a short name.
    pub search: Vec<String>,
    /// Where it stands.
    pub origin: Origin,
}

impl Resource for ResolverConfig {
    const TYPE: &'static str = "resolver-config";
    const PLURAL: &'static str = "resolver-configs";
    const DOC: &'static str = "What the configuration says about name servers.";
    const COLUMNS: &'static [Column] = &[Column::new("SERVERS", "/servers"), Column::new("SEARCH", "/search")];
}

/// The name servers the machine shall use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResolverSpec {
    /// Name servers in the order they are asked; link-local ones carry their link: `fe80::1%eth0`.
    pub servers: Vec<String>,
    /// Domains tried after a short name.
    pub search: Vec<String>,
    /// The document that has a say in it; absent: the network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl ResolverSpec {
    /// The one id.
    pub const ID: &'static str = "resolver";
}

impl Resource for ResolverSpec {
    const TYPE: &'static str = "resolver-spec";
    const PLURAL: &'static str = "resolver-specs";
    const DOC: &'static str = "The name servers the machine shall use.";
    const COLUMNS: &'static [Column] = &[Column::new("SERVERS", "/servers"), Column::new("SEARCH", "/search")];
}

/// The name servers in effect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Resolver {
    /// Name servers in the order they are asked.
    pub servers: Vec<String>,
    /// Domains tried after a short name.
    pub search: Vec<String>,
    /// The document that has a say in it; absent: the network alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Resource for Resolver {
    const TYPE: &'static str = "resolver";
    const PLURAL: &'static str = "resolvers";
    const DOC: &'static str = "The name servers in effect.";
    const COLUMNS: &'static [Column] = &[Column::new("SERVERS", "/servers"), Column::new("SEARCH", "/search")];
}

/// A time server the network offered; the id is its address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimeServer {
    /// Its address.
    pub address: IpAddr,
    /// The link it was learnt on.
    pub link: String,
    /// The source that named it: "dhcp4".
    pub source: String,
}

impl Resource for TimeServer {
    const TYPE: &'static str = "time-server";
    const PLURAL: &'static str = "time-servers";
    const DOC: &'static str = "A time server that the network offered.";
    const COLUMNS: &'static [Column] = &[Column::new("LINK", "/link"), Column::new("SOURCE", "/source")];
}
