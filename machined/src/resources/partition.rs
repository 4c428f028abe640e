//! A partition, and what lies on it. Written by `controllers::disk`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One partition; its id is the kernel's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// The disk's id.
    pub disk: String,
    /// Its device: /dev/vda1.
    pub device: String,
    /// Number in the partition table.
    pub number: u32,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// GPT type GUID, or the MBR's type as `0x0c`; empty when the table does not say.
    pub kind: String,
    /// GPT partition GUID, or `<MBR signature>-<number>`; empty when the table does not say.
    pub uuid: String,
    /// GPT partition name.
    pub label: String,
    /// The file system or the like on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Stable names under /dev/disk.
    pub links: Vec<String>,
    /// Why it could not be read; empty when it could.
    pub error: String,
}

/// What the first blocks of a device say that it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// `vfat`, `ext4`, `xfs`, `luks`, `swap`, `iso9660`, `squashfs`, `erofs`, `meta`.
    pub format: String,
    /// Its UUID or serial in the usual form; empty when it has none.
    pub uuid: String,
    /// Its label; empty when it has none.
    pub label: String,
}

impl Resource for Partition {
    const TYPE: &'static str = "partition";
    const PLURAL: &'static str = "partitions";
    const DOC: &'static str = "A partition of a disk, and what lies on it.";
    const COLUMNS: &'static [Column] = &[
        Column::new("DISK", "/disk"),
        Column::new("SIZE", "/size"),
        Column::new("LABEL", "/label"),
        Column::new("FORMAT", "/content/format"),
        Column::wide("NUMBER", "/number"),
        Column::wide("START", "/start"),
        Column::wide("KIND", "/kind"),
        Column::wide("UUID", "/uuid"),
        Column::wide("FS-UUID", "/content/uuid"),
        Column::wide("FS-LABEL", "/content/label"),
        Column::wide("ERROR", "/error"),
    ];
}
