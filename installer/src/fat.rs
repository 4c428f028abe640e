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
    /// Bytes of a cluster.
    pub cluster: u16,
    /// Volume id.
    pub id: u32,
}

/// Files of one cluster waste at most 4 KiB, and FAT32 has enough clusters from 260 MiB up.
pub const CLUSTER: u16 = 4096;

/// A file to be written.
#[expect(missing_debug_implementations, reason = "of what is read")]
pub struct File<'a> {
    /// With `/` between its parts.
    pub path: String,
    /// Read to its end.
    pub content: Box<dyn Read + 'a>,
}

/// Of one read.
const CHUNK: usize = 1 << 20;

/// Formats the volume and writes files into it; folders of a path are made. What lies there counts for nothing.
///
/// # Errors
/// When reading or writing fails or the files do not fit.
pub fn write<T: Read + Write + Seek>(device: &mut T, volume: &Volume, files: Vec<File<'_>>) -> io::Result<()> {
    let mut window = Window { device, start: volume.start, len: volume.len, at: 0 };
    let sector = SectorSize::try_from(usize::from(volume.sector)).map_err(|()| io::ErrorKind::InvalidInput)?;
    // no volume label: its entry would carry the time of the build
    let options = FatFormatOptions::new(volume.len)
        .fat_type(FatTypeSelection::Fat32)
        .sector_size(sector)
        .sectors_per_cluster(u8::try_from(volume.cluster / volume.sector).unwrap_or(1))
        .hidden_sectors(u32::try_from(volume.start / u64::from(volume.sector)).unwrap_or(0))
        .volume_id(volume.id);
    FatVolumeFormatter::format(&mut window, options).map_err(io::Error::other)?;
    window.at = 0;
    let system = FatVolume::builder(&mut window).time_provider(&EpochTimeProvider).open().map_err(io::Error::other)?;
    for mut file in files {
        put(&system, &file.path, &mut file.content)?;
    }
    system.into_inner().flush()
}

fn put<T: Read + Write + Seek>(
    system: &FatVolume<&mut Window<'_, T>>,
    path: &str,
    content: &mut dyn Read,
) -> io::Result<()> {
    let mut folder = system.root_dir();
    let mut parts: Vec<&str> = path.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    for part in parts {
        folder = match folder.open_dir(part) {
            Ok(found) => found,
            Err(_) => system.create_dir(&folder, part).map_err(io::Error::other)?,
        };
    }
    let file = system.create_file(&folder, name).map_err(io::Error::other)?;
    let mut writer = system.write_file(&file).map_err(io::Error::other)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = content.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        let mut rest = &chunk[..count];
        while !rest.is_empty() {
            let written = writer.write(rest).map_err(io::Error::other)?;
            rest = &rest[written..];
        }
    }
    writer.finish().map_err(io::Error::other)
}

/// Hands the content of a file to `each`, piece by piece; none: there is no such file.
///
/// # Errors
/// When the volume cannot be read.
pub fn read<T: Read + Seek>(
    device: &mut T,
    volume: &Volume,
    path: &str,
    mut each: impl FnMut(&[u8]),
) -> io::Result<Option<()>> {
    let mut window = Window { device, start: volume.start, len: volume.len, at: 0 };
    let system = FatVolume::open(&mut window).map_err(io::Error::other)?;
    let Ok(mut file) = system.open_file_path(path) else { return Ok(None) };
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).map_err(io::Error::other)? {
            0 => return Ok(Some(())),
            count => each(&chunk[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_repeats_whatever_was_there() {
        let content = vec![5; 100_000];
        let volume = Volume { start: 1 << 20, len: 299 << 20, sector: 512, cluster: CLUSTER, id: 7 };
        let make = |before: u8| {
            let mut device = io::Cursor::new(vec![before; 300 << 20]);
            let path = "EFI/BOOT/BOOTX64.EFI".to_owned();
            write(&mut device, &volume, vec![File { path, content: Box::new(&content[..]) }]).unwrap();
            device
        };
        let mut first = make(0);
        assert!(first == make(0));
        let read_back = |name: &str, device: &mut io::Cursor<Vec<u8>>| {
            let mut found = Vec::new();
            read(device, &volume, name, |bytes| found.extend_from_slice(bytes)).unwrap().map(|()| found)
        };
        assert!(read_back("EFI/BOOT/BOOTX64.EFI", &mut first).unwrap() == content);
        assert!(read_back("EFI/BOOT/BOOTX64.EFI", &mut make(0xe5)).unwrap() == content);
        assert_eq!(read_back("EFI/BOOT/BOOTX64.NEW", &mut make(0xe5)), None);
    }
}
