//! What the device controllers need of the machine: /sys, /proc/modules, and loading. Blocking.
//!
//! The folders are fields, so tests imitate a machine in a temporary folder; loading is a function for the same reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sys::module::{Error, Loaded};

use crate::resources::kernel_module::KernelModule;
use crate::uptime;

/// Longest modalias the kernel makes: input devices list all their keys.
const MODALIAS_MAX: u64 = 4096;
/// Buses whose devices have no modalias, some of them many.
const SILENT: [&str; 7] = ["clockevents", "clocksource", "cpu", "event_source", "memory", "node", "workqueue"];

/// One machine.
#[derive(Clone, Debug)]
pub(super) struct Host {
    /// /sys.
    pub(super) sys: PathBuf,
    /// /proc.
    pub(super) proc: PathBuf,
    /// Loads a module's file, with parameters.
    pub(super) load: fn(&Path, &str) -> Result<Loaded, Error>,
    /// Milliseconds since the kernel started.
    pub(super) uptime_ms: fn() -> u64,
    /// For one load.
    pub(super) limit: Duration,
}

impl Host {
    /// This machine.
    pub(super) fn real() -> Self {
        Self {
            sys: "/sys".into(),
            proc: "/proc".into(),
            load: sys::module::load,
            uptime_ms: uptime::now_ms,
            limit: super::loader::LIMIT,
        }
    }

    /// The modalias of every device, each once: one walk over the buses' lists, which costs a hundredth of one over all
    /// of /sys/devices. Devices without a bus that have one: inputs, the machine itself (DMI), the processor.
    pub(super) fn modaliases(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for bus in names(&self.sys.join("bus")) {
            if !SILENT.contains(&bus.as_str()) {
                each(&self.sys.join("bus").join(bus).join("devices"), &mut found);
            }
        }
        each(&self.sys.join("class/input"), &mut found);
        each(&self.sys.join("class/dmi"), &mut found);
        found.extend(read_modalias(&self.sys.join("devices/system/cpu/modalias")));
        found
    }

    /// The firmware is UEFI.
    pub(super) fn is_efi(&self) -> bool {
        self.sys.join("firmware/efi").is_dir()
    }

    /// What is loaded. A kernel without modules has no list.
    pub(super) fn loaded(&self) -> io::Result<BTreeMap<String, KernelModule>> {
        match fs::read_to_string(self.proc.join("modules")) {
            Ok(text) => Ok(parse(&text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
            Err(e) => Err(e),
        }
    }
}

fn each(dir: &Path, found: &mut BTreeSet<String>) {
    found.extend(names(dir).into_iter().filter_map(|device| read_modalias(&dir.join(device).join("modalias"))));
}

/// Sorted, so that every boot loads in the same order. A folder that went away is empty: its uevent follows.
fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

fn read_modalias(path: &Path) -> Option<String> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(fs::File::open(path).ok()?, MODALIAS_MAX), &mut text).ok()?;
    let text = text.trim_end();
    (!text.is_empty()).then(|| text.to_owned())
}

/// `virtio_blk 32768 2 - Live 0x0000000000000000 (E)`; users end with a comma each.
fn parse(text: &str) -> BTreeMap<String, KernelModule> {
    let line = |line: &str| {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [name, size, references, users, state, ..] = words[..] else { return None };
        let used_by = users.split(',').filter(|user| !user.is_empty() && *user != "-").map(Into::into).collect();
        let taint = words.get(6).map(|taint| taint.trim_matches(['(', ')']).to_owned()).unwrap_or_default();
        let module = KernelModule {
            size: size.parse().ok()?,
            references: references.parse().unwrap_or(0),
            used_by,
            state: state.to_ascii_lowercase(),
            taint,
            reason: String::new(),
            origin: None,
            load_ms: None,
        };
        Some((name.to_owned(), module))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_list_of_modules() {
        let text = "virtio_net 90112 0 - Live 0x0000000000000000\n\
                    net_failover 24576 1 virtio_net, Live 0x0 (OE)\nnonsense\n";
        let modules = parse(text);
        assert_eq!(modules.len(), 2);
        assert_eq!(modules["net_failover"].used_by, ["virtio_net"]);
        assert_eq!(modules["net_failover"].taint, "OE");
        assert_eq!(modules["virtio_net"].state, "live");
        assert!(modules["virtio_net"].used_by.is_empty());
    }

    #[test]
    fn walks_buses_inputs_and_the_machine() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        at("bus/pci/devices/0000:00:03.0/modalias", "pci:v1\n");
        at("bus/pci/devices/0000:00:04.0/modalias", "pci:v1\n");
        at("bus/memory/devices/memory0/modalias", "never");
        at("bus/virtio/devices/virtio0/modalias", "");
        at("class/input/input0/modalias", "input:b1");
        at("devices/system/cpu/modalias", "cpu:x");
        let (sys, proc) = (dir.path().into(), dir.path().into());
        let host = Host { sys, proc, load: |_, _| Ok(Loaded::Now), uptime_ms: || 0, limit: Duration::MAX };
        assert_eq!(host.modaliases().into_iter().collect::<Vec<_>>(), ["cpu:x", "input:b1", "pci:v1"]);
        assert!(host.loaded().unwrap().is_empty());
    }

    fuzz::targets! {
        proc_modules: |bytes| drop(parse(&String::from_utf8_lossy(bytes))),
    }
}
