//! The partitions of a system disk: GPT types, names and sizes. Used by the image builder, the installer and machined.

use crate::guid::{Guid, known};

/// One kind of partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// GPT partition type.
    pub guid: Guid,
    /// GPT partition name.
    pub name: &'static str,
    /// Size in bytes; `None`: the rest of the disk.
    pub size: Option<u64>,
}

const MIB: u64 = 1024 * 1024;

/// EFI system partition (UEFI 2.10, table 5-7): FAT32 with the boot chain.
pub const ESP: Kind = Kind { guid: known("c12a7328-f81f-11d2-ba4b-00a0c93ec93b"), name: "EFI", size: Some(2048 * MIB) };

/// Raw partition with what must be readable before STATE; see [`crate::meta`].
pub const META: Kind =
    Kind { guid: known("07438aac-1f36-4f6e-8fda-46be28b0d8c4"), name: "META", size: Some(crate::meta::SIZE) };

/// ext4 with configuration revisions, secrets and the node's identity.
pub const STATE: Kind =
    Kind { guid: known("dd785752-f135-40e0-9ce3-f415a32e4b3b"), name: "STATE", size: Some(256 * MIB) };

/// XFS with everything under /var; takes the rest of the disk and grows with it.
pub const EPHEMERAL: Kind = Kind { guid: known("961fd96e-42ee-4e97-9bc5-a7e94a599122"), name: "EPHEMERAL", size: None };

/// In the order in which they lie on the disk.
pub const ALL: [Kind; 4] = [ESP, META, STATE, EPHEMERAL];

/// Attribute of STATE and EPHEMERAL in the table (UEFI 2.10, table 5-8, leaves bits 48 to 63 to the type): the file system is
/// being made, so whatever the partition holds is of no worth.
pub const BEING_MADE: u64 = 1 << 48;
