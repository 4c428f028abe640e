//! Stable names under /dev/disk, as udev forms them. Pure.
//!
//! Invariant: a name that two devices claim is given to neither, so nobody opens the wrong one.

use std::collections::BTreeMap;

use super::host::Seen;
use crate::resources::partition::Content;

/// Names of a whole disk, relative to /dev/disk.
pub(super) fn of_disk(disk: &Seen) -> Vec<String> {
    let mut names: Vec<String> = ids(disk).into_iter().map(|id| format!("by-id/{id}")).collect();
    if !disk.bus_path.is_empty() {
        names.push(format!("by-path/{}", disk.bus_path));
    }
    names
}

/// Names of a partition of a disk with these names.
pub(super) fn of_partition(disk: &[String], number: u32, uuid: &str, label: &str) -> Vec<String> {
    let mut names: Vec<String> = disk.iter().map(|name| format!("{name}-part{number}")).collect();
    names.extend(named("by-partuuid", uuid));
    names.extend(named("by-partlabel", label));
    names
}

/// Names by what lies on a device.
pub(super) fn of_content(content: &Content) -> Vec<String> {
    named("by-uuid", &content.uuid).into_iter().chain(named("by-label", &content.label)).collect()
}

/// Removes each name that more than one device claims; those names are returned.
pub(super) fn without_doubles<'n>(claims: impl Iterator<Item = &'n mut Vec<String>>) -> Vec<String> {
    let mut claims: Vec<_> = claims.collect();
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    for name in claims.iter().flat_map(|names| names.iter()) {
        *count.entry(name.clone()).or_default() += 1;
    }
    for names in &mut claims {
        names.retain(|name| count.get(name) == Some(&1));
        names.sort();
    }
    count.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name).collect()
}

fn ids(disk: &Seen) -> Vec<String> {
    let Seen { vendor, model, serial, wwid, .. } = disk;
    let mut ids = Vec::new();
    let joined = |parts: &[&String]| {
        let parts: Vec<String> = parts.iter().map(|part| plain(part)).filter(|part| !part.is_empty()).collect();
        parts.join("_")
    };
    if !serial.is_empty() {
        match &*disk.transport {
            "virtio" => ids.push(format!("virtio-{}", plain(serial))),
            "nvme" => ids.push(format!("nvme-{}", joined(&[model, serial]))),
            "sata" => ids.push(format!("ata-{}", joined(&[model, serial]))),
            "usb" => ids.push(format!("usb-{}-0:0", joined(&[vendor, model, serial]))),
            "scsi" => ids.push(format!("scsi-S{}", joined(&[vendor, model, serial]))),
            "mmc" => ids.push(format!("mmc-{}", joined(&[model, serial]))),
            _ => {}
        }
    }
    if let Some(naa) = wwid.strip_prefix("naa.") {
        ids.push(format!("wwn-0x{}", plain(naa)));
        ids.push(format!("scsi-3{}", plain(naa)));
    } else if disk.transport == "nvme" && !wwid.is_empty() {
        ids.push(format!("nvme-{}", plain(wwid)));
    }
    ids
}

fn named(folder: &str, name: &str) -> Option<String> {
    let encoded = encoded(name);
    (!encoded.is_empty()).then(|| format!("{folder}/{encoded}"))
}

/// For identifiers: runs of blanks and everything unusual become one `_`.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for c in text.trim().chars() {
        let keep = c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c);
        if keep {
            plain.push(c);
        } else if !plain.ends_with('_') {
            plain.push('_');
        }
    }
    plain
}

/// For labels: unusual bytes as `\x20`, so that no information is lost.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for c in text.chars() {
        let keep = c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii() && c != '\u{fffd}';
        if keep {
            encoded.push(c);
        } else {
            let mut buffer = [0; 4];
            encoded.extend(c.encode_utf8(&mut buffer).bytes().map(|byte| format!("\\x{byte:02x}")));
        }
    }
    // Neither is a name of a file.
    if encoded == "." || encoded == ".." { String::new() } else { encoded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn disk(transport: &str, vendor: &str, model: &str, serial: &str, wwid: &str) -> Vec<String> {
        of_disk(&Seen {
            transport: transport.into(),
            vendor: vendor.into(),
            model: model.into(),
            serial: serial.into(),
            wwid: wwid.into(),
            ..Seen::default()
        })
    }

    #[test]
    fn disks_are_named_as_by_udev() {
        assert_eq!(disk("virtio", "0x1af4", "", "one", ""), ["by-id/virtio-one"]);
        assert_eq!(disk("sata", "ATA", "QEMU HARDDISK", "QM00001", ""), ["by-id/ata-QEMU_HARDDISK_QM00001"]);
        let nvme = ["by-id/nvme-QEMU_NVMe_Ctrl_x1", "by-id/nvme-nvme.1b36-01"];
        assert_eq!(disk("nvme", "", "QEMU NVMe Ctrl", "x1", "nvme.1b36-01"), nvme);
        let scsi = ["by-id/scsi-SQEMU_QEMU_HARDDISK_s", "by-id/wwn-0x5000c5", "by-id/scsi-35000c5"];
        assert_eq!(disk("scsi", "QEMU", "QEMU HARDDISK", "s", "naa.5000c5"), scsi);
        assert!(disk("virtio", "", "", "", "").is_empty());
    }

    #[test]
    fn labels_keep_what_they_say() {
        assert_eq!(named("by-label", "a b/c"), Some("by-label/a\\x20b\\x2fc".into()));
        assert_eq!(named("by-label", ".."), None);
        assert_eq!(named("by-label", ""), None);
        let names = of_partition(&["by-id/virtio-x".into()], 2, "u-u", "META");
        assert_eq!(names, ["by-id/virtio-x-part2", "by-partuuid/u-u", "by-partlabel/META"]);
    }

    #[test]
    fn a_name_claimed_twice_is_given_to_neither() {
        let mut claims = [vec!["b".to_owned(), "a".into()], vec!["b".into()], vec!["c".into()]];
        assert_eq!(without_doubles(claims.iter_mut()), ["b"]);
        assert_eq!(claims, [vec!["a".to_owned()], vec![], vec!["c".into()]]);
    }

    proptest! {
        #[test]
        fn a_name_never_leaves_its_folder(text in ".*") {
            if let Some(name) = named("by-label", &text) {
                prop_assert_eq!(name.matches('/').count(), 1);
                prop_assert!(!name.contains('\0') && name != "by-label/.." && name != "by-label/.");
            }
            prop_assert!(!plain(&text).contains('/'));
        }
    }
}
