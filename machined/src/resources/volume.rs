//! The two file systems that a node makes on its system disk. Written by `controllers::disk`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far a volume has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// What it needs first is not there yet.
    #[default]
    Waiting,
    /// It is not there, and can be made.
    Absent,
    /// Making it was cut off; it can be made anew.
    HalfMade,
    /// It is being made.
    Making,
    /// It is being checked.
    Checking,
    /// It is being wiped, as somebody asked.
    Wiping,
    /// It can be used.
    Mounted,
    /// It is there, or should be, and cannot be used.
    Unusable,
}

/// One volume; its id is STATE or EPHEMERAL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// How far it has come.
    pub phase: Phase,
    /// Its partition: /dev/vda3; empty when there is none.
    pub device: String,
    /// What file system it is, or is to be.
    pub format: String,
    /// Where it is mounted, or is to be.
    pub mount_point: String,
    /// Bytes; 0 unless mounted.
    pub size: u64,
    /// Bytes in use, to the next MiB; 0 unless mounted.
    pub used: u64,
    /// The kernel refuses writes.
    pub read_only: bool,
    /// Why it is in this phase, and what to do about it.
    pub reason: String,
}

impl Resource for Volume {
    const TYPE: &'static str = "volume";
    const PLURAL: &'static str = "volumes";
    const DOC: &'static str = "A file system that the node keeps on its system disk: STATE or EPHEMERAL.";
    const COLUMNS: &'static [Column] = &[
        Column::new("PHASE", "/phase"),
        Column::new("DEVICE", "/device"),
        Column::new("SIZE", "/size"),
        Column::new("USED", "/used"),
        Column::new("MOUNTED", "/mountPoint"),
        Column::new("REASON", "/reason"),
        Column::wide("FORMAT", "/format"),
        Column::wide("READ-ONLY", "/readOnly"),
    ];
}
