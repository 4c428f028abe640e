//! A long task on the node: an upgrade, an install. Written by `jobs`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How it stands with a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// It is under way, or will be once the machine has started again.
    #[default]
    Running,
    /// What was asked for is done and proven.
    Done,
    /// A check said no; nothing was changed, and asking again for the same changes nothing.
    Refused,
    /// It did not work; the machine runs what it ran before.
    Failed,
    /// The new version ran, was not proven, and the machine came back by itself.
    Returned,
    /// Somebody called it off; nothing was changed.
    Cancelled,
}

impl Phase {
    /// Whether nothing will change any more.
    pub fn is_over(self) -> bool {
        self != Self::Running
    }
}

/// One job; its id is its number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// `upgrade`, `install`.
    pub kind: String,
    /// What was asked for, in words.
    pub what: String,
    /// How it stands.
    pub phase: Phase,
    /// The step under way, or the last one.
    pub step: String,
    /// Bytes of this step that are done; 0 in steps that count none.
    pub done_bytes: u64,
    /// Bytes of this step; 0 when that is not known.
    pub total_bytes: u64,
    /// What came of it, or why nothing did.
    pub reason: String,
    /// What to do about that; empty when there is nothing to do.
    pub remedy: String,
    /// What is not as it should be, and was no reason to stop.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Of an install: the SHA-256 of the certificate that the installed system's API has, in hex; empty until that is known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    /// It can still be cancelled.
    pub cancellable: bool,
    /// The steps so far, in the order in which they began last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Begun>,
    /// When it was asked for, in milliseconds since 1970 by the machine's clock.
    pub started_unix_ms: u64,
    /// When it was over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_unix_ms: Option<u64>,
    /// Who asked.
    pub by: String,
    /// How often it was begun: once, and once more after each restart of machined and each boot.
    pub starts: u32,
}

/// A step that was begun; it ends where the next one begins, or with the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Begun {
    /// What it is called.
    pub name: String,
    /// When it began, in milliseconds since 1970 by the machine's clock.
    pub unix_ms: u64,
    /// Bytes that it went through; 0 in steps that count none. Of `fetch`: those that came over the network.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

impl Resource for Job {
    const TYPE: &'static str = "job";
    const PLURAL: &'static str = "jobs";
    const DOC: &'static str = "A long task on the node, such as an upgrade; it goes on whoever leaves.";
    const COLUMNS: &'static [Column] = &[
        Column::new("KIND", "/kind"),
        Column::new("WHAT", "/what"),
        Column::new("PHASE", "/phase"),
        Column::new("STEP", "/step"),
        Column::new("DONE", "/doneBytes"),
        Column::new("OF", "/totalBytes"),
        Column::new("STARTED", "/startedUnixMs"),
        Column::new("REASON", "/reason"),
        Column::wide("ENDED", "/endedUnixMs"),
        Column::wide("BY", "/by"),
        Column::wide("STARTS", "/starts"),
        Column::wide("CANCELLABLE", "/cancellable"),
        Column::wide("REMEDY", "/remedy"),
        Column::wide("WARNINGS", "/warnings"),
        Column::wide("FINGERPRINT", "/fingerprint"),
    ];
}
