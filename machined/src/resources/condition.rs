//! What has to be true before the machine counts as booted, and what services may need beside. Each subsystem shares this
//! type and puts its own conditions from its start on; the machine status lists the required ones that are not met.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One condition of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// Whether it holds.
    pub met: bool,
    /// One sentence for people: "the API answers", "the gateway is not ready yet".
    pub reason: String,
    /// Whether the machine counts as booted only with it; one that is not required is there for who waits for it.
    pub required: bool,
}

impl Condition {
    /// The id of the condition that the API answers: what is not needed for that is loaded after it.
    pub const API: &'static str = "api";
    /// The id of the condition that no reset is to be done; there only while one is.
    pub const RESET: &'static str = "reset";
    /// The id of the condition that the machine has an address others can use; not required.
    pub const NETWORK: &'static str = "network";

    /// A condition that holds.
    pub fn met(reason: impl Into<String>) -> Self {
        Self { met: true, reason: reason.into(), required: true }
    }

    /// A condition that does not hold yet.
    pub fn unmet(reason: impl Into<String>) -> Self {
        Self { met: false, reason: reason.into(), required: true }
    }

    /// The same, without which the machine boots too.
    #[must_use]
    pub fn optional(self) -> Self {
        Self { required: false, ..self }
    }
}

impl Resource for Condition {
    const TYPE: &'static str = "condition";
    const PLURAL: &'static str = "conditions";
    const DOC: &'static str =
        "Something that has to be true before the machine counts as booted, or that a service needs.";
    const COLUMNS: &'static [Column] =
        &[Column::new("MET", "/met"), Column::new("REASON", "/reason"), Column::wide("REQUIRED", "/required")];
}
