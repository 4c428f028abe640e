//! Which disk is meant: by what it is, since its name changes between boots. In documents, and in one word for people.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::unit::Sizes;

/// What makes it one.
pub(super) const SOME: &str = "expected at least one of size, model, serial, wwid, busPath and transport";
const PAIRS: &str =
    "expected size=, model=, serial=, wwid=, busPath=, transport= or removable=; names of disks change between boots";

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

    /// The words of it, by their field.
    pub(super) fn words(&self) -> [(&'static str, &Option<String>); 5] {
        [
            ("model", &self.model),
            ("serial", &self.serial),
            ("wwid", &self.wwid),
            ("busPath", &self.bus_path),
            ("transport", &self.transport),
        ]
    }
}

impl DiskSelector {
    /// Whether it chooses at all.
    pub fn says_some(&self) -> bool {
        self.size.is_some() || self.words().iter().any(|(_, word)| word.is_some())
    }
}

/// As one word: `size=64GiB..,model=Samsung SSD 9*`. With `size>=64GiB` and `size<=2TiB`, and without the `iB` of units.
impl FromStr for DiskSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut selector = Self::default();
        let (mut least, mut most) = (String::new(), String::new());
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            if let Some(size) = pair.strip_prefix("size>=") {
                least = unit(size);
                continue;
            }
            if let Some(size) = pair.strip_prefix("size<=") {
                most = unit(size);
                continue;
            }
            let (field, value) = pair.split_once('=').ok_or_else(|| format!("{pair}: {PAIRS}"))?;
            let value = value.trim();
            let word = match field.trim() {
                "size" => {
                    let (from, to) = value.split_once("..").unwrap_or((value, value));
                    (least, most) = (unit(from), unit(to));
                    continue;
                }
                "removable" => {
                    selector.removable = value.parse().map_err(|_| format!("{pair}: expected true or false"))?;
                    continue;
                }
                "model" => &mut selector.model,
                "serial" => &mut selector.serial,
                "wwid" => &mut selector.wwid,
                "busPath" | "bus-path" => &mut selector.bus_path,
                "transport" => &mut selector.transport,
                _ => return Err(format!("{pair}: {PAIRS}")),
            };
            if value.is_empty() || value.contains(char::is_control) {
                return Err(format!("{pair}: expected some text"));
            }
            *word = Some(value.to_owned());
        }
        if !least.is_empty() || !most.is_empty() {
            let sizes = Sizes::try_from(format!("{least}..{most}"));
            selector.size = Some(sizes.map_err(|why| format!("size from {least} to {most}: {why}"))?);
        }
        if selector.says_some() { Ok(selector) } else { Err(SOME.to_owned()) }
    }
}

/// As it is parsed.
impl fmt::Display for DiskSelector {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size.map(|size| format!("size={size}"));
        let words = self.words().into_iter().filter_map(|(field, word)| Some(format!("{field}={}", word.as_ref()?)));
        let removable = self.removable.then(|| "removable=true".to_owned());
        let pairs: Vec<_> = size.into_iter().chain(words).chain(removable).collect();
        to.write_str(&pairs.join(","))
    }
}

/// `64G` is what people write for 64GiB.
fn unit(size: &str) -> String {
    if size.ends_with(['K', 'M', 'G', 'T']) { format!("{size}iB") } else { size.to_owned() }
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
    fn one_word_says_it() {
        for (text, again) in [
            ("size>=100G", "size=100GiB.."),
            ("size=64GiB..2TiB, serial=a b", "size=64GiB..2TiB,serial=a b"),
            ("size<=1TiB,size>=64G", "size=64GiB..1TiB"),
            ("size=8G", "size=8GiB..8GiB"),
            (
                "model=Samsung SSD 9*,wwid=eui.1,bus-path=pci-*,transport=nvme,removable=true",
                "model=Samsung SSD 9*,wwid=eui.1,busPath=pci-*,transport=nvme,removable=true",
            ),
        ] {
            let selector: DiskSelector = text.parse().unwrap();
            assert_eq!(selector.to_string(), again);
            assert_eq!(again.parse(), Ok(selector));
        }
        for (text, why) in [
            ("/dev/vda", "change between boots"),
            ("name=vda", "change between boots"),
            ("", "at least one of"),
            ("removable=true", "at least one of"),
            ("size=big", "expected something like 64GiB"),
            ("size>=100GB", "expected something like 64GiB"),
            ("size>=2G,size<=1G", "expected something like 64GiB"),
            ("serial=", "expected some text"),
            ("removable=yes,serial=a", "true or false"),
        ] {
            let told = text.parse::<DiskSelector>().unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
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
