//! Something that happened, for people. Written only through `events::Events`, which bounds how many there are.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Normal operation.
    Info,
    /// Something to look at; the machine goes on.
    Warning,
    /// Something failed.
    Error,
}

/// One event. Its id is its sequence number, padded with zeros so that the order of ids is the order of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// How much it matters.
    pub severity: Severity,
    /// The subsystem it comes from: "network", "services".
    pub source: String,
    /// One sentence.
    pub message: String,
    /// When, in milliseconds since the kernel started.
    pub uptime_ms: u64,
    /// When, in milliseconds since 1970, by the machine's clock at that moment (which may have been wrong).
    pub time_unix_ms: u64,
}

impl Resource for Event {
    const TYPE: &'static str = "event";
    const PLURAL: &'static str = "events";
    const DOC: &'static str = "Something that happened; the last 512 are kept.";
    const COLUMNS: &'static [Column] = &[
        Column::new("UPTIME-MS", "/uptimeMs"),
        Column::new("SEVERITY", "/severity"),
        Column::new("SOURCE", "/source"),
        Column::new("MESSAGE", "/message"),
        Column::wide("TIME-MS", "/timeUnixMs"),
    ];
}
