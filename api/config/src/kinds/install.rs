//! `kind: Install`: the system puts itself onto a disk, with nobody at it.

use schemars::JsonSchema;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

use crate::image::Reference;
use crate::unit::Sizes;
use crate::{Check, Kind};

/// Which disk: all that is given must hold. In words `*` stands for anything; large and small letters are the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct DiskSelector {
    /// Its size: `64GiB..2TiB`, `64GiB..` or `..2TiB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Sizes>,
    /// The maker's name of the model: `Samsung SSD 9*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The serial number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// The world-wide identifier: `eui.0025385b71b05a4c`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wwid: Option<String>,
    /// Where it is plugged in: `pci-0000:00:17.0-ata-1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bus_path: Option<String>,
    /// How it is connected: `nvme`, `sata`, `scsi`, `virtio`, `usb`, `mmc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<String>,
    /// Whether disks that can be taken out count, too.
    pub removable: bool,
}

/// What a selector looks at, of a disk.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "as in the selector")]
pub struct DiskFacts<'a> {
    pub size: u64,
    pub model: &'a str,
    pub serial: &'a str,
    pub wwid: &'a str,
    pub bus_path: &'a str,
    pub transport: &'a str,
    pub removable: bool,
}

impl DiskSelector {
    /// Why a disk is none of those meant; none when it is one.
    pub fn why_not(&self, disk: &DiskFacts<'_>) -> Option<String> {
        if let Some(size) = self.size.filter(|size| !size.holds(disk.size)) {
            return Some(format!("its size of {} bytes is not in {size}", disk.size));
        }
        for (field, wanted, has) in [
            ("model", &self.model, disk.model),
            ("serial", &self.serial, disk.serial),
            ("wwid", &self.wwid, disk.wwid),
            ("busPath", &self.bus_path, disk.bus_path),
            ("transport", &self.transport, disk.transport),
        ] {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| !fits(wanted, has)) {
                let has = if has.is_empty() { "it has none".to_owned() } else { format!("it is {has}") };
                return Some(format!("{field} is not {wanted}: {has}"));
            }
        }
        (disk.removable && !self.removable).then(|| "it is removable, and removable: true is not given".to_owned())
    }

    fn words(&self) -> [(&'static str, &Option<String>); 5] {
        [
            ("model", &self.model),
            ("serial", &self.serial),
            ("wwid", &self.wwid),
            ("busPath", &self.bus_path),
            ("transport", &self.transport),
        ]
    }
}

/// Whether a text is as a pattern says, in which `*` stands for anything.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        // The earliest place leaves most for those that follow.
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Onto which disk, and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Install {
    /// Which disk. It must be one alone: of two that are meant, neither is touched.
    pub disk: DiskSelector,
    /// The installer image, in a registry or (`oci:/path`) in a folder. Without one: the system that runs.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "reference")]
    #[schemars(with = "Option<String>")]
    pub image: Option<Reference>,
    /// What is on the disk goes. Without it a disk that holds anything is left alone.
    #[serde(default)]
    pub wipe: bool,
}

/// Its own errors quote what was written; those of documents do not.
fn reference<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Reference>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let expected =
        "expected an image with its registry, such as registry.example.com/stele/installer:0.2.0, or oci:/path";
    text.map(|text| text.parse().map_err(|_| D::Error::custom(expected))).transpose()
}

impl Kind for Install {
    const KIND: &'static str = "Install";
    const NAMED: bool = false;
    const DOC: &'static str = "The system that was started from removable media, or from memory, is put onto a disk with nobody \
                               at it, and started from there. Where the system runs from its own disk already, nothing is done.";
    const EXAMPLES: &'static [&'static str] = &[
        "apiVersion: stele/v1
kind: Install
disk:
  size: 64GiB..2TiB
  model: Samsung SSD 9*
  transport: nvme
image: registry.example.com/stele/installer:0.2.0
wipe: true
",
        "apiVersion: stele/v1
kind: Install
disk:
  serial: S4EWNX0R123456
  wwid: eui.0025385b71b05a4c
  busPath: pci-0000:00:17.0-ata-1
",
    ];

    fn check(&self, _: Option<&str>, found: &mut Check<'_>) {
        for (field, word) in self.disk.words() {
            let right = word.as_ref().is_none_or(|word| !word.trim().is_empty() && !word.contains(char::is_control));
            found.need(&format!("disk.{field}"), right, "expected some text");
        }
        let some = self.disk.size.is_some() || self.disk.words().iter().any(|(_, word)| word.is_some());
        let message = "expected at least one of size, model, serial, wwid, busPath and transport";
        found.need("disk", some, message);
    }

    fn effect(_: Option<&Self>, _: Option<&Self>) -> crate::Effect {
        // A machine that runs from its disk never looks at it.
        crate::Effect::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, holds) in [
            ("Samsung SSD 9*", "samsung ssd 980 PRO", true),
            ("Samsung", "Samsung SSD", false),
            ("*ssd*pro", "Samsung SSD 980 Pro", true),
            ("*ssd*pro", "Samsung SSD 980 Pro 2", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*", "", true),
            ("**", "x", true),
            ("", "x", false),
        ] {
            assert_eq!(fits(pattern, text), holds, "{pattern} {text}");
        }
    }

    #[test]
    fn a_disk_that_is_not_meant_is_told_why() {
        let disk = DiskFacts {
            size: 512 << 30,
            model: "QEMU HARDDISK",
            transport: "sata",
            bus_path: "pci-0000:00:1f.2-ata-1",
            ..DiskFacts::default()
        };
        let selector = |yaml: &str| serde_saphyr::from_str::<DiskSelector>(yaml).unwrap();
        for (yaml, why) in [
            ("{ size: 64GiB.., model: QEMU*, transport: SATA, busPath: '*ata-1' }", None),
            ("size: 1TiB..", Some("its size of 549755813888 bytes is not in 1TiB..")),
            ("serial: a", Some("serial is not a: it has none")),
            ("transport: nvme", Some("transport is not nvme: it is sata")),
        ] {
            assert_eq!(selector(yaml).why_not(&disk).as_deref(), why, "{yaml}");
        }
        let stick = DiskFacts { removable: true, ..disk };
        assert!(selector("size: 1GiB..").why_not(&stick).is_some_and(|why| why.contains("removable")));
        assert_eq!(selector("{ size: 1GiB.., removable: true }").why_not(&stick), None);
    }
}
