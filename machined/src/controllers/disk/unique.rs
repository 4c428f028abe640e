//! Makes the GUIDs of an image's disk and partitions its own, and finishes a change of the table that was cut off. Blocking;
//! how the table is written, and what a power cut leaves, is `rewrite`'s business.

use std::io;
use std::path::{Path, PathBuf};

use boot::Guid;

use super::rewrite::{self, Change, Error, New, is_unfinished};
use super::table::Gpt;
use sys::direct::Device;

/// The disk to change.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    pub(super) device: PathBuf,
    pub(super) sector: u64,
    pub(super) size: u64,
    /// The disk GUID that the image was built with.
    pub(super) image: Guid,
}

/// Does what is left to do; false when there was nothing. `fresh` gives GUIDs.
pub(super) fn make(disk: &Disk, fresh: impl FnMut() -> Guid) -> Result<bool, Error> {
    let image = disk.image;
    let disk = rewrite::Disk { device: disk.device.clone(), sector: disk.sector, size: disk.size };
    let file = Device::read_write(&disk.device)?;
    let old = disk.first(&file)?;
    let backup = disk.read(&file, disk.last())?;
    let Some((new, steps)) = plan(&disk, image, &old, backup.as_ref(), fresh)? else { return Ok(false) };
    rewrite::write(&file, &disk, &steps)?;
    rewrite::verify(&file, &disk, &new)?;
    Ok(true)
}

/// The writes of a change.
type Steps = Vec<(u64, Vec<u8>)>;

/// What the table is to say and the writes for it; none when it says so.
fn plan(
    disk: &rewrite::Disk,
    image: Guid,
    old: &Gpt,
    kept: Option<&Gpt>,
    mut fresh: impl FnMut() -> Guid,
) -> Result<Option<(New, Steps)>, Error> {
    let shared = old.guid() == image;
    if !shared && !is_unfinished(old) {
        return Ok(None);
    }
    let mut new = New { entries: old.entries.clone(), guid: old.guid() };
    if shared {
        new.guid = fresh();
        for entry in new.entries.chunks_exact_mut(old.entry).filter(|entry| entry[..16] != [0; 16]) {
            entry[16..32].copy_from_slice(&fresh().0);
        }
    }
    let change = if shared { Change::Whole } else { Change::Rest(kept) };
    let steps = rewrite::steps(disk, old, change, &new)?;
    Ok(Some((new, steps)))
}

/// Tells the kernel's listeners that the disk changed, without taking its partitions away for a moment.
pub(super) fn announce(sys: &Path, name: &str) -> io::Result<()> {
    std::fs::write(sys.join("block").join(name).join("uevent"), "change")
}

#[cfg(test)]
mod tests {
    use super::super::rewrite::protect;
    use super::super::table::gpt;
    use super::super::table::tests::disk as image;
    use super::*;

    const IMAGE: Guid = Guid([9; 16]);

    /// GUIDs that can be told apart, as random ones can.
    fn fresh() -> impl FnMut() -> Guid {
        let mut next = 0x40;
        move || {
            next += 1;
            Guid([next; 16])
        }
    }

    /// A disk larger than the image written to it.
    fn written(dir: &Path, sector: u64, grown: u64) -> (Disk, Vec<u8>) {
        let mut bytes = image(sector, 4096, IMAGE.0);
        bytes.resize(usize::try_from((4096 + grown) * sector).unwrap(), 0);
        let device = dir.join("disk");
        std::fs::write(&device, &bytes).unwrap();
        (Disk { device, sector, size: bytes.len() as u64, image: IMAGE }, bytes)
    }

    /// The disk without its image.
    fn plain(disk: &Disk) -> rewrite::Disk {
        rewrite::Disk { device: disk.device.clone(), sector: disk.sector, size: disk.size }
    }

    fn check(bytes: &[u8], sector: u64) {
        let mut disk = io::Cursor::new(bytes);
        let gpt = gptman::GPT::read_from(&mut disk, sector).unwrap();
        let last = bytes.len() as u64 / sector - 1;
        assert_eq!((gpt.header.backup_lba, gpt.header.partition_entry_lba), (last, 2));
        assert_ne!(gpt.header.disk_guid, IMAGE.0);
        assert_eq!(gpt[2].partition_name.as_str(), "META");
        assert_eq!(gpt[1].attribute_bits, 5);
        assert_ne!(gpt[1].unique_partition_guid, gpt[2].unique_partition_guid);
        assert_ne!(gpt[1].unique_partition_guid, [1; 16]);
    }

    #[test]
    fn another_implementation_reads_the_result() {
        for (sector, grown) in [(512, 1000), (512, 0), (4096, 7)] {
            let dir = tempfile::tempdir().unwrap();
            let (disk, _) = written(dir.path(), sector, grown);
            assert!(make(&disk, fresh()).unwrap());
            let bytes = std::fs::read(&disk.device).unwrap();
            check(&bytes, sector);
            let size = u32::from_le_bytes(bytes[458..462].try_into().unwrap());
            assert_eq!(u64::from(size), disk.size / sector - 1);
            assert!(!make(&disk, fresh()).unwrap());
            assert_eq!(std::fs::read(&disk.device).unwrap(), bytes);
        }
    }

    #[test]
    fn a_power_cut_anywhere_leaves_a_valid_table_and_the_next_boot_finishes() {
        for grown in [0, 1000] {
            let dir = tempfile::tempdir().unwrap();
            let (disk, start) = written(dir.path(), 512, grown);
            let old = gpt(&start, 1, 512, disk.size).unwrap().unwrap();
            let (_, steps) = plan(&plain(&disk), IMAGE, &old, None, fresh()).unwrap().unwrap();
            for whole in 0..steps.len() {
                // Of the write that is cut, any number of sectors may have arrived.
                let all = steps[whole].1.len() / 512;
                for sectors in [0, 1, all / 2, all] {
                    let mut bytes = start.clone();
                    for (number, (lba, written)) in steps[..=whole].iter().enumerate() {
                        let length = if number == whole { sectors * 512 } else { written.len() };
                        let at = usize::try_from(lba * 512).unwrap();
                        bytes[at..at + length].copy_from_slice(&written[..length]);
                    }
                    let now = gpt(&bytes, 1, 512, disk.size).unwrap().expect("the first copy is always valid");
                    assert_eq!(now.partitions().count(), 2);
                    std::fs::write(&disk.device, &bytes).unwrap();
                    make(&disk, fresh()).unwrap();
                    check(&std::fs::read(&disk.device).unwrap(), 512);
                }
            }
        }
    }

    #[test]
    fn says_why_it_cannot() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, mut bytes) = written(dir.path(), 512, 0);
        let short = Disk { size: disk.size - 512 * 1600, ..disk.clone() };
        assert!(matches!(make(&short, fresh()), Err(Error::Invalid(_) | Error::NoEnd(_))));
        bytes[512] = 0;
        std::fs::write(&disk.device, &bytes).unwrap();
        assert!(matches!(make(&disk, fresh()), Err(Error::Invalid(_))));
    }

    fuzz::targets! {
        // A valid table of somebody else's making: what is written in its place is within the disk and valid.
        unique_guids: |bytes| {
            let mut bytes = bytes.to_vec();
            bytes.resize(64 * 512, 0);
            super::super::super::table::tests::seal(&mut bytes);
            let size = bytes.len() as u64;
            let Some(old) = gpt(&bytes, 1, 512, size).unwrap() else { return };
            let disk = rewrite::Disk { device: "/dev/null".into(), sector: 512, size };
            let Ok(Some((_, steps))) = plan(&disk, old.guid(), &old, None, || Guid([7; 16])) else { return };
            for (lba, written) in steps {
                let at = usize::try_from(lba * 512).unwrap();
                bytes[at..at + written.len()].copy_from_slice(&written);
            }
            assert!(gpt(&bytes, 1, 512, size).unwrap().is_some() && gpt(&bytes, 63, 512, size).unwrap().is_some());
            protect(&mut bytes[..512], 64);
        },
    }
}
