//! The controller that lists disks and partitions and what lies on them.
//!
//! Invariant: a disk that does not answer delays the others by [`PATIENCE`] once, and is shown as such; it is read again
//! only when its last read has ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use sys::uevent::Message;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::content::{self, HEAD};
use super::host::{Host, Part, Seen};
use super::names;
use super::table::{self, Source, Table};
use crate::blocking;
use crate::events::Events;
use crate::resources::coldplug::{Coldplug, Stage};
use crate::resources::disk::Disk;
use crate::resources::disk_inventory::DiskInventory;
use crate::resources::partition::{Content, Partition};
use crate::resources::system_disk::SystemDisk;
use crate::uevent::Listener;

/// How long a disk may take for its first blocks: one that spins up needs some seconds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Disks read at the same time: half the threads of `main`, so that dead disks leave META and the logs some; and enough
/// that a shelf of dead disks does not keep the system disk from being read.
static PROBES: Semaphore = Semaphore::const_new(16);

/// The controller.
#[derive(Debug)]
pub(super) struct Inventory {
    host: Host,
    listener: Listener,
    events: Events,
    reading: BTreeMap<(String, u64), JoinHandle<Found>>,
    doubles: Vec<String>,
    /// Optical drives, with the number of their medium.
    opened: BTreeSet<(String, u64)>,
}

/// What was read from a disk.
#[derive(Debug, Default)]
struct Found {
    table: Option<Table>,
    content: Option<Content>,
    parts: Vec<(Part, Option<Content>, String)>,
    error: String,
}

impl Inventory {
    pub(super) fn new(host: Host, listener: Listener, events: Events) -> Self {
        Self { host, listener, events, reading: BTreeMap::new(), doubles: Vec::new(), opened: BTreeSet::new() }
    }

    /// Disks and partitions that come, go or change.
    pub(super) fn wants(message: &Message<'_>) -> bool {
        message.get("SUBSYSTEM") == Some("block")
    }

    /// Reads all disks at the same time. None: it has not answered yet.
    #[expect(clippy::disallowed_methods, reason = "awaited below or, when it takes long, by the next cycle")]
    async fn read(&mut self, disks: Vec<Seen>) -> Vec<(Seen, Option<Found>)> {
        let mut before = std::mem::take(&mut self.reading);
        let mut tasks = Vec::new();
        for disk in disks {
            let task = before.remove(&(disk.name.clone(), disk.sequence)).unwrap_or_else(|| {
                let (host, disk) = (self.host.clone(), disk.clone());
                tokio::spawn(async move {
                    // It is never closed.
                    let _room = PROBES.acquire().await;
                    blocking::run(move || read(&host, &disk)).await
                })
            });
            tasks.push((disk, task));
        }
        let deadline = Instant::now() + PATIENCE;
        let mut found = Vec::new();
        for (disk, mut task) in tasks {
            match timeout_at(deadline, &mut task).await {
                Ok(Ok(read)) => found.push((disk, Some(read))),
                // One odd disk hides no other.
                Ok(Err(panic)) => {
                    let error = format!("reading it failed, this is a bug: {panic}");
                    found.push((disk, Some(Found { error, ..Found::default() })));
                }
                Err(_) => {
                    self.reading.insert((disk.name.clone(), disk.sequence), task);
                    found.push((disk, None));
                }
            }
        }
        found
    }

    /// A drive says what disc is in it only once it is opened. One that hangs is left alone after a while.
    async fn open_drives(&mut self) {
        let host = self.host.clone();
        let drives = blocking::run(move || host.drives()).await;
        let new: Vec<_> = drives.into_iter().filter(|drive| self.opened.insert(drive.clone())).collect();
        let opened = new.into_iter().map(|(name, _)| {
            let node = self.host.node(&name);
            // What comes of it is in the scan.
            timeout(PATIENCE, blocking::run(move || drop(open(&node))))
        });
        join_all(opened).await;
    }

    fn warn_of_doubles(&mut self, doubles: Vec<String>) {
        for name in doubles.iter().filter(|name| !self.doubles.contains(name)) {
            self.events.warn("disk", format!("two devices claim the name /dev/disk/{name}: it is given to neither"));
        }
        self.doubles = doubles;
    }
}

impl Controller for Inventory {
    const NAME: &'static str = "disk/inventory";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<SystemDisk>().watch::<Coldplug>();
        ports.own::<Disk>().own::<Partition>().own::<DiskInventory>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        self.listener.read();
        // Before the disks are listed: those of the drivers that were loaded by now are among them.
        let stage = cx.get::<Coldplug>(Coldplug::ID)?.map_or(Stage::Started, |coldplug| coldplug.value.stage);
        self.open_drives().await;
        let host = self.host.clone();
        let seen = blocking::run(move || host.scan()).await;
        let found = self.read(seen).await;
        let system = cx.get::<SystemDisk>(SystemDisk::ID)?.map(|system| system.value.disk.clone());
        let mut disks: Vec<(String, Disk)> = Vec::new();
        let mut parts: Vec<(String, Partition)> = Vec::new();
        for (seen, found) in found {
            let slow =
                || Found { error: format!("does not answer within {} s", PATIENCE.as_secs()), ..Found::default() };
            let found = found.unwrap_or_else(slow);
            let disk = disk(&self.host, &seen, &found, system.as_ref() == Some(&seen.name));
            parts.extend(partitions(&self.host, &seen.name, &disk.links, found));
            disks.push((seen.name, disk));
        }
        let links = disks.iter_mut().map(|(_, disk)| &mut disk.links);
        self.warn_of_doubles(names::without_doubles(links.chain(parts.iter_mut().map(|(_, part)| &mut part.links))));
        for (name, disk) in disks {
            cx.put::<Disk>(name, disk)?;
        }
        for (name, part) in parts {
            cx.put::<Partition>(name, part)?;
        }
        cx.put(DiskInventory::ID, DiskInventory { stage })?;
        Ok(if self.reading.is_empty() { Next::OnChange } else { Next::After(PATIENCE) })
    }

    async fn wake(&mut self) {
        self.listener.heard().await;
    }
}

fn disk(host: &Host, seen: &Seen, found: &Found, system: bool) -> Disk {
    let (table, guid) = match &found.table {
        Some(Table::Gpt(gpt)) => ("gpt", gpt.guid().to_string()),
        Some(Table::Mbr { .. }) => ("mbr", String::new()),
        None => ("", String::new()),
    };
    let mut links = names::of_disk(seen);
    links.extend(found.content.iter().flat_map(names::of_content));
    let Seen { model, serial, wwid, bus_path, transport, .. } = seen.clone();
    Disk {
        device: host.node(&seen.name).to_string_lossy().into_owned(),
        size: seen.size,
        sector: seen.sector,
        model,
        serial,
        wwid,
        bus_path,
        transport,
        rotational: seen.rotational,
        removable: seen.removable,
        read_only: seen.read_only,
        system,
        table: table.into(),
        guid,
        content: found.content.clone(),
        links,
        sequence: seen.sequence,
        error: found.error.clone(),
    }
}

fn partitions(host: &Host, disk: &str, names: &[String], found: Found) -> Vec<(String, Partition)> {
    let entries: Vec<_> = match &found.table {
        Some(Table::Gpt(gpt)) => gpt.partitions().collect(),
        _ => Vec::new(),
    };
    // A name by what lies on the whole disk is no name of its parts.
    let of_disk: Vec<String> =
        names.iter().filter(|name| name.starts_with("by-id/") || name.starts_with("by-path/")).cloned().collect();
    let one = |(part, content, error): (Part, Option<Content>, String)| {
        let (kind, uuid, label) = match (&found.table, entries.iter().find(|entry| entry.number == part.number)) {
            (_, Some(entry)) => (entry.kind.to_string(), entry.guid.to_string(), entry.name.clone()),
            (Some(Table::Mbr { signature, kinds }), _) => {
                let kind = usize::try_from(part.number).ok().and_then(|number| kinds.get(number.checked_sub(1)?));
                let kind = kind.map(|kind| format!("{kind:#04x}")).unwrap_or_default();
                (kind, format!("{signature:08x}-{:02x}", part.number), String::new())
            }
            _ => Default::default(),
        };
        let mut links = names::of_partition(&of_disk, part.number, &uuid, &label);
        links.extend(content.iter().flat_map(names::of_content));
        let device = host.node(&part.name).to_string_lossy().into_owned();
        let Part { name, number, start, size } = part;
        (name, Partition { disk: disk.into(), device, number, start, size, kind, uuid, label, content, links, error })
    };
    found.parts.into_iter().map(one).collect()
}

/// Blocking. An error of one place does not hide the others.
fn read(host: &Host, disk: &Seen) -> Found {
    let mut found = Found::default();
    match open(&host.node(&disk.name)) {
        Err(e) => found.error = format!("cannot open it: {e}"),
        Ok(file) => {
            match table::read(&file, disk.sector, disk.size) {
                Ok(table) => found.table = table,
                Err(e) => found.error = format!("cannot read its partition table: {e}"),
            }
            // Under a partition table lies no file system, but hybrid ISO images have both.
            match head(&file, disk.size) {
                Ok(head) => {
                    let content = content::probe(&head);
                    found.content = content.filter(|c| disk.partitions.is_empty() || c.format == "iso9660");
                }
                Err(e) => found.error = format!("cannot read it: {e}"),
            }
        }
    }
    for part in &disk.partitions {
        let head = open(&host.node(&part.name)).and_then(|file| head(&file, part.size));
        let (content, error) = match head {
            Ok(head) => (content::probe(&head), String::new()),
            Err(e) => (None, format!("cannot read it: {e}")),
        };
        found.parts.push((part.clone(), content, error));
    }
    found
}

/// Without waiting for a medium, and never for writing.
fn open(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
    File::options().read(true).custom_flags(flags).open(path)
}

fn head(file: &File, size: u64) -> io::Result<Vec<u8>> {
    Source::read(file, 0, usize::try_from(size).unwrap_or(HEAD).min(HEAD))
}

impl Source for File {
    fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; len];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}
