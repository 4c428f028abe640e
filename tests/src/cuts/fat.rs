//! Reads FAT32 (Microsoft, "FAT32 File System Specification", 1.03) as strictly as it can, where a file system was left in the
//! middle of a change: every file with the clusters that hold it.
//!
//! Invariant: nothing is guessed. A chain that ends early, loops or leaves the volume is told as such.

use std::{collections::BTreeMap, fs, ops::Range, os::unix::fs::FileExt};

use anyhow::{Context, Result, bail, ensure};

const ENTRY: usize = 32;
/// Attributes of a piece of a long name, of a label, of a folder.
const LONG: u8 = 0x0f;
const LABEL: u8 = 0x08;
const FOLDER: u8 = 0x10;
/// Of the boot sector: Linux notes there that the file system is in use.
const STATE: usize = 0x41;
/// Folders of ours are not deeper.
const DEPTH: usize = 6;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Bytes.
    pub size: u64,
    /// Where it lies on the disk, in its order.
    pub places: Vec<Range<u64>>,
}

/// A file system: what its tables and folders say.
#[derive(Debug)]
pub struct Volume {
    /// It was in use.
    pub dirty: bool,
    /// Files by their paths, in lower case; or what is wrong with one.
    pub files: BTreeMap<String, Result<File, String>>,
    /// Bytes of the volume that are its tables, then those of its folders.
    pub tables: Vec<Range<u64>>,
}

struct Reader<'a> {
    disk: &'a fs::File,
    start: u64,
    cluster: u64,
    data: u64,
    table: Vec<u8>,
}

impl Volume {
    /// Reads the one that begins at this byte of a disk. Places are bytes of the volume.
    pub fn read(disk: &fs::File, start: u64) -> Result<Self> {
        let mut boot = [0; 512];
        disk.read_exact_at(&mut boot, start).context("reading the boot sector")?;
        let (sector, per_cluster) = (u64::from(u16_at(&boot, 11)), u64::from(boot[13]));
        let (reserved, fats, len) = (u64::from(u16_at(&boot, 14)), u64::from(boot[16]), u64::from(u32_at(&boot, 36)));
        let sane = matches!(sector, 512 | 4096) && per_cluster.is_power_of_two() && fats == 2 && len > 0;
        ensure!(sane && u16_at(&boot, 510) == 0xaa55 && u16_at(&boot, 22) == 0, "it is no FAT32 file system");
        let mut table = vec![0; usize::try_from(len * sector)?];
        disk.read_exact_at(&mut table, start + reserved * sector).context("reading the table of clusters")?;
        let data = (reserved + fats * len) * sector;
        let reader = Reader { disk, start, cluster: sector * per_cluster, data, table };
        let mut volume = Self { dirty: boot[STATE] & 1 != 0, files: BTreeMap::new(), tables: Vec::new() };
        volume.tables.push(0..data);
        volume.folder(&reader, String::new(), u32_at(&boot, 44), DEPTH)?;
        Ok(volume)
    }

    fn folder(&mut self, reader: &Reader<'_>, path: String, first: u32, depth: usize) -> Result<()> {
        ensure!(depth > 0, "{path}: folders in folders without end");
        let chain = reader.chain(first).map_err(|why| anyhow::anyhow!("the folder /{path}: {why}"))?;
        let mut bytes = Vec::new();
        for cluster in &chain {
            let place = reader.place(*cluster);
            let mut one = vec![0; usize::try_from(reader.cluster)?];
            reader.disk.read_exact_at(&mut one, reader.start + place.start).context("reading a folder")?;
            bytes.extend(one);
            self.tables.push(place);
        }
        let mut long = Vec::new();
        for entry in bytes.chunks_exact(ENTRY) {
            match (entry[0], entry[11]) {
                (0, _) => break,
                (0xe5, _) => long.clear(),
                (_, LONG) => long.push(entry),
                (_, attributes) => {
                    let name = long_name(&long, entry).unwrap_or_else(|| short_name(entry));
                    long.clear();
                    if attributes & LABEL != 0 || name == "." || name == ".." {
                        continue;
                    }
                    let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                    let first = u32::from(u16_at(entry, 20)) << 16 | u32::from(u16_at(entry, 26));
                    if attributes & FOLDER != 0 {
                        self.folder(reader, path, first, depth - 1)?;
                        continue;
                    }
                    let file = reader.file(first, u64::from(u32_at(entry, 28)));
                    if self.files.insert(path.clone(), file).is_some() {
                        bail!("/{path} is there twice");
                    }
                }
            }
        }
        Ok(())
    }
}

impl Reader<'_> {
    fn place(&self, cluster: u32) -> Range<u64> {
        let start = self.data + u64::from(cluster - 2) * self.cluster;
        start..start + self.cluster
    }

    fn chain(&self, first: u32) -> Result<Vec<u32>, String> {
        let most = self.table.len() / 4;
        let (mut chain, mut cluster) = (Vec::new(), first);
        loop {
            let at = cluster as usize * 4;
            if cluster < 2 || at + 4 > self.table.len() {
                return Err(format!("its chain goes to cluster {cluster} after {} clusters", chain.len()));
            }
            chain.push(cluster);
            if chain.len() > most {
                return Err("its chain has no end".into());
            }
            match u32_at(&self.table, at) & 0x0fff_ffff {
                0x0fff_fff8.. => return Ok(chain),
                next => cluster = next,
            }
        }
    }

    fn file(&self, first: u32, size: u64) -> Result<File, String> {
        if first == 0 {
            return if size == 0 { Ok(File { size, places: Vec::new() }) } else { Err("it has no clusters".into()) };
        }
        let chain = self.chain(first)?;
        if chain.len() as u64 != size.div_ceil(self.cluster) {
            return Err(format!("it has {} clusters for {size} bytes", chain.len()));
        }
        let mut places: Vec<Range<u64>> = Vec::new();
        for cluster in chain {
            let place = self.place(cluster);
            match places.last_mut() {
                Some(last) if last.end == place.start => last.end = place.end,
                _ => places.push(place),
            }
        }
        if let Some(last) = places.last_mut() {
            last.end -= (self.cluster - size % self.cluster) % self.cluster;
        }
        Ok(File { size, places })
    }
}

/// Of the pieces before a short name, last one first; none unless they are complete and its own.
fn long_name(pieces: &[&[u8]], short: &[u8]) -> Option<String> {
    let sum = short[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    let mut units = Vec::new();
    for (number, piece) in (1..).zip(pieces.iter().rev()) {
        let last = if number == pieces.len() { 0x40 } else { 0 };
        if usize::from(piece[0]) != number | last || piece[13] != sum {
            return None;
        }
        for range in [1..11, 14..26, 28..32] {
            units.extend(piece[range].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]])));
        }
    }
    let end = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
    let name = String::from_utf16(&units[..end]).ok()?.to_ascii_lowercase();
    (!name.is_empty()).then_some(name)
}

fn short_name(entry: &[u8]) -> String {
    let text = |part: &[u8]| String::from_utf8_lossy(part).trim_end().to_ascii_lowercase();
    let (stem, extension) = (text(&entry[..8]), text(&entry[8..11]));
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::child;

    const NAME: &str = "/EFI/stele/0123456789012345678901234567890123456789.efi";

    fn run(program: &str, arguments: &[&str]) {
        let output = child::free(program).args(arguments).output().unwrap();
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    }

    fn made(folder: &Path, content: &[u8]) -> fs::File {
        let (disk, file) = (folder.join("disk").display().to_string(), folder.join("file").display().to_string());
        fs::File::create(&disk).unwrap().set_len(64 << 20).unwrap();
        fs::write(&file, content).unwrap();
        run("mkfs.vfat", &["-F", "32", "-s", "1", &disk]);
        run("mmd", &["-i", &disk, "::/EFI", "::/EFI/stele"]);
        run("mcopy", &["-i", &disk, &file, &format!("::{NAME}")]);
        run("mcopy", &["-i", &disk, &file, "::/SHORT.TXT"]);
        fs::OpenOptions::new().read(true).write(true).open(disk).unwrap()
    }

    #[test]
    fn reads_what_stock_tools_write_and_tells_a_chain_that_ends_early() {
        let folder = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..5000_u32).map(|byte| byte.to_le_bytes()[0]).collect();
        let disk = made(folder.path(), &content);
        let volume = Volume::read(&disk, 0).unwrap();
        let paths: Vec<_> = volume.files.keys().map(String::as_str).collect();
        assert_eq!(paths, [NAME.trim_start_matches('/').to_ascii_lowercase().as_str(), "short.txt"]);
        let file = volume.files["short.txt"].clone().unwrap();
        let mut found = Vec::new();
        for place in &file.places {
            let mut bytes = vec![0; usize::try_from(place.end - place.start).unwrap()];
            disk.read_exact_at(&mut bytes, place.start).unwrap();
            found.extend(bytes);
        }
        assert!(found == content && !volume.dirty);
        // The link after the file's second cluster is lost.
        let table = volume.tables[0].clone();
        let clusters = (file.places[0].start - table.end) / 512 + 2;
        let mut boot = [0; 16];
        disk.read_exact_at(&mut boot, 0).unwrap();
        let fat = u64::from(u16_at(&boot, 14)) * 512;
        disk.write_all_at(&[0; 4], fat + (clusters + 1) * 4).unwrap();
        let why = Volume::read(&disk, 0).unwrap().files["short.txt"].clone().unwrap_err();
        assert_eq!(why, "its chain goes to cluster 0 after 2 clusters");
    }
}
