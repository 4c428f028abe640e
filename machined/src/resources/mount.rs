//! A mounted filesystem, as it was when somebody asked; the id is the mount point, with the kernel's mount number where
//! several lie on one point.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Where.
    pub target: String,
    /// What: a device, an image, or the kernel's word for a virtual one.
    pub source: String,
    /// The part of the source that is mounted; "/" is all of it.
    pub root: String,
    /// Filesystem type.
    pub fstype: String,
    /// Options of the mount and of the filesystem.
    pub options: String,
    /// The kernel refuses writes.
    pub read_only: bool,
    /// Size in bytes when it was looked at; 0 when the filesystem has none.
    pub size_bytes: u64,
    /// Bytes in use when it was looked at.
    pub used_bytes: u64,
}

impl Resource for Mount {
    const TYPE: &'static str = "mount";
    const PLURAL: &'static str = "mounts";
    const DOC: &'static str = "A mounted filesystem.";
    const COLUMNS: &'static [Column] = &[
        Column::new("SOURCE", "/source"),
        Column::new("TYPE", "/fstype"),
        Column::new("SIZE", "/sizeBytes"),
        Column::new("USED", "/usedBytes"),
        Column::wide("OPTIONS", "/options"),
    ];
}
