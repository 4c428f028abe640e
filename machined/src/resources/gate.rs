//! What must hold before the generation on trial is kept; the id is the gate's name. There only while there is a trial. Written by
//! `controllers::boot`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One gate of the trial that runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// It holds.
    pub open: bool,
    /// What it asks for, in words.
    pub asks: String,
    /// Why it does not hold; empty when it does.
    pub reason: String,
    /// Seconds after the start of the machine by which it must hold.
    pub deadline_s: u64,
}

impl Resource for Gate {
    const TYPE: &'static str = "gate";
    const PLURAL: &'static str = "gates";
    const DOC: &'static str = "What must hold before the version on trial is kept; none when nothing is on trial.";
    const COLUMNS: &'static [Column] = &[
        Column::new("OPEN", "/open"),
        Column::new("ASKS", "/asks"),
        Column::new("REASON", "/reason"),
        Column::new("DEADLINE-S", "/deadlineS"),
    ];
}
