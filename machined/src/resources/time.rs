//! The clock: who shall be asked (`time-spec`) and how it stands (`time`). One object each, id "time"; written by
//! `system/time`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::Origin;

/// Where time servers come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Nobody names any.
    #[default]
    None,
    /// The document `Time`.
    Document,
    /// DHCP.
    Network,
}

/// Who shall be asked for the time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimeSpec {
    /// Names or addresses.
    pub servers: Vec<String>,
    /// Who names them.
    pub source: Source,
    /// The document that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl TimeSpec {
    /// The one id.
    pub const ID: &'static str = "time";
}

impl Resource for TimeSpec {
    const TYPE: &'static str = "time-spec";
    const PLURAL: &'static str = "time-specs";
    const DOC: &'static str = "Who shall be asked for the time.";
    const COLUMNS: &'static [Column] =
        &[Column::new("SERVERS", "/servers"), Column::new("SOURCE", "/source"), Column::wide("LINE", "/origin/line")];
}

/// How a server did when it was last asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// Its name or address.
    pub server: String,
    /// How far the clock was behind it, in microseconds; absent: it gave no time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_us: Option<i64>,
    /// Why it gave no time.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

/// How the clock stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Time {
    /// Whether a server has set it since the machine started.
    pub sure: bool,
    /// The server whose time was last taken; empty: none yet.
    pub server: String,
    /// How far the clock was behind it, in microseconds.
    pub offset_us: i64,
    /// How long its answer took, in microseconds.
    pub delay_us: i64,
    /// Its distance from a reference clock: 1 has one.
    pub stratum: u8,
    /// When that was, in milliseconds since the kernel started.
    pub at_uptime_ms: u64,
    /// Every server when last asked.
    pub asked: Vec<Asked>,
    /// What is wrong; empty when nothing is.
    pub problem: String,
    /// The document that names the servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

impl Time {
    /// The one id.
    pub const ID: &'static str = "time";
}

impl Resource for Time {
    const TYPE: &'static str = "time";
    const PLURAL: &'static str = "times";
    const ALIASES: &'static [&'static str] = &["clock"];
    const DOC: &'static str = "How the clock stands.";
    const COLUMNS: &'static [Column] = &[
        Column::new("SURE", "/sure"),
        Column::new("SERVER", "/server"),
        Column::new("OFFSET-US", "/offsetUs"),
        Column::new("STRATUM", "/stratum"),
        Column::new("PROBLEM", "/problem"),
        Column::wide("DELAY-US", "/delayUs"),
        Column::wide("AT-MS", "/atUptimeMs"),
    ];
}
