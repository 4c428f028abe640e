//! The EFI system partition: a FAT32 file system with one file tree, written without root or loop devices.
//!
//! Times are FAT's zero and the volume id is given, so the bytes depend on the content alone.

use std::io::{self, Read, Seek, SeekFrom, Write};

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

/// Formats the volume and writes files into it; folders of a path are made.
///
/// # Errors
/// When writing fails or the files do not fit.
pub fn write<T: Read + Write + Seek>(device: &mut T, volume: &Volume, files: &[(&str, &[u8])]) -> io::Result<()> {
    let mut window = Window { device, start: volume.start, len: volume.len, at: 0 };
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat32)
        .bytes_per_sector(volume.sector)
        // 4 KiB: one block of the kernel's page cache, and enough clusters for FAT32 from 260 MiB up
        .bytes_per_cluster(4096)
        .volume_id(volume.id)
        .volume_label(*b"STELE-ESP  ");
    fatfs::format_volume(&mut window, options)?;
    window.at = 0;
    let system = fatfs::FileSystem::new(&mut window, fatfs::FsOptions::new().update_accessed_date(false))?;
    for (path, content) in files {
        let mut folder = system.root_dir();
        let mut parts: Vec<&str> = path.split('/').collect();
        let name = parts.pop().unwrap_or_default();
        for part in parts {
            folder = folder.create_dir(part)?;
        }
        let mut file = folder.create_file(name)?;
        file.write_all(content)?;
        file.flush()?;
    }
    system.unmount()
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
        let mut device = io::Cursor::new(first[1 << 20..].to_vec());
        let system = fatfs::FileSystem::new(&mut device, fatfs::FsOptions::new()).unwrap();
        let mut read = Vec::new();
        system.root_dir().open_file("EFI/BOOT/BOOTX64.EFI").unwrap().read_to_end(&mut read).unwrap();
        assert!(read == content);
    }
}
