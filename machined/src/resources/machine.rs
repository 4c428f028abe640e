//! The machine as a whole: how far it has come, what is missing, what it is. One object, id "machine", written by
//! `controllers::process`; read by the API's phase stream and the console.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far the machine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// machined runs, but not yet all that the machine is meant to be.
    Booting,
    /// Without configuration; the API is open for what a stranger may ask.
    Maintenance,
    /// Configured, and as the configuration says.
    Running,
    /// On the way to a reboot or power-off.
    Stopping,
    /// The recovery system: the machine can be looked at, rolled back, installed or reset, no more.
    Recovery,
}

impl Phase {
    /// The word people see.
    pub fn name(self) -> &'static str {
        match self {
            Self::Booting => "booting",
            Self::Maintenance => "maintenance",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Recovery => "recovery",
        }
    }
}

/// The machine's status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// How far it has come.
    pub phase: Phase,
    /// Why it is not further: one sentence for each condition that is not met.
    pub unmet: Vec<String>,
    /// What is waited for right now: "an address for eth0: no DHCP server answered".
    pub waits: Vec<String>,
    /// While stopping: the step under way; else empty.
    pub step: String,
    /// While stopping: who asked for it and why; else empty.
    pub cause: String,
    /// Version of Stele.
    pub version: String,
    /// 32 hex digits; empty while unknown.
    pub machine_id: String,
    /// UUID of this boot.
    pub boot_id: String,
    /// The host name.
    pub hostname: String,
    /// SHA-256 of the certificate the API shows, 64 hex digits; empty until there is one.
    pub fingerprint: String,
    /// Addresses other machines may reach this one at, as `<address>/<prefix length>`; link-local ones last.
    pub addresses: Vec<String>,
}

impl Machine {
    /// The one id of this type.
    pub const ID: &'static str = "machine";
}

impl Resource for Machine {
    const TYPE: &'static str = "machine";
    const PLURAL: &'static str = "machines";
    const ALIASES: &'static [&'static str] = &["status"];
    const DOC: &'static str = "The machine as a whole: its phase, what is missing, its identity and addresses.";
    const COLUMNS: &'static [Column] = &[
        Column::new("PHASE", "/phase"),
        Column::new("VERSION", "/version"),
        Column::new("HOSTNAME", "/hostname"),
        Column::new("ADDRESSES", "/addresses"),
        Column::new("UNMET", "/unmet"),
        Column::wide("MACHINE-ID", "/machineId"),
        Column::wide("FINGERPRINT", "/fingerprint"),
    ];
}
