//! What sources see of the machine: disks and the network by the store, and the fetching of NoCloud's files by a URL.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use http::Uri;
use reconcile::{ClaimError, SharedWriter, Store};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::fetch::{self, Client};
use super::seed::Seed;
use crate::drivers::{self, Drivers};
use crate::resources::coldplug::Stage;
use crate::resources::disk::Disk;
use crate::resources::disk_inventory::DiskInventory;
use crate::resources::partition::{Content, Partition};
use crate::resources::wait::{self, For};
use crate::resources::{Condition, Wait};
use crate::trace::chain;
use crate::uptime;

/// What cloud-init looks for; some tools write it in capitals.
const LABEL: &str = "cidata";
/// Between tries to fetch.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// A volume that may be NoCloud's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) device: String,
    /// The kernel's name of its file system.
    pub(super) format: String,
    /// Another medium in the same drive has another.
    sequence: u64,
}

/// The machine as sources see it.
pub(super) struct Look {
    store: Store,
    waits: SharedWriter<Wait>,
    drivers: Drivers,
    /// For how long a server that does not answer is waited for, the first time.
    pub(super) patience: Duration,
}

/// Taken away when the wait is over, however it ends.
struct Waiting<'a> {
    waits: &'a SharedWriter<Wait>,
    on: For<'a>,
    since_ms: u64,
}

impl Waiting<'_> {
    fn say(&self, reason: &str) {
        // Nobody else has these ids.
        let _ = self.waits.put(self.on.id(), self.on.wait(reason, self.since_ms));
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let _ = self.waits.remove(self.on.id());
    }
}

impl Look {
    pub(super) fn new(store: &Store) -> Result<Self, ClaimError> {
        let (waits, drivers) = (store.shared_writer("platform")?, Drivers::new(store, "platform")?);
        Ok(Self { store: store.clone(), waits, drivers, patience: wait::CONFIG_URL })
    }

    fn waiting<'a>(&'a self, on: For<'a>) -> Waiting<'a> {
        Waiting { waits: &self.waits, on, since_ms: uptime::now_ms() }
    }

    /// Waits until the drivers of all disks and optical drives are loaded, and the disks behind them listed. Drivers that
    /// hang are given up by who loads them.
    pub(super) async fn disks_listed(&self) {
        let mut changes = self.store.watch::<DiskInventory>();
        let listed = || {
            let inventory = self.store.get::<DiskInventory>(DiskInventory::ID);
            inventory.is_some_and(|inventory| inventory.value.stage >= Stage::Optical)
        };
        if listed() {
            return;
        }
        let waiting = self.waiting(For::ConfigDisk);
        waiting.say("drivers of disks are being loaded");
        while !listed() {
            changes.changed().await;
        }
    }

    /// Whatever disks or partitions change.
    pub(super) fn disk_changes(&self) -> DiskChanges {
        DiskChanges { disks: self.store.watch::<Disk>(), partitions: self.store.watch::<Partition>() }
    }

    /// All volumes that carry the label; of a disk and its own partition the disk counts: such an image is made for both.
    pub(super) fn volumes(&self) -> Vec<Volume> {
        let ours = |content: &Option<Content>| {
            let content = content.as_ref().filter(|content| content.label.eq_ignore_ascii_case(LABEL))?;
            matches!(&*content.format, "iso9660" | "vfat").then(|| content.format.clone())
        };
        let disks = self.store.list::<Disk>();
        let mut found: Vec<Volume> = Vec::new();
        for disk in &disks {
            if let Some(format) = ours(&disk.value.content) {
                found.push(Volume { device: disk.value.device.clone(), format, sequence: disk.value.sequence });
            }
        }
        for part in self.store.list::<Partition>() {
            let disk = disks.iter().find(|disk| disk.id == part.value.disk);
            let whole = disk.is_some_and(|disk| found.iter().any(|volume| volume.device == disk.value.device));
            if let Some(format) = ours(&part.value.content).filter(|_| !whole) {
                let sequence = disk.map_or(0, |disk| disk.value.sequence);
                found.push(Volume { device: part.value.device.clone(), format, sequence });
            }
        }
        found
    }

    /// Has the modules of a file system loaded; without them the mount will say what is missing.
    pub(super) async fn file_system(&self, format: &str) {
        let modules = if format == "vfat" { drivers::VFAT } else { drivers::ISO9660 };
        self.drivers.load(modules, &format!("a NoCloud disk is {format}")).await;
    }

    /// The files of NoCloud from a server, once there is a network; why not, when the patience with it is over.
    pub(super) async fn fetch(&self, base: &str, on: For<'_>) -> Result<Seed, String> {
        let client = Client::new().map_err(|error| chain(&error))?;
        let files = Files::of(base)?;
        let deadline = Instant::now() + self.patience;
        let waiting = self.waiting(on);
        let mut pauses = ExponentialBuilder::default()
            .with_min_delay(PAUSES.0)
            .with_max_delay(PAUSES.1)
            .with_jitter()
            .without_max_times()
            .build();
        loop {
            let why = match self.network(&waiting, deadline).await {
                Ok(()) => match files.get(&client).await {
                    Ok(seed) => return Ok(seed),
                    Err(error) => chain(&error),
                },
                Err(why) => why,
            };
            let pause = pauses.next().unwrap_or(PAUSES.1);
            if Instant::now() + pause >= deadline {
                return Err(format!("{why}; it is tried again for ever"));
            }
            waiting.say(&why);
            tokio::time::sleep(pause).await;
        }
    }

    async fn network(&self, waiting: &Waiting<'_>, deadline: Instant) -> Result<(), String> {
        let mut changes = self.store.watch::<Condition>();
        loop {
            let condition = self.store.get::<Condition>(Condition::NETWORK);
            let why = match condition {
                Some(condition) if condition.value.met => return Ok(()),
                Some(condition) => format!("there is no network: {}", condition.value.reason),
                None => "the network is being looked for".into(),
            };
            waiting.say(&why);
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return Err(why);
            }
        }
    }
}

/// Changes of disks and partitions.
pub(super) struct DiskChanges {
    disks: reconcile::Changes,
    partitions: reconcile::Changes,
}

impl DiskChanges {
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            () = self.disks.changed() => {}
            () = self.partitions.changed() => {}
        }
    }
}

/// Where the files are: below an address that ends in a slash, or with their name in the place of `%s`.
struct Files {
    user_data: Uri,
    meta_data: Uri,
    network_config: Uri,
    vendor_data: Uri,
}

impl Files {
    fn of(base: &str) -> Result<Self, String> {
        let one = |name: &str| {
            let at = match base.contains("%s") {
                true => base.replace("%s", name),
                false => format!("{}/{name}", base.trim_end_matches('/')),
            };
            fetch::parse(&at).map_err(|error| error.to_string())
        };
        Ok(Self {
            user_data: one("user-data")?,
            meta_data: one("meta-data")?,
            network_config: one("network-config")?,
            vendor_data: one("vendor-data")?,
        })
    }

    async fn get(&self, client: &Client) -> Result<Seed, fetch::Error> {
        let some = |file: Option<Zeroizing<Vec<u8>>>| file.filter(|bytes| !bytes.is_empty());
        Ok(Seed {
            user_data: some(client.get(&self.user_data).await?),
            meta_data: some(client.get(&self.meta_data).await?),
            network_config: some(client.get(&self.network_config).await?),
            // Nobody reads it: that it cannot be fetched is no matter.
            vendor_data: client.get(&self.vendor_data).await.is_ok_and(|file| some(file).is_some()),
        })
    }
}

#[cfg(test)]
mod tests;
