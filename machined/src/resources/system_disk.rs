//! Which disk this system runs from, and how that was found out. Written by `controllers::disk`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether the system disk is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It may still appear.
    Waiting,
    /// There is one.
    Found,
    /// There is none: the machine runs from memory alone.
    None,
    /// More than one disk could be it: none is used.
    Ambiguous,
}

/// Whose the GUIDs of the system disk and its partitions are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Guids {
    /// There is no META that says what those of the image were.
    #[default]
    Unknown,
    /// Those of every disk with this image.
    Shared,
    /// Its own.
    Unique,
}

/// One object, id "system-disk".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SystemDisk {
    /// Whether it is known.
    pub state: State,
    /// The disk's id; empty unless found.
    pub disk: String,
    /// The id of its META partition; empty when it has none.
    pub meta: String,
    /// How it was chosen, or why there is none.
    pub reason: String,
    /// Disks that could be it; more than one only when ambiguous.
    pub candidates: Vec<String>,
    /// Whether its GUIDs are its own.
    pub guids: Guids,
    /// The drivers of all disks are loaded and no other fits: what is on it may be written to.
    pub complete: bool,
    /// The choice is final for this boot and no change of its table is under way: its partitions may be changed.
    pub settled: bool,
}

impl SystemDisk {
    /// The one id of this type.
    pub const ID: &'static str = "system-disk";
}

impl Resource for SystemDisk {
    const TYPE: &'static str = "system-disk";
    const PLURAL: &'static str = "system-disks";
    const DOC: &'static str = "The disk this system runs from, and how it was found.";
    const COLUMNS: &'static [Column] = &[
        Column::new("STATE", "/state"),
        Column::new("DISK", "/disk"),
        Column::new("META", "/meta"),
        Column::new("REASON", "/reason"),
        Column::wide("CANDIDATES", "/candidates"),
        Column::wide("GUIDS", "/guids"),
        Column::wide("SETTLED", "/settled"),
    ];
}
