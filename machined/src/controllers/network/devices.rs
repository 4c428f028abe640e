//! What sysfs knows of a link's device and netlink does not: driver, place, speed. Missing files are normal.

use std::fs;
use std::path::{Path, PathBuf};

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Driver; empty without a device.
    pub driver: String,
    /// "pci-0000:00:02.0"; empty without a device.
    pub bus_path: String,
    /// Mbit/s.
    pub speed_mbps: Option<u32>,
}

/// /sys/class/net.
#[derive(Clone, Debug)]
pub struct Devices(PathBuf);

impl Devices {
    /// `folder` is /sys/class/net, or one like it.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// Looks at the device of a link.
    pub fn look(&self, link: &str) -> Device {
        let class = self.0.join(link);
        // Drivers without an answer say -1, or refuse to be read.
        let speed = fs::read_to_string(class.join("speed")).ok().and_then(|text| text.trim().parse().ok());
        let Ok(device) = fs::canonicalize(class.join("device")) else {
            return Device { speed_mbps: speed, ..Device::default() };
        };
        let base = |path: PathBuf| Some(path.file_name()?.to_string_lossy().into_owned());
        let driver = fs::canonicalize(device.join("driver")).ok().and_then(base);
        Device { driver: driver.unwrap_or_default(), bus_path: bus_path(&device), speed_mbps: speed }
    }
}

/// The nearest device on a bus people can find: a virtio device is named by the PCI card that carries it.
fn bus_path(device: &Path) -> String {
    let mut at = device;
    while let (Some(name), Some(parent)) = (at.file_name(), at.parent()) {
        let bus = fs::canonicalize(at.join("subsystem")).ok();
        let bus = bus.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        if let Some(bus) = bus.filter(|bus| matches!(bus.as_str(), "pci" | "usb" | "platform" | "vmbus" | "xen")) {
            return format!("{bus}-{}", name.to_string_lossy());
        }
        at = parent;
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_virtio_card_is_named_by_its_pci_place() {
        let root = tempfile::tempdir().unwrap();
        let pci = root.path().join("devices/pci0000:00/0000:00:02.0");
        let virtio = pci.join("virtio0");
        let net = virtio.join("net/eth0");
        for folder in ["bus/pci", "bus/virtio", "drivers/virtio_net", "class/net"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::create_dir_all(&net).unwrap();
        symlink(root.path().join("bus/pci"), pci.join("subsystem")).unwrap();
        symlink(root.path().join("bus/virtio"), virtio.join("subsystem")).unwrap();
        symlink(root.path().join("drivers/virtio_net"), virtio.join("driver")).unwrap();
        symlink(&virtio, net.join("device")).unwrap();
        symlink(&net, root.path().join("class/net/eth0")).unwrap();
        fs::write(net.join("speed"), "-1\n").unwrap();
        let devices = Devices::new(root.path().join("class/net"));
        let expected = Device { driver: "virtio_net".into(), bus_path: "pci-0000:00:02.0".into(), speed_mbps: None };
        assert_eq!(devices.look("eth0"), expected);
        assert_eq!(devices.look("lo"), Device::default());
    }
}
