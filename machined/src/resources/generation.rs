//! A generation of the system as the boot state in META has it; the id is its number. Written by `controllers::boot`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A UKI in one of the two slots, or one that failed and is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    /// How far it is proven.
    pub state: State,
    /// What it is beside: `running`, `current` (what starts when nothing is on trial).
    pub marks: Vec<String>,
    /// Version of Stele; empty when it is not known (it never ran as far as machined).
    pub version: String,
    /// SHA-256 of its UKI, hexadecimal.
    pub digest: String,
    /// Bytes of its UKI.
    pub size: u64,
    /// `a` or `b`; empty when it lies in neither any more.
    pub slot: String,
    /// Starts that are left, of a trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tries: Option<u8>,
    /// The revision of the configuration that was proven with it; rolling back brings it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How far a failed one came: `loader` (nothing after it left a word), `machined`, `gates`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reached: String,
    /// Starts that a failed one had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<u32>,
    /// Seconds since 1970 when its failure was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_unix: Option<u64>,
}

/// How far a generation is proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Proven.
    #[default]
    Blessed,
    /// Started with a count until it is proven.
    Trial,
    /// Not started again.
    Failed,
}

impl Resource for Generation {
    const TYPE: &'static str = "generation";
    const PLURAL: &'static str = "generations";
    const ALIASES: &'static [&'static str] = &["gen"];
    const DOC: &'static str = "A version of the system on this machine's disk, and how far it is proven.";
    const COLUMNS: &'static [Column] = &[
        Column::new("STATE", "/state"),
        Column::new("MARKS", "/marks"),
        Column::new("VERSION", "/version"),
        Column::new("REVISION", "/revision"),
        Column::new("TRIES", "/tries"),
        Column::new("REASON", "/reason"),
        Column::wide("REACHED", "/reached"),
        Column::wide("SLOT", "/slot"),
        Column::wide("SIZE", "/size"),
        Column::wide("DIGEST", "/digest"),
    ];
}
