//! What the machine waits for right now. Whoever waits shares this type and puts its wait in every cycle in which it
//! still waits; a wait that is not put again disappears. Shown on the console and by `apictl get waits`.
//!
//! Invariant: [`For`] lists every wait there is, with its limit or why it has none; nobody makes a [`Wait`] otherwise.

use std::time::Duration;

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One wait, with its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// What is waited for: "an address for eth0".
    pub what: String,
    /// Why it is not there yet: "no DHCP server answered".
    pub reason: String,
    /// When the wait began, in milliseconds since the kernel started.
    pub since_uptime_ms: u64,
    /// When the waiting side gives up or goes on without it; absent: it waits for ever, and nothing else waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_uptime_ms: Option<u64>,
}

/// For the system disk, once the drivers of disks are loaded: spinning disks behind a controller need some seconds.
pub const SYSTEM_DISK: Duration = Duration::from_secs(10);
/// Before an identity of the API is made that only this boot may know.
pub const IDENTITY: Duration = Duration::from_secs(5);
/// From the kernel's start on: a machine whose API does not come up still gets all its drivers (a keyboard, a watchdog).
pub const DRIVERS: Duration = Duration::from_secs(20);
/// For the kernel to return from loading one module; then the others are loaded without it.
pub const DRIVER: Duration = Duration::from_secs(30);
/// Without an API: the log of a boot that went wrong is worth most.
pub const BOOT_LOG: Duration = Duration::from_secs(30);

/// For STATE to be made for the first configuration: all drivers (see above), disks that show up late, its programs.
pub const STATE: Duration = Duration::from_secs(120);

/// For a server that is to have the first configuration; then the machine says that it does not answer, and goes on asking.
/// A server that starts with the machine takes a minute.
pub const CONFIG_URL: Duration = Duration::from_secs(90);

/// For the first answer of a time server: then the machine goes on with the time it has, and goes on asking.
pub const TIME: Duration = Duration::from_secs(30);

/// Everything that is ever waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For<'a> {
    /// The disk the machine booted from; then it goes on without.
    SystemDisk,
    /// META, which knows the API's identity; then a new one is made.
    Identity,
    /// The API's own answer. Without limit: there is nothing to do in its place.
    Api,
    /// An IPv4 lease of this link. Without limit: a server may come at any time, and nothing else waits for it.
    Lease(&'a str),
    /// An IPv6 lease of this link, likewise.
    Lease6(&'a str),
    /// A service, as long as its declaration says; without limit when that says nothing.
    Service(&'a str, Option<Duration>),
    /// The API's first answer, before drivers are loaded that it does not need.
    Drivers,
    /// One driver that takes unusually long; then it is left behind.
    Driver(&'a str),
    /// The API's first answer, before the boot log is written and what the last boot left is read.
    BootLog,
    /// STATE, which somebody wants to be made; then who wants it is told why it was not.
    State,
    /// Disks that may hold the first configuration. Without limit of its own: each driver has one.
    ConfigDisk,
    /// The server that is to have the first configuration.
    ConfigUrl,
    /// The same, named by a NoCloud disk.
    Seed,
    /// A time server, before the clock is sure; then the machine goes on without.
    Time,
}

impl For<'_> {
    /// The wait's id in the store.
    pub fn id(self) -> String {
        match self {
            Self::SystemDisk => "system-disk".into(),
            Self::Identity => "identity".into(),
            Self::Api => "api".into(),
            Self::Lease(link) => format!("dhcp4/{link}"),
            Self::Lease6(link) => format!("dhcp6/{link}"),
            Self::Service(name, _) => format!("service-{name}"),
            Self::Drivers => "drivers".into(),
            Self::Driver(name) => format!("driver-{name}"),
            Self::BootLog => "boot-log".into(),
            Self::State => "state".into(),
            Self::ConfigDisk => "config-disk".into(),
            Self::ConfigUrl => "config-url".into(),
            Self::Seed => "config-seed".into(),
            Self::Time => "time".into(),
        }
    }

    fn what(self) -> String {
        match self {
            Self::SystemDisk => "the system disk".into(),
            Self::Identity => "the system disk, which keeps the API's identity".into(),
            Self::Api => "the API's own answer".into(),
            Self::Lease(link) => format!("an IPv4 address for {link}"),
            Self::Lease6(link) => format!("an IPv6 address for {link}"),
            Self::Service(name, _) => format!("service {name}"),
            Self::Drivers => "drivers that the API does not need".into(),
            Self::Driver(name) => format!("kernel module {name}"),
            Self::BootLog => "the boot log and what the last boot left".into(),
            Self::State => "STATE, for the first configuration".into(),
            Self::ConfigDisk => "disks that may hold the first configuration".into(),
            Self::ConfigUrl => "the server with the first configuration".into(),
            Self::Seed => "the server that meta-data names for the first configuration".into(),
            Self::Time => "a time server, to set the clock".into(),
        }
    }

    fn limit(self) -> Option<Duration> {
        match self {
            Self::SystemDisk => Some(SYSTEM_DISK),
            Self::Identity => Some(IDENTITY),
            Self::Drivers => Some(DRIVERS),
            Self::Driver(_) => Some(DRIVER),
            Self::BootLog => Some(BOOT_LOG),
            Self::State => Some(STATE),
            Self::Time => Some(TIME),
            Self::Service(_, limit) => limit,
            Self::ConfigUrl | Self::Seed => Some(CONFIG_URL),
            Self::Api | Self::Lease(_) | Self::Lease6(_) | Self::ConfigDisk => None,
        }
    }

    /// The wait, for this reason, that began at this uptime.
    pub fn wait(self, reason: impl Into<String>, since_uptime_ms: u64) -> Wait {
        let limit = self.limit().map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        Wait {
            what: self.what(),
            reason: reason.into(),
            since_uptime_ms,
            deadline_uptime_ms: limit.map(|limit| since_uptime_ms.saturating_add(limit)),
        }
    }
}

impl Resource for Wait {
    const TYPE: &'static str = "wait";
    const PLURAL: &'static str = "waits";
    const DOC: &'static str = "Something the machine waits for right now, and why.";
    const COLUMNS: &'static [Column] = &[
        Column::new("WHAT", "/what"),
        Column::new("REASON", "/reason"),
        Column::new("SINCE-MS", "/sinceUptimeMs"),
        Column::wide("DEADLINE-MS", "/deadlineUptimeMs"),
    ];
}
