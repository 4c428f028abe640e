//! A block device that is a whole disk. Written by `controllers::disk`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::partition::Content;

/// One disk; its id is the kernel's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Disk {
    /// Its device: /dev/vda.
    pub device: String,
    /// Bytes.
    pub size: u64,
    /// Bytes of a logical sector.
    pub sector: u32,
    /// Maker's name of the model; empty when it says none.
    pub model: String,
    /// Serial number; empty when it says none.
    pub serial: String,
    /// World-wide identifier (`naa.…`, `eui.…`, `t10.…`); empty when it has none.
    pub wwid: String,
    /// Where it is plugged in: `pci-0000:00:04.0-ata-1`; empty for virtual disks.
    pub bus_path: String,
    /// How it is connected: `virtio`, `nvme`, `sata`, `scsi`, `usb`, `mmc`, `xen`, `virtual`.
    pub transport: String,
    /// It has turning platters.
    pub rotational: bool,
    /// Its medium can be taken out, or it is plugged in from outside.
    pub removable: bool,
    /// Writes are refused.
    pub read_only: bool,
    /// It is the disk this system runs from.
    pub system: bool,
    /// `gpt`, `mbr`, or empty.
    pub table: String,
    /// The disk's GUID; empty without a GPT.
    pub guid: String,
    /// A file system or the like on the whole disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    /// Stable names under /dev/disk.
    pub links: Vec<String>,
    /// The kernel's number of this medium; another disk with the same name has another.
    pub sequence: u64,
    /// Why it could not be read; empty when it could.
    pub error: String,
}

impl Resource for Disk {
    const TYPE: &'static str = "disk";
    const PLURAL: &'static str = "disks";
    const DOC: &'static str = "A disk, how it is connected, and its stable names.";
    const COLUMNS: &'static [Column] = &[
        Column::new("SIZE", "/size"),
        Column::new("MODEL", "/model"),
        Column::new("SERIAL", "/serial"),
        Column::new("TRANSPORT", "/transport"),
        Column::new("SYSTEM", "/system"),
        Column::wide("SECTOR", "/sector"),
        Column::wide("WWID", "/wwid"),
        Column::wide("BUS-PATH", "/busPath"),
        Column::wide("ROTATIONAL", "/rotational"),
        Column::wide("REMOVABLE", "/removable"),
        Column::wide("READ-ONLY", "/readOnly"),
        Column::wide("TABLE", "/table"),
        Column::wide("GUID", "/guid"),
        Column::wide("ERROR", "/error"),
    ];
}
