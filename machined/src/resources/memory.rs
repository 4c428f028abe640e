//! How much memory the machine has and how much is left, as it was when somebody asked.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One object, id "memory".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// What the kernel manages, bytes.
    pub total_bytes: u64,
    /// What new programs can get without anything being killed, bytes (MemAvailable).
    pub available_bytes: u64,
    /// What is not available: total less available, bytes.
    pub used_bytes: u64,
}

impl Memory {
    /// The one id of this type.
    pub const ID: &'static str = "memory";
}

impl Resource for Memory {
    const TYPE: &'static str = "memory";
    const PLURAL: &'static str = "memory";
    const DOC: &'static str = "How much memory there is and how much is left, read from the kernel when asked for.";
    const COLUMNS: &'static [Column] = &[
        Column::new("TOTAL", "/totalBytes"),
        Column::new("USED", "/usedBytes"),
        Column::new("AVAILABLE", "/availableBytes"),
    ];
}
