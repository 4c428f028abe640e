//! A disc for virtual media: ISO 9660 (ECMA-119) with one folder, and a FAT file system that UEFI firmware starts from (El Torito,
//! UEFI 2.10, section 13.3.2.1).
//!
//! ```text
//! sector 16 volume   17 boot record   18 end   19, 20 path tables   21 root   22 STELE   23 boot catalog
//! sector 32 to the end: the FAT file system: loader, UKIs, entries, as on a disk's EFI partition
//! ```
//! The files in the folder are those of the FAT file system: both name the same bytes, which is why it is written here and not by
//! a library. A node reads them by the folder, since it mounts discs as what they are.
//!
//! Invariant: no time, and nothing random: the same parts give the same bytes.

use std::io::Cursor;

use crate::disk::Chain;
use crate::{fat, pe};

/// What the volume is called; a node knows its disc by it.
const LABEL: &str = "STELE";
/// A sector of a disc.
const SECTOR: usize = 2048;
const ROOT: u32 = 21;
const FOLDER: u32 = 22;
const CATALOG: u32 = 23;
/// Where the FAT file system begins.
const FAT: usize = 32;
/// Of the FAT file system: a sector of the disc, so that its files lie where files of the disc may lie.
const CLUSTER: u16 = 2048;
/// The fewest clusters of FAT32 (Microsoft, FAT32 File System Specification), and some more.
const CLUSTERS: usize = 66_000;
/// Of its own tables and folders, and free.
const ROOM: usize = 4 << 20;

/// There is no disc.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Of a UKI.
    #[error("a UKI as it was built here is expected")]
    Uki(#[from] pe::Error),
    /// The file system.
    #[error("cannot make its file system")]
    Fat(#[from] std::io::Error),
    /// A file is not where it can be named.
    #[error("{0} does not lie in one piece on a sector's beginning")]
    Apart(&'static str),
}

/// The whole disc.
///
/// # Errors
/// See [`Error`].
pub fn build(chain: &Chain<'_>) -> Result<Vec<u8>, Error> {
    let parts = [("LOADER.EFI", Some(chain.loader)), ("RECOVERY.EFI", chain.recovery), ("UKI.EFI", Some(chain.uki))];
    let content: usize = parts.iter().filter_map(|(_, bytes)| Some(bytes.as_ref()?.len())).sum();
    let mut clusters = CLUSTERS.max((content + ROOM) / usize::from(CLUSTER));
    // Its first cluster lies behind tables whose length depends on how many there are.
    let (system, files) = loop {
        let system = system(chain, clusters * usize::from(CLUSTER))?;
        let found = parts.iter().filter_map(|(name, bytes)| Some((*name, (*bytes)?)));
        let found: Vec<_> = found.map(|(name, bytes)| (name, place(&system, bytes), bytes.len())).collect();
        match found.iter().find(|(_, at, _)| at.is_none()) {
            None => break (system, found),
            Some((name, ..)) if clusters > 2 * CLUSTERS.max(content / usize::from(CLUSTER)) => {
                return Err(Error::Apart(name));
            }
            Some(_) => clusters += 128,
        }
    };
    let mut folder = vec![record(b"\0", FOLDER, SECTOR, true), record(b"\x01", ROOT, SECTOR, true)];
    for (name, at, len) in files {
        let at = FAT + at.unwrap_or(0) / SECTOR;
        folder.push(record(format!("{name};1").as_bytes(), u32(at), len, false));
    }
    let root = [
        record(b"\0", ROOT, SECTOR, true),
        record(b"\x01", ROOT, SECTOR, true),
        record(b"STELE", FOLDER, SECTOR, true),
    ];
    let mut disc = vec![0; FAT * SECTOR];
    let mut put = |sector: usize, bytes: &[u8]| disc[sector * SECTOR..][..bytes.len()].copy_from_slice(bytes);
    put(16, &volume(u32(FAT + system.len() / SECTOR)));
    put(17, &boot_record());
    put(18, b"\xffCD001\x01");
    put(19, &path_table(u32::to_le_bytes, u16::to_le_bytes));
    put(20, &path_table(u32::to_be_bytes, u16::to_be_bytes));
    put(21, &root.concat());
    put(22, &folder.concat());
    put(23, &catalog());
    disc.extend(system);
    Ok(disc)
}

/// The FAT file system of so many bytes.
fn system(chain: &Chain<'_>, len: usize) -> Result<Vec<u8>, Error> {
    let boots = chain.boots()?;
    let mut system = Cursor::new(vec![0; len]);
    let id = u32::from_le_bytes(*boots.uki.0.digest.0.first_chunk().unwrap_or(&[0; 4]));
    let volume = fat::Volume { start: 0, len: len as u64, sector: 512, cluster: CLUSTER, id };
    fat::write(&mut system, &volume, chain.files(&boots))?;
    Ok(system.into_inner())
}

/// Where a file lies, when it does so in one piece on a sector's beginning.
fn place(system: &[u8], file: &[u8]) -> Option<usize> {
    let head = &file[..file.len().min(SECTOR)];
    let starts = (0..system.len()).step_by(SECTOR).filter(|at| system[*at..].starts_with(head));
    starts.into_iter().find(|at| system[*at..].starts_with(file))
}

fn u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// ECMA-119, 7.3.3 and 7.2.3: both byte orders, one after the other.
fn both32(number: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn both16(number: u16) -> [u8; 4] {
    let (little, big) = (number.to_le_bytes(), number.to_be_bytes());
    [little[0], little[1], big[0], big[1]]
}

/// A directory record, ECMA-119, 9.1; without a time.
fn record(name: &[u8], at: u32, len: usize, folder: bool) -> Vec<u8> {
    let mut record = vec![0, 0];
    record.extend(both32(at));
    record.extend(both32(u32(len)));
    record.extend([0; 7]);
    record.extend([u8::from(folder) << 1, 0, 0]);
    record.extend(both16(1));
    record.push(u8::try_from(name.len()).unwrap_or(0));
    record.extend(name);
    if record.len() % 2 == 1 {
        record.push(0);
    }
    record[0] = u8::try_from(record.len()).unwrap_or(0);
    record
}

/// The path tables, ECMA-119, 9.4: the root, and the folder in it.
fn path_table(word: fn(u32) -> [u8; 4], half: fn(u16) -> [u8; 2]) -> Vec<u8> {
    let entry = |name: &[u8], at: u32| {
        let mut entry = vec![u8::try_from(name.len()).unwrap_or(0), 0];
        entry.extend(word(at));
        entry.extend(half(1));
        entry.extend(name);
        entry.resize(entry.len().next_multiple_of(2), 0);
        entry
    };
    [entry(b"\0", ROOT), entry(b"STELE", FOLDER)].concat()
}

/// The primary volume descriptor, ECMA-119, 8.4.
fn volume(sectors: u32) -> Vec<u8> {
    let mut volume = vec![0; SECTOR];
    let mut put = |at: usize, bytes: &[u8]| volume[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"\x01CD001\x01");
    // Names are filled with blanks; a time of zeros is none.
    put(8, &[b' '; 64]);
    put(40, LABEL.as_bytes());
    put(80, &both32(sectors));
    put(120, &both16(1));
    put(124, &both16(1));
    put(128, &both16(2048));
    put(132, &both32(u32(path_table(u32::to_le_bytes, u16::to_le_bytes).len())));
    put(140, &19u32.to_le_bytes());
    put(148, &20u32.to_be_bytes());
    put(156, &record(b"\0", ROOT, SECTOR, true));
    put(190, &[b' '; 623]);
    for at in [813, 830, 847, 864] {
        put(at, &[b'0'; 16]);
    }
    put(881, &[1]);
    volume
}

/// El Torito 1.0, figure 7: where the catalog lies.
fn boot_record() -> Vec<u8> {
    let mut boot = vec![0; SECTOR];
    boot[..7].copy_from_slice(b"\0CD001\x01");
    boot[7..30].copy_from_slice(b"EL TORITO SPECIFICATION");
    boot[71..75].copy_from_slice(&CATALOG.to_le_bytes());
    boot
}

/// El Torito 1.0, figures 2 and 3: for UEFI, without emulation. A length of zero means up to the disc's end.
fn catalog() -> Vec<u8> {
    let mut catalog = vec![0; 64];
    catalog[..2].copy_from_slice(&[1, 0xef]);
    catalog[30..32].copy_from_slice(&[0x55, 0xaa]);
    let sum =
        catalog[..32].as_chunks::<2>().0.iter().fold(0u16, |sum, pair| sum.wrapping_add(u16::from_le_bytes(*pair)));
    catalog[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    catalog[32] = 0x88;
    catalog[40..44].copy_from_slice(&u32(FAT).to_le_bytes());
    catalog
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;
    use crate::whole::tests::{signed_loader, signed_uki};

    #[test]
    fn stock_tools_read_it_and_it_repeats() {
        let (loader, uki) = (signed_loader(), signed_uki("VERSION_ID=1.2.3\n", 3 << 20));
        let recovery = signed_uki("VERSION_ID=1.2.3\nVARIANT_ID=recovery\n", 1 << 20);
        let chain = Chain { loader: &loader, uki: &uki, recovery: Some(&recovery) };
        let disc = build(&chain).unwrap();
        assert!(disc == build(&chain).unwrap());
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("disc.iso");
        std::fs::write(&path, &disc).unwrap();
        let isoinfo = |words: &[&str]| {
            let image = ["-i".as_ref(), path.as_os_str()];
            host::program("isoinfo", "genisoimage").args(words).args(image).run().unwrap().stdout
        };
        let about = String::from_utf8(isoinfo(&["-d"])).unwrap();
        assert!(about.contains("Volume id: STELE\n") && about.contains("El Torito VD version 1 found"), "{about}");
        assert!(about.contains("Arch 239 ") && about.contains("Bootoff 20 32"), "{about}");
        for (name, content) in [("UKI", &uki), ("RECOVERY", &recovery), ("LOADER", &loader)] {
            assert!(isoinfo(&["-x", &format!("/STELE/{name}.EFI;1")]) == *content, "{name}");
        }
        let system = work.path().join("fat");
        std::fs::write(&system, &disc[FAT * SECTOR..]).unwrap();
        host::program("/usr/sbin/fsck.vfat", "dosfstools").args(["-n".as_ref(), system.as_os_str()]).run().unwrap();
    }
}
