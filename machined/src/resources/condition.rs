//! What has to be true before the machine counts as booted. Each subsystem shares this type and puts its own conditions
//! from its start on; the machine status lists those that are not met.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One condition of a booted machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// Whether it holds.
    pub met: bool,
    /// One sentence for people: "the API answers", "the gateway is not ready yet".
    pub reason: String,
}

impl Condition {
    /// The id of the condition that the API answers: what is not needed for that is loaded after it.
    pub const API: &'static str = "api";

    /// A condition that holds.
    pub fn met(reason: impl Into<String>) -> Self {
        Self { met: true, reason: reason.into() }
    }

    /// A condition that does not hold yet.
    pub fn unmet(reason: impl Into<String>) -> Self {
        Self { met: false, reason: reason.into() }
    }
}

impl Resource for Condition {
    const TYPE: &'static str = "condition";
    const PLURAL: &'static str = "conditions";
    const DOC: &'static str = "Something that has to be true before the machine counts as booted.";
    const COLUMNS: &'static [Column] = &[Column::new("MET", "/met"), Column::new("REASON", "/reason")];
}
