//! What a device's place in /sys says: where it is plugged in (named as udev's `path_id` does) and how.

use std::path::Path;

use super::host::attribute;

/// `pci-0000:00:1f.2-ata-1`, `pci-0000:00:04.0-nvme-1`, `pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:0`; empty when the
/// device hangs on no PCI bus.
pub(super) fn bus(real: &Path) -> String {
    let Some(pci) = components(real).filter(|part| is_pci(part)).last() else { return String::new() };
    let mut name = format!("pci-{pci}");
    let (mut ata, mut nvme) = (false, false);
    for part in components(real).skip_while(|part| *part != pci).skip(1) {
        if let Some(port) = part.strip_prefix("ata").filter(|port| is_number(port)) {
            ata = true;
            name += &format!("-ata-{}", port_number(real, part).unwrap_or_else(|| port.into()));
        } else if let Some((ports, interface)) = part.split_once(':').and_then(usb_interface) {
            name += &format!("-usb-0:{ports}:{interface}");
        } else if let Some(lun) = scsi(part).filter(|_| !ata) {
            name += &format!("-scsi-0:{lun}");
        } else if let Some(namespace) =
            part.strip_prefix("nvme").and_then(|rest| rest.split_once('n')).filter(|_| !nvme)
        {
            nvme = true;
            name += &format!("-nvme-{}", namespace.1);
        }
    }
    name
}

/// How the disk is connected.
pub(super) fn transport(name: &str, real: &Path) -> &'static str {
    let has = |wanted: fn(&str) -> bool| components(real).any(wanted);
    match name {
        _ if name.starts_with("nvme") => "nvme",
        _ if name.starts_with("vd") => "virtio",
        _ if name.starts_with("xvd") => "xen",
        _ if name.starts_with("mmcblk") => "mmc",
        _ if has(|part| part == "virtual") => "virtual",
        _ if has(|part| part.starts_with("usb") && is_number(&part[3..])) => "usb",
        _ if has(|part| part.starts_with("ata") && is_number(&part[3..])) => "sata",
        _ => "scsi",
    }
}

/// The serial number of the USB device that the disk is part of.
pub(super) fn usb_serial(real: &Path) -> Option<String> {
    let device = real.ancestors().find(|at| at.join("idVendor").exists())?;
    Some(attribute(device, "serial")).filter(|serial| !serial.is_empty())
}

fn components(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|part| part.as_os_str().to_str())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `0000:00:1f.2`.
fn is_pci(part: &str) -> bool {
    let hex = |text: &str, len| text.len() == len && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match part.split([':', '.']).collect::<Vec<_>>()[..] {
        [domain, bus, device, function] => {
            domain.len() >= 4 && hex(domain, domain.len()) && hex(bus, 2) && hex(device, 2) && is_number(function)
        }
        _ => false,
    }
}

/// Of `1-2.3:1.0`: ports `2.3` and interface `1.0`.
fn usb_interface((device, interface): (&str, &str)) -> Option<(String, String)> {
    let (bus, ports) = device.split_once('-')?;
    let dotted = |text: &str| text.split('.').all(is_number);
    (is_number(bus) && dotted(ports) && dotted(interface)).then(|| (ports.into(), interface.into()))
}

/// Of `6:0:1:0`: everything but the host's number, which depends on the order of probing.
fn scsi(part: &str) -> Option<&str> {
    let (host, rest) = part.split_once(':')?;
    (is_number(host) && rest.split(':').count() == 3 && rest.split(':').all(is_number)).then_some(rest)
}

/// The number on the controller; the one in the name counts over all controllers.
fn port_number(real: &Path, ata: &str) -> Option<String> {
    let at = real.ancestors().find(|at| at.ends_with(ata))?;
    Some(attribute(&at.join("ata_port").join(ata), "port_no")).filter(|port| !port.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_place() {
        for (path, bus_path, kind) in [
            ("pci0000:00/0000:00:04.0/virtio1/block/vda", "pci-0000:00:04.0", "virtio"),
            ("pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda", "pci-0000:00:1f.2-ata-1", "sata"),
            ("pci0000:00/0000:00:05.0/nvme/nvme0/nvme0n1", "pci-0000:00:05.0-nvme-1", "nvme"),
            (
                "pci0000:00/0000:00:02.0/0000:01:00.0/virtio2/host6/target6:0:1/6:0:1:0/block/sdb",
                "pci-0000:01:00.0-scsi-0:0:1:0",
                "scsi",
            ),
            (
                "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host7/target7:0:0/7:0:0:0/block/sdc",
                "pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:0",
                "usb",
            ),
            ("virtual/block/loop0", "", "virtual"),
            ("", "", "scsi"),
        ] {
            let real = Path::new("/sys/devices").join(path);
            let name = path.rsplit('/').next().unwrap();
            assert_eq!((bus(&real), transport(name, &real)), (bus_path.to_owned(), kind), "{path}");
        }
    }
}
