//! Which modules are loaded first. Each costs 60 to 120 ms of signature checking in emulation, so what the API needs goes
//! before everything else, and the rest waits until the API answers. Pure.

use std::path::Path;

/// When a module is loaded; lower first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// Buses on which other devices of these classes hang.
    Bus,
    /// What resets a machine that hangs: before anything that can hang.
    Watchdog,
    /// Network cards.
    Network,
    /// Disks, and the firmware's variables that say from which one the machine booted.
    Storage,
    /// Optical drives: before the API's answer only when a disk with the first configuration is looked for.
    Optical,
    /// Disks on slow buses: before the rest only when the system disk is still looked for.
    Removable,
    /// Everything else.
    Rest,
}

/// Folders of the kernel's tree; the first that fits counts.
const FOLDERS: [(&str, Class); 18] = [
    ("kernel/drivers/virtio/", Class::Bus),
    ("kernel/drivers/hv/", Class::Bus),
    ("kernel/drivers/pci/", Class::Bus),
    ("kernel/drivers/xen/", Class::Bus),
    ("kernel/drivers/watchdog/", Class::Watchdog),
    ("kernel/drivers/net/wireless/", Class::Rest),
    ("kernel/drivers/net/usb/", Class::Removable),
    ("kernel/drivers/net/", Class::Network),
    ("kernel/drivers/usb/host/", Class::Removable),
    ("kernel/drivers/usb/storage/", Class::Removable),
    ("kernel/drivers/mmc/", Class::Removable),
    ("kernel/drivers/block/", Class::Storage),
    ("kernel/drivers/nvme/", Class::Storage),
    ("kernel/drivers/ata/", Class::Storage),
    ("kernel/drivers/scsi/", Class::Storage),
    ("kernel/drivers/message/", Class::Storage),
    ("kernel/fs/efivarfs/", Class::Storage),
    // Asked for only when there is a STATE.
    ("kernel/fs/ext4/", Class::Storage),
];

/// The class of a module by its path in the kernel's tree.
pub(super) fn of(path: &Path) -> Class {
    let path = path.to_string_lossy();
    if path.contains("/sr_mod.") {
        return Class::Optical;
    }
    // Never waited for.
    if path.contains("/floppy.") {
        return Class::Rest;
    }
    FOLDERS.iter().find(|(folder, _)| path.starts_with(folder)).map_or(Class::Rest, |(_, class)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_needs_comes_first() {
        for (path, class) in [
            ("kernel/drivers/virtio/virtio_pci.ko.xz", Class::Bus),
            ("kernel/drivers/watchdog/i6300esb.ko.xz", Class::Watchdog),
            ("kernel/drivers/net/virtio_net.ko.xz", Class::Network),
            ("kernel/drivers/net/wireless/intel/iwlwifi.ko", Class::Rest),
            ("kernel/drivers/block/virtio_blk.ko.xz", Class::Storage),
            ("kernel/drivers/scsi/sr_mod.ko.xz", Class::Optical),
            ("kernel/drivers/usb/storage/usb-storage.ko.xz", Class::Removable),
            ("kernel/drivers/input/evdev.ko.xz", Class::Rest),
            ("", Class::Rest),
        ] {
            assert_eq!(of(Path::new(path)), class, "{path}");
        }
        assert!(Class::Bus < Class::Watchdog && Class::Watchdog < Class::Network);
    }
}
