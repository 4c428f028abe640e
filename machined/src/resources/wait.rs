//! What the machine waits for right now. Whoever waits shares this type and puts its wait in every cycle in which it
//! still waits; a wait that is not put again disappears. Shown on the console and by `apictl get waits`.

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
