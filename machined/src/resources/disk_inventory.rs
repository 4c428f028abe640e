//! How complete the list of disks is. Written by `controllers::disk`; who must know that a disk is *not* there waits for it.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::coldplug::Stage;

/// One object, id "disk-inventory".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DiskInventory {
    /// Disks and partitions are listed that the kernel showed when drivers up to this stage were loaded.
    pub stage: Stage,
}

impl DiskInventory {
    /// The one id of this type.
    pub const ID: &'static str = "disk-inventory";
}

impl Resource for DiskInventory {
    const TYPE: &'static str = "disk-inventory";
    const PLURAL: &'static str = "disk-inventories";
    const DOC: &'static str = "How complete the list of disks is.";
    const COLUMNS: &'static [Column] = &[Column::new("STAGE", "/stage")];
}
