//! Addresses: those wanted (`address-spec`, by `network/merge`) and those the kernel has (`address`, by
//! `network/status`). Ids are `<link>/<address>/<prefix length>`.

use ipnet::IpNet;
use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// An address that a link shall have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressSpec {
    /// The link.
    pub link: String,
    /// Address and prefix length.
    pub address: IpNet,
    /// The source that wants it: "dhcp4".
    pub source: String,
    /// The document, when the source is the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Resource for AddressSpec {
    const TYPE: &'static str = "address-spec";
    const PLURAL: &'static str = "address-specs";
    const DOC: &'static str = "An address that a link shall have.";
    const COLUMNS: &'static [Column] = &[
        Column::new("LINK", "/link"),
        Column::new("ADDRESS", "/address"),
        Column::new("SOURCE", "/source"),
        Column::wide("DOCUMENT", "/origin/document"),
    ];
}

/// Who made an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AddressOrigin {
    /// machined: from DHCP or configuration.
    Stele,
    /// The kernel, from a router's announcement.
    Router,
    /// The kernel: loopback and link-local.
    Kernel,
    /// Somebody else, for example a container network.
    Other,
}

/// How far an address reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AddressScope {
    /// Any machine.
    Global,
    /// Machines on the same link.
    Link,
    /// This machine.
    Host,
}

/// An address as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Address {
    /// The link.
    pub link: String,
    /// Address and prefix length.
    pub address: IpNet,
    /// How far it reaches.
    pub scope: AddressScope,
    /// The document that wants it; absent where another source does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<Origin>,
    /// Who made it.
    pub origin: AddressOrigin,
    /// Not usable yet (duplicate detection runs), or a duplicate: another machine has it.
    pub tentative: bool,
    /// Still there but not for new connections.
    pub deprecated: bool,
}

impl Address {
    /// Whether a peer can use it now.
    pub fn usable(&self) -> bool {
        self.scope != AddressScope::Host && !self.tentative && !self.deprecated
    }
}

impl Resource for Address {
    const TYPE: &'static str = "address";
    const PLURAL: &'static str = "addresses";
    const ALIASES: &'static [&'static str] = &["addr"];
    const DOC: &'static str = "An address of a link as the kernel has it.";
    const COLUMNS: &'static [Column] = &[
        Column::new("LINK", "/link"),
        Column::new("ADDRESS", "/address"),
        Column::new("SCOPE", "/scope"),
        Column::new("ORIGIN", "/origin"),
        Column::wide("TENTATIVE", "/tentative"),
        Column::wide("DEPRECATED", "/deprecated"),
        Column::wide("DOCUMENT", "/document/document"),
    ];
}
