//! A process, as it was when somebody asked. Only the executable and the cgroup are shown: arguments may hold secrets.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A process; the id is its pid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's number.
    pub ppid: i32,
    /// Its name, as it calls itself (at most 15 bytes).
    pub name: String,
    /// The program; empty for kernel threads.
    pub executable: String,
    /// Its cgroup, from the root: "/services/gateway".
    pub cgroup: String,
    /// The service it belongs to; empty when to none.
    pub service: String,
    /// One letter as in ps: R, S, D, Z, T, I.
    pub state: String,
    /// User id.
    pub uid: u32,
    /// Threads.
    pub threads: u64,
    /// Memory in RAM, bytes.
    pub rss_bytes: u64,
    /// Its share of the memory in RAM, bytes: pages that several processes map count in parts. Zero for kernel threads.
    pub pss_bytes: u64,
    /// Processor time used, milliseconds.
    pub cpu_ms: u64,
    /// When it was started, in milliseconds since the kernel started.
    pub started_uptime_ms: u64,
}

impl Resource for Process {
    const TYPE: &'static str = "process";
    const PLURAL: &'static str = "processes";
    const ALIASES: &'static [&'static str] = &["ps", "proc"];
    const DOC: &'static str = "A process, read from the kernel when asked for.";
    const COLUMNS: &'static [Column] = &[
        Column::new("PPID", "/ppid"),
        Column::new("NAME", "/name"),
        Column::new("SERVICE", "/service"),
        Column::new("STATE", "/state"),
        Column::new("RSS", "/rssBytes"),
        Column::new("CPU-MS", "/cpuMs"),
        Column::wide("UID", "/uid"),
        Column::wide("PSS", "/pssBytes"),
        Column::wide("THREADS", "/threads"),
        Column::wide("EXECUTABLE", "/executable"),
        Column::wide("STARTED-MS", "/startedUptimeMs"),
    ];
}
