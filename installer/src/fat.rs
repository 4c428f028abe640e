//! The EFI system partition: a FAT32 file system with one file tree, written without root or loop devices.
//!
//! Times are FAT's first day (1980) and the volume id is given, so the bytes depend on the content alone.

use std::io::{self, Read, Seek, SeekFrom, Write};

use hadris_fat::format::{FatFormatOptions, FatTypeSelection, FatVolumeFormatter, SectorSize};
use hadris_fat::time::EpochTimeProvider;
use hadris_fat::{FatVolume, FatVolumeWriteExt};

/// A window into a file: the file system sees it as a whole device.
struct Window<'a, T> {
    device: &'a mut T,
    start: u64,
    len: u64,
    at: u64,
}

impl<T: Read + Seek> Read for Window<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX).min(buffer.len());
        self.device.seek(SeekFrom::Start(self.start + self.at))?;
        let read = self.device.read(&mut buffer[..left])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<T: Write + Seek> Write for Window<'_, T> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX).min(buffer.len());
        self.device.seek(SeekFrom::Start(self.start + self.at))?;
        let written = self.device.write(&buffer[..left])?;
        self.at += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.device.flush()
    }
}

impl<T> Seek for Window<'_, T> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = target.filter(|&at| at <= self.len).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Where the file system lies and how it is identified.
pub struct Volume {
    /// First byte in the device.
    pub start: u64,
    /// Bytes.
    pub len: u64,
    /// Logical sector of the device: 512 or 4096.
    pub sector: u16,
    /// Volume id.
    pub id: u32,
}

/// Files of one cluster waste at most 4 KiB, and FAT32 has enough clusters from 260 MiB up.
const CLUSTER: u16 = 4096;

/// Formats the volume and writes files into it; folders of a path are made.
///
/// # Errors
/// When writing fails or the files do not fit.
pub fn write<T: Read + Write + Seek>(device: &mut T, volume: &Volume, files: &[(&str, &[u8])]) -> io::Result<()> {
    let mut window = Window { device, start: volume.start, len: volume.len, at: 0 };
    let sector = SectorSize::try_from(usize::from(volume.sector)).map_err(|()| io::ErrorKind::InvalidInput)?;
    // no volume label: its entry would carry the time of the build
    let options = FatFormatOptions::new(volume.len)
        .fat_type(FatTypeSelection::Fat32)
        .sector_size(sector)
        .sectors_per_cluster(u8::try_from(CLUSTER / volume.sector).unwrap_or(1))
        .hidden_sectors(u32::try_from(volume.start / u64::from(volume.sector)).unwrap_or(0))
        .volume_id(volume.id);
    FatVolumeFormatter::format(&mut window, options).map_err(io::Error::other)?;
    window.at = 0;
    let system = FatVolume::builder(&mut window).time_provider(&EpochTimeProvider).open().map_err(io::Error::other)?;
    for (path, content) in files {
        put(&system, path, content).map_err(io::Error::other)?;
    }
    system.into_inner().flush()
}

fn put<T: Read + Write + Seek>(
    system: &FatVolume<&mut Window<'_, T>>,
    path: &str,
    mut content: &[u8],
) -> hadris_fat::Result<()> {
    let mut folder = system.root_dir();
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    for part in parts {
        folder = match folder.open_dir(part) {
            Ok(found) => found,
            Err(_) => system.create_dir(&folder, part)?,
        };
    }
    let mut writer = system.write_file(&system.create_file(&folder, name)?)?;
    while !content.is_empty() {
        let written = writer.write(content)?;
        content = &content[written..];
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_repeats() {
        let content = vec![5; 100_000];
        let make = || {
            let mut device = io::Cursor::new(vec![0; 300 << 20]);
            let volume = Volume { start: 1 << 20, len: 299 << 20, sector: 512, id: 7 };
            write(&mut device, &volume, &[("EFI/BOOT/BOOTX64.EFI", &content)]).unwrap();
            device.into_inner()
        };
        let first = make();
        assert!(first == make());
        let mut device = io::Cursor::new(&first[1 << 20..]);
        let system = FatVolume::open(&mut device).unwrap();
        let mut file = system.open_file_path("EFI/BOOT/BOOTX64.EFI").unwrap();
        let (mut read, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            let count = file.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            read.extend_from_slice(&buffer[..count]);
        }
        assert!(read == content);
    }
}
