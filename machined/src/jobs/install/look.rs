//! Looks at the disks of this machine: those that the inventory lists, once it is complete, and what table and content do not tell.

use std::path::Path;
use std::time::Duration;

use config::kinds::DiskSelector;
use reconcile::Store;
use sys::direct::Device;
use tokio::time::timeout;

use super::Failed;
use super::choose::{Choice, Known, choose, holds, why_not};
use crate::blocking;
use crate::resources::coldplug::Stage;
use crate::resources::disk::Disk;
use crate::resources::disk_inventory::DiskInventory;
use crate::resources::partition::Partition;
use crate::resources::system_disk::{State, SystemDisk};
use crate::trace::chain;

/// For the drivers of all disks to be loaded.
const DRIVERS: Duration = Duration::from_secs(60);
/// For it to be known from which disk the machine was started.
const BOOTED: Duration = Duration::from_secs(60);
/// Of each end: tables, superblocks and what RAID, volume managers and ZFS write lie there.
const END: u64 = 1 << 20;

/// The choice as it is now.
///
/// # Errors
/// It is not known yet which disk the machine was started from.
pub async fn choice(store: &Store, selector: &DiskSelector, wipe: bool) -> Result<Choice, Failed> {
    let complete =
        || store.get::<DiskInventory>(DiskInventory::ID).is_some_and(|inventory| inventory.value.stage >= Stage::All);
    let mut changes = store.watch::<DiskInventory>();
    let listed = async {
        while !complete() {
            changes.changed().await;
        }
    };
    // A driver that hangs hides its disks for ever.
    let _ = timeout(DRIVERS, listed).await;
    let booted = booted(store).await?;
    let mut disks: Vec<Known> =
        store.list::<Disk>().into_iter().map(|disk| known(store, disk.id, &disk.value)).collect();
    for disk in &mut disks {
        if why_not(disk, selector, booted.as_deref()).is_none() && holds(disk).is_empty() {
            let (device, size) = (disk.disk.device.clone(), disk.disk.size);
            disk.blank = Some(blocking::run(move || blank(Path::new(&device), size)).await);
        }
    }
    Ok(choose(&disks, selector, wipe, booted.as_deref()))
}

fn known(store: &Store, id: String, disk: &Disk) -> Known {
    let parts = store.list::<Partition>().into_iter().filter(|part| part.value.disk == id);
    let parts = parts.map(|part| (part.id, (*part.value).clone())).collect();
    Known { id, disk: disk.clone(), parts, blank: None }
}

/// The disk that the machine was started from; none: it was no disk.
pub(super) async fn booted(store: &Store) -> Result<Option<String>, Failed> {
    let mut changes = store.watch::<SystemDisk>();
    let known = async {
        loop {
            match store.get::<SystemDisk>(SystemDisk::ID).map(|found| found.value) {
                Some(found) if found.state != State::Waiting => return found,
                _ => changes.changed().await,
            }
        }
    };
    match timeout(BOOTED, known).await {
        Ok(found) => match found.state {
            State::Found => Ok(Some(found.disk.clone())),
            State::Ambiguous => Err(Failed::refused(found.reason.clone(), "")),
            State::None | State::Waiting => Ok(None),
        },
        Err(_) => {
            Err(Failed::because("it is not known which disk the machine was started from", "apictl get system-disk"))
        }
    }
}

/// Whether nothing is at either end.
fn blank(device: &Path, size: u64) -> Result<bool, String> {
    let disk = Device::read_only(device).map_err(|error| chain(&error))?;
    let len = usize::try_from(size.min(END)).unwrap_or(0);
    for at in [0, size.saturating_sub(END)] {
        let bytes = disk.read(at, len).map_err(|error| chain(&error))?;
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_disk_is_blank_when_neither_end_holds_anything() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let size = 3 << 20;
        file.as_file().set_len(size).unwrap();
        assert_eq!(blank(file.path(), size), Ok(true));
        // The middle is any file's.
        file.as_file().write_all_at(&[1], size / 2).unwrap();
        assert_eq!(blank(file.path(), size), Ok(true));
        file.as_file().write_all_at(&[1], size - 4096).unwrap();
        assert_eq!(blank(file.path(), size), Ok(false));
        assert!(blank(Path::new("/none"), size).is_err());
    }
}
