//! The disk that is written, while nobody else may use it; a plain file in tests.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use boot::part;

use super::Error;
use crate::disk::{END, MIB};

/// Whoever looks at a partition holds the disk's table: machined looks at each for moments, a slow disk takes seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);
/// Of the image, as a link to fsck.fat.
const FSCK: &str = "/usr/sbin/fsck.vfat";

/// The disk.
pub(super) struct Target {
    path: PathBuf,
    pub(super) file: File,
    pub(super) size: u64,
    pub(super) sector: u16,
    device: bool,
}

impl Target {
    pub(super) fn open(path: &Path, sequence: u64) -> Result<Self, Error> {
        let failed = |error: io::Error| match error.raw_os_error() {
            Some(code) if code == rustix::io::Errno::BUSY.raw_os_error() => Error::Busy(path.to_owned()),
            _ => Error::io("open", path)(error),
        };
        let device = fs::metadata(path).map_err(Error::io("look at", path))?.file_type().is_block_device();
        let mut options = File::options();
        options.read(true).write(true);
        if device {
            let exclusive = rustix::fs::OFlags::EXCL;
            options.custom_flags(i32::try_from(exclusive.bits()).unwrap_or_default());
        }
        let mut file = options.open(path).map_err(failed)?;
        // Asked with the disk held: from here on it is this one.
        if device && number(&sys(path).join("diskseq")) != Some(sequence) {
            return Err(Error::Other(path.to_owned()));
        }
        let size = file.seek(SeekFrom::End(0)).map_err(Error::io("read", path))?;
        let sector = if device {
            rustix::fs::ioctl_blksszget(&file).map_err(|error| Error::io("look at", path)(error.into()))?
        } else {
            512
        };
        match u16::try_from(sector) {
            Ok(sector @ (512 | 4096)) => Ok(Self { path: path.to_owned(), file, size, sector, device }),
            _ => Err(Error::Sector { path: path.to_owned(), sector }),
        }
    }

    pub(super) fn flush(&self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::io("flush", &self.path))
    }

    /// Makes it a disk on which nobody finds anything: tables at both ends, then what lies where partitions begin and end, and
    /// where ours will.
    pub(super) fn wipe(&mut self) -> Result<(), Error> {
        let old = if self.device { partitions(&self.path) } else { Vec::new() };
        self.zero(0..MIB)?;
        self.zero(self.size - MIB..self.size)?;
        self.flush()?;
        self.reread()?;
        for range in &old {
            self.zero(range.start..range.end.min(range.start.saturating_add(MIB)))?;
            self.zero(range.end.saturating_sub(MIB).max(range.start)..range.end)?;
        }
        let state = part::STATE.size.unwrap_or(MIB);
        for start in [MIB, END, END + state] {
            self.zero(start..start + MIB)?;
        }
        self.flush()
    }

    fn zero(&mut self, range: Range<u64>) -> Result<(), Error> {
        let range = range.start.min(self.size)..range.end.min(self.size);
        let len = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
        let mut write = || {
            self.file.seek(SeekFrom::Start(range.start))?;
            self.file.write_all(&vec![0; len])
        };
        write().map_err(Error::io("wipe", &self.path))
    }

    /// The kernel takes over the table that is on the disk now.
    #[expect(clippy::disallowed_methods, reason = "there is no event for a table that nobody looks at any more")]
    pub(super) fn reread(&self) -> Result<(), Error> {
        if !self.device {
            return Ok(());
        }
        let until = Instant::now() + PATIENCE;
        loop {
            match sys::partition::reread(self.file.as_fd()) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() != ErrorKind::ResourceBusy => {
                    return Err(Error::io("read the table of", &self.path)(error));
                }
                Err(_) if Instant::now() >= until => return Err(Error::Busy(self.path.clone())),
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// Where the kernel shows a disk.
fn sys(device: &Path) -> PathBuf {
    Path::new("/sys/class/block").join(device.file_name().unwrap_or_default())
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The folders of a disk's partitions.
fn folders(device: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(sys(device)).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.join("partition").exists()).collect()
}

/// The partitions that the kernel knows, in bytes.
fn partitions(device: &Path) -> Vec<Range<u64>> {
    // The kernel counts them in 512 bytes, whatever the sector.
    let one = |path: PathBuf| {
        let start = number(&path.join("start"))? * 512;
        Some(start..start + number(&path.join("size"))? * 512)
    };
    folders(device).into_iter().filter_map(one).collect()
}

/// What is left once nobody holds the disk: its partitions are there, and the EFI partition is clean in the eyes of fsck.vfat.
#[expect(clippy::disallowed_methods, reason = "machined supervises this program and whatever it starts, by its cgroup")]
pub(super) fn check(device: &Path) -> Result<(), Error> {
    let differs = |what: String| Error::Differs { device: device.to_owned(), what };
    let found = folders(device).into_iter().find(|path| number(&path.join("partition")) == Some(1));
    let name = found.as_deref().and_then(Path::file_name);
    let name = name.ok_or_else(|| differs("the kernel finds no partition on it".into()))?;
    let part = Path::new("/dev").join(name);
    let output = std::process::Command::new(FSCK).arg("-n").arg(&part).output();
    let output = output.map_err(Error::io("run", Path::new(FSCK)))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let said: Vec<_> = said.lines().skip(1).map(str::trim).collect();
    Err(differs(format!("fsck.vfat of {}: {}", part.display(), said.join("; "))))
}
