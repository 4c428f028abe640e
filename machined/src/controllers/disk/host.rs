//! The disks and partitions the kernel shows in /sys/block. Blocking; tests imitate the folder.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::content::text;
use super::path;

/// One machine.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// /sys.
    pub(super) sys: PathBuf,
    /// /dev.
    pub(super) dev: PathBuf,
}

/// A whole disk with a medium.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) sector: u32,
    pub(super) vendor: String,
    pub(super) model: String,
    pub(super) serial: String,
    pub(super) wwid: String,
    pub(super) bus_path: String,
    pub(super) transport: String,
    pub(super) rotational: bool,
    pub(super) removable: bool,
    pub(super) read_only: bool,
    pub(super) sequence: u64,
    pub(super) partitions: Vec<Part>,
}

/// A partition as the kernel uses it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) number: u32,
    pub(super) start: u64,
    pub(super) size: u64,
}

/// /sys counts in these, whatever the disk's sectors are.
const UNIT: u64 = 512;
/// Longest attribute that is read.
const ATTRIBUTE_MAX: u64 = 4096;

impl Host {
    /// The node of a device.
    pub(super) fn node(&self, name: &str) -> PathBuf {
        // cciss and the like: '!' in /sys is '/' in /dev.
        self.dev.join(name.replace('!', "/"))
    }

    /// All disks, in the order of their names.
    pub(super) fn scan(&self) -> Vec<Seen> {
        names(&self.sys.join("block")).iter().filter_map(|name| self.disk(name)).collect()
    }

    /// Optical drives, with the number of the medium in each.
    pub(super) fn drives(&self) -> Vec<(String, u64)> {
        let at = self.sys.join("block");
        let drives = names(&at).into_iter().filter(|name| name.starts_with("sr"));
        drives
            .map(|name| (number(&at.join(&name), "diskseq").unwrap_or(0), name))
            .map(|(of, name)| (name, of))
            .collect()
    }

    fn disk(&self, name: &str) -> Option<Seen> {
        let at = self.sys.join("block").join(name);
        let size = number(&at, "size")? * UNIT;
        // No medium, or a path of a multipath disk that is listed by another name.
        if size == 0 || no_disc(name, size) || name.starts_with("ram") || number(&at, "hidden") == Some(1) {
            return None;
        }
        let real = fs::canonicalize(&at).unwrap_or_default();
        let first = |places: &[&str]| places.iter().map(|place| attribute(&at, place)).find(|text| !text.is_empty());
        let serial = || {
            let page = fs::read(at.join("device/vpd_pg80")).ok()?;
            Some(text(&page, 4, page.len().checked_sub(4)?)).filter(|serial| !serial.is_empty())
        };
        Some(Seen {
            name: name.into(),
            size,
            sector: number(&at, "queue/logical_block_size").and_then(|n| u32::try_from(n).ok()).unwrap_or(512),
            vendor: attribute(&at, "device/vendor"),
            model: first(&["device/model", "device/name"]).unwrap_or_default(),
            serial: first(&["serial", "device/serial"])
                .or_else(serial)
                .or_else(|| path::usb_serial(&real))
                .unwrap_or_default(),
            wwid: first(&["wwid", "device/wwid"]).unwrap_or_default(),
            bus_path: path::bus(&real),
            transport: path::transport(name, &real).into(),
            rotational: number(&at, "queue/rotational") == Some(1),
            removable: number(&at, "removable") == Some(1) || attribute(&at, "device/../removable") == "removable",
            read_only: number(&at, "ro") == Some(1),
            sequence: number(&at, "diskseq").unwrap_or(0),
            partitions: self.partitions(&at),
        })
    }

    fn partitions(&self, at: &Path) -> Vec<Part> {
        let part = |name: String| {
            let at = at.join(&name);
            Some(Part {
                number: number(&at, "partition").and_then(|n| u32::try_from(n).ok())?,
                start: number(&at, "start")? * UNIT,
                size: number(&at, "size")? * UNIT,
                name,
            })
        };
        let mut parts: Vec<_> = names(at).into_iter().filter_map(part).collect();
        parts.sort_by_key(|part| part.number);
        parts
    }
}

/// An optical drive without a disc has the size its driver starts with, which is no multiple of a disc's sectors; reading
/// it fills the kernel's log with errors.
fn no_disc(name: &str, size: u64) -> bool {
    name.starts_with("sr") && !size.is_multiple_of(2048)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// A text attribute without blanks around it; empty when there is none.
pub(super) fn attribute(at: &Path, name: &str) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = fs::File::open(at.join(name)) {
        // A device that goes away gives an error: as if it had none.
        let _ = file.take(ATTRIBUTE_MAX).read_to_end(&mut bytes);
    }
    text(&bytes, 0, bytes.len())
}

fn number(at: &Path, name: &str) -> Option<u64> {
    attribute(at, name).parse().ok()
}
