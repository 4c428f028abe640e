//! Hosts whose addresses the configuration names: wanted (`static-host-spec`) and in /etc/hosts (`static-host`). The id is
//! the host's name; written by `system/hosts`.

use std::net::IpAddr;

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// A host that shall be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StaticHostSpec {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Further names of it.
    pub aliases: Vec<String>,
    /// Where it stands.
    pub origin: Origin,
}

impl Resource for StaticHostSpec {
    const TYPE: &'static str = "static-host-spec";
    const PLURAL: &'static str = "static-host-specs";
    const DOC: &'static str = "A host that shall be known without asking a name server.";
    const COLUMNS: &'static [Column] = &[
        Column::new("ADDRESSES", "/addresses"),
        Column::new("ALIASES", "/aliases"),
        Column::wide("LINE", "/origin/line"),
    ];
}

/// A host that is in /etc/hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StaticHost {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Further names of it.
    pub aliases: Vec<String>,
    /// Where it stands.
    pub origin: Origin,
}

impl Resource for StaticHost {
    const TYPE: &'static str = "static-host";
    const PLURAL: &'static str = "static-hosts";
    const DOC: &'static str = "A host that is known without asking a name server.";
    const COLUMNS: &'static [Column] = &[
        Column::new("ADDRESSES", "/addresses"),
        Column::new("ALIASES", "/aliases"),
        Column::wide("LINE", "/origin/line"),
    ];
}
