//! The few structures of FAT32 that are needed to swap two files of one folder by writing one sector (Microsoft, "FAT32 File System
//! Specification", 1.03). The volume must not be mounted.
//!
//! Linux can exchange two names on FAT (RENAME_EXCHANGE), but writes both entries one after the other: in between, two names share
//! one chain, and a repair then empties one of them.

use std::path::Path;

use sys::direct::{self, Device};

/// Of every read: the smallest there is, unless the volume has larger ones.
pub(super) const SECTOR: usize = 4096;
const ENTRY: usize = 32;
/// A directory of ours is short; longer ones are none of ours, or loop.
const CLUSTERS: usize = 64;
/// Not a name's, but a piece of a long name.
const LONG: u8 = 0x0f;

/// Why two files cannot be swapped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Device(#[from] direct::Error),
    #[error("it is no FAT32 file system")]
    Foreign,
    #[error("there is no {0}")]
    Missing(String),
    #[error("{0} and {1} lie in different sectors of their folder")]
    Apart(String, String),
    #[error("{0} and {1} share their content")]
    Shared(String, String),
}

/// A volume.
#[derive(Debug)]
pub(super) struct Volume {
    device: Device,
    sector: usize,
    cluster: usize,
    fat: u64,
    data: u64,
    root: u32,
}

/// A short name in a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Byte of the sector in the volume, and of the entry in the sector.
    sector: u64,
    at: usize,
    first: u32,
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn first(entry: &[u8]) -> u32 {
    u32::from(u16_at(entry, 20)) << 16 | u32::from(u16_at(entry, 26))
}

impl Volume {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let device = Device::read_write(path)?;
        let boot = device.read(0, SECTOR)?;
        let (sector, per_cluster) = (usize::from(u16_at(&boot, 11)), usize::from(boot[13]));
        let (reserved, fats) = (u64::from(u16_at(&boot, 14)), u64::from(boot[16]));
        let (short, long) = (u16_at(&boot, 22), u64::from(u32_at(&boot, 36)));
        let sane = matches!(sector, 512 | 1024 | 2048 | 4096) && per_cluster.is_power_of_two() && fats > 0;
        if !sane || short != 0 || long == 0 || u16_at(&boot, 510) != 0xaa55 {
            return Err(Error::Foreign);
        }
        let bytes = sector as u64;
        Ok(Self {
            sector,
            cluster: sector * per_cluster,
            fat: reserved * bytes,
            data: (reserved + fats * long) * bytes,
            root: u32_at(&boot, 44),
            device,
        })
    }

    /// Exchanges the content of two files of a folder, by one write of one sector. Folder and files by their short names, as
    /// 11 bytes each.
    pub(super) fn swap(&self, folder: &[[u8; 11]], one: &[u8; 11], other: &[u8; 11]) -> Result<(), Error> {
        let mut cluster = self.root;
        for name in folder {
            cluster = self.find(cluster, name)?.first;
        }
        let (a, b) = (self.find(cluster, one)?, self.find(cluster, other)?);
        if a.sector != b.sector {
            return Err(Error::Apart(shown(one), shown(other)));
        }
        if a.first == b.first {
            return Err(Error::Shared(shown(one), shown(other)));
        }
        let mut sector = self.device.read(a.sector, self.sector)?;
        // First cluster and size; times, too, which belong to the content.
        for at in (13..ENTRY).filter(|at| *at != 12) {
            sector.swap(a.at + at, b.at + at);
        }
        Ok(self.device.write(a.sector, &sector)?)
    }

    fn find(&self, folder: u32, name: &[u8; 11]) -> Result<Place, Error> {
        let mut cluster = folder;
        for _ in 0..CLUSTERS {
            let start = self.data + u64::from(cluster.checked_sub(2).ok_or(Error::Foreign)?) * self.cluster as u64;
            let bytes = self.device.read(start, self.cluster)?;
            for (index, entry) in bytes.chunks_exact(ENTRY).enumerate() {
                if entry[0] == 0 {
                    return Err(Error::Missing(shown(name)));
                }
                if entry[..11] == *name && entry[11] & LONG != LONG {
                    let byte = index * ENTRY;
                    let sector = start + (byte / self.sector * self.sector) as u64;
                    return Ok(Place { sector, at: byte % self.sector, first: first(entry) });
                }
            }
            match self.next(cluster)? {
                Some(next) => cluster = next,
                None => return Err(Error::Missing(shown(name))),
            }
        }
        Err(Error::Foreign)
    }

    fn next(&self, cluster: u32) -> Result<Option<u32>, Error> {
        let byte = u64::from(cluster) * 4;
        let sector = self.sector as u64;
        let bytes = self.device.read(self.fat + byte / sector * sector, self.sector)?;
        let at = usize::try_from(byte % sector).unwrap_or(0);
        let next = u32_at(&bytes, at) & 0x0fff_ffff;
        Ok((2..0x0fff_fff7).contains(&next).then_some(next))
    }
}

fn shown(name: &[u8; 11]) -> String {
    let text = |part: &[u8]| String::from_utf8_lossy(part).trim_end().to_owned();
    let (stem, extension) = (text(&name[..8]), text(&name[8..]));
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}
