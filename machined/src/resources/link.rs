//! A network link as the kernel shows it. Written by `network/status`; the id is the interface's name.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;
use super::virtual_link::Virtual;

/// What kind of link it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LinkKind {
    /// Ethernet with a device behind it: what is configured by default.
    Physical,
    /// `lo`.
    Loopback,
    /// Made by software: bridge, bond, VLAN, veth.
    Virtual,
    /// A device that does not speak Ethernet.
    Other,
}

/// Whether it can carry packets (RFC 2863).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OperState {
    /// The driver does not say (normal for `lo`).
    Unknown,
    /// A part is missing.
    NotPresent,
    /// Not working.
    Down,
    /// The link below is down.
    LowerLayerDown,
    /// Under test.
    Testing,
    /// Waits for an outside event.
    Dormant,
    /// Works.
    Up,
}

/// A network link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The kernel's number of it; new when the device is plugged in again.
    pub index: u32,
    /// What it is.
    pub kind: LinkKind,
    /// The kernel's name of a virtual kind ("bridge"), else empty.
    pub virtual_kind: String,
    /// Hardware address as `52:54:00:12:34:56`; empty when it has none.
    pub mac: String,
    /// The hardware address it was made with, when the driver says; a port of a bond has the bond's in `mac`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub permanent_mac: String,
    /// Largest packet.
    pub mtu: u32,
    /// Switched on by the administrator (IFF_UP).
    pub up: bool,
    /// A cable with something at its other end.
    pub carrier: bool,
    /// How often the cable was lost since the link is there.
    #[serde(default)]
    pub carrier_losses: u32,
    /// The kernel's own judgement.
    pub oper_state: OperState,
    /// The bond or bridge it is a port of; such a link has no addresses of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<String>,
    /// The port that a bond sends by, in modes that send by one (active-backup, balance-tlb, balance-alb).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_port: Option<String>,
    /// Driver, when there is a device.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Where the device sits: "pci-0000:00:02.0"; as sysfs names it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bus_path: String,
    /// Mbit/s, when the driver says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mbps: Option<u32>,
    /// The link a VLAN is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// How it is made; absent for what is neither a bond nor a VLAN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<Virtual>,
    /// The document that made it so; absent: defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Resource for Link {
    const TYPE: &'static str = "link";
    const PLURAL: &'static str = "links";
    const DOC: &'static str = "A network link as the kernel shows it.";
    const COLUMNS: &'static [Column] = &[
        Column::new("KIND", "/kind"),
        Column::new("MAC", "/mac"),
        Column::new("MTU", "/mtu"),
        Column::new("STATE", "/operState"),
        Column::new("CARRIER", "/carrier"),
        Column::wide("DRIVER", "/driver"),
        Column::wide("BUS", "/busPath"),
        Column::wide("SPEED", "/speedMbps"),
        Column::wide("INDEX", "/index"),
        Column::wide("LOSSES", "/carrierLosses"),
        Column::wide("CONTROLLER", "/controller"),
        Column::wide("ACTIVE", "/activePort"),
        Column::wide("MODE", "/made/bond/mode"),
        Column::wide("VLAN", "/made/vlan/id"),
        Column::wide("DOCUMENT", "/origin/document"),
    ];
}
