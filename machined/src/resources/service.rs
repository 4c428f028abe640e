//! A supervised service as it is. Written by the supervisor alone.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A supervised service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// How far it is.
    pub state: State,
    /// Why it is not ready; empty when it is.
    pub why: String,
    /// Its first process.
    pub pid: Option<i32>,
    /// When it got into this state, milliseconds of Unix time.
    pub since_unix_ms: u64,
    /// How often it was started again in this boot.
    pub restarts: u32,
    /// How its last process ended: "exit code 1".
    pub last_end: Option<String>,
    /// Memory of its cgroup, bytes.
    pub memory: Option<u64>,
    /// Program and arguments.
    pub run: Vec<String>,
    /// What must be there before it starts.
    pub needs: Vec<String>,
}

/// How far a service is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// What it needs is not there.
    Waiting,
    /// It runs and is not ready.
    Starting,
    /// It runs.
    Ready,
    /// It was asked to end.
    Stopping,
    /// It ended and is about to be started again.
    BackingOff,
    /// It ended as it should.
    Stopped,
    /// It ended as it should not, and is not to be started again.
    Failed,
}

impl Resource for Service {
    const TYPE: &'static str = "service";
    const PLURAL: &'static str = "services";
    const ALIASES: &'static [&'static str] = &["svc"];
    const DOC: &'static str = "A program that machined keeps running, and how it is.";
    const COLUMNS: &'static [Column] = &[
        Column::new("STATE", "/state"),
        Column::new("PID", "/pid"),
        Column::new("RESTARTS", "/restarts"),
        Column::new("MEMORY", "/memory"),
        Column::new("WHY", "/why"),
        Column::wide("LAST-END", "/lastEnd"),
        Column::wide("SINCE", "/sinceUnixMs"),
        Column::wide("NEEDS", "/needs"),
    ];
}
