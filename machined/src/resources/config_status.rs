//! How the configuration is doing: one object, id "config", written by `config`. Controllers read `decided` through
//! [`crate::documents`]; `apictl apply-config` follows it.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far the configuration has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is not known yet whether this machine is configured.
    Looking,
    /// It is not: maintenance.
    Unconfigured,
    /// A revision is in effect; the machine has not reached its own API with it yet.
    Proving,
    /// The machine has reached its own API with it, and waits: for documents that cannot be applied, or for a confirmation.
    Reached,
    /// It is proven.
    Blessed,
    /// It is configured, but STATE cannot be read: nothing of the configuration is in effect.
    Unreadable,
}

/// A revision that runs until it is confirmed or its time is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// The revision on trial.
    pub revision: u64,
    /// What the machine goes back to.
    pub back: u64,
    /// When, in milliseconds since the kernel started.
    pub deadline_uptime_ms: u64,
    /// How many boots it may still take.
    pub boots: u32,
}

/// The configuration as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStatus {
    /// How far it has come.
    pub state: State,
    /// Why it is not further, in one sentence; empty when there is no more to come.
    pub reason: String,
    /// Whether the documents are what counts now, be they none.
    pub decided: bool,
    /// The revision in effect; 0: none.
    pub revision: u64,
    /// The newest proven one; 0: none.
    pub blessed: u64,
    /// Comes into effect at the next boot; 0: none.
    pub staged: u64,
    /// The trial under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// Documents of the revision that need a reboot to come into effect.
    pub pending_reboot: Vec<String>,
    /// Why the last revision that was given up was given up; empty when none was.
    pub given_up: String,
}

impl ConfigStatus {
    /// The one id of this type.
    pub const ID: &'static str = "config";

    /// Before anything is known.
    pub fn looking() -> Self {
        Self {
            state: State::Looking,
            reason: String::new(),
            decided: false,
            revision: 0,
            blessed: 0,
            staged: 0,
            trial: None,
            pending_reboot: Vec::new(),
            given_up: String::new(),
        }
    }
}

impl Resource for ConfigStatus {
    const TYPE: &'static str = "config-status";
    const PLURAL: &'static str = "config-statuses";
    const ALIASES: &'static [&'static str] = &["config"];
    const DOC: &'static str = "How the configuration is doing: which revision is in effect and how far it has come.";
    const COLUMNS: &'static [Column] = &[
        Column::new("STATE", "/state"),
        Column::new("REVISION", "/revision"),
        Column::new("BLESSED", "/blessed"),
        Column::new("STAGED", "/staged"),
        Column::new("REASON", "/reason"),
        Column::wide("GIVEN-UP", "/givenUp"),
    ];
}
