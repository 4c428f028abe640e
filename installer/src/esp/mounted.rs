//! The partition while it is mounted, and the repair before that.

use std::io::Write;
use std::path::{Path, PathBuf};

use sys::direct::Device;
use sys::mount::{self, Flags};

use super::fat::SECTOR;
use super::{Error, Report, copy, files};

/// Of the image, as a link to fsck.fat.
const FSCK: &str = "/usr/sbin/fsck.vfat";
/// FAT32: the byte of the boot sector in which Linux notes that the file system is in use, and the bit.
const STATE: usize = 0x41;
const DIRTY: u8 = 1;
/// What one run of fsck.vfat may tell.
const TOLD: usize = 400;

/// A mounted partition; unmounted when it is dropped.
pub(super) struct Mounted {
    root: PathBuf,
    left: bool,
}

impl Mounted {
    pub(super) fn new(device: &Path, on: &Path) -> Result<Self, Error> {
        let flags = Flags::NOSUID | Flags::NODEV | Flags::NOEXEC;
        // A damaged one must not be written any further.
        let options = "umask=0077,codepage=437,iocharset=ascii,shortname=mixed,errors=remount-ro";
        mount::new("vfat", device, on, flags, options)?;
        let mounted = Self { root: on.to_owned(), left: false };
        // That it is in use is on the disk before the first change: a repair is due by that alone.
        files::sync(on).map_err(Error::io("flush", on))?;
        Ok(mounted)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Unmounts it: from then on the disk holds everything, and is not in use.
    pub(super) fn leave(mut self) -> Result<(), Error> {
        self.left = true;
        files::sync(&self.root).map_err(Error::io("flush", &self.root))?;
        Ok(mount::unmount(&self.root)?)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !self.left
            && let Err(error) = mount::unmount(&self.root)
        {
            eprintln!("{error}");
        }
    }
}

/// Repairs a partition that was in use when the power went. Whether it was.
pub(super) fn repair(device: &Path, on: &Path, report: &mut Report<impl Write>) -> Result<bool, Error> {
    // An earlier start that was killed left its mount.
    while mount::unmount(on).is_ok() {}
    let sector = Device::read_only(device).and_then(|device| device.read(0, SECTOR)).map_err(copy::Error::from)?;
    if sector.get(STATE).is_none_or(|state| state & DIRTY == 0) {
        return Ok(false);
    }
    report.warn("the EFI partition was in use when the machine stopped: it is checked and repaired".into())?;
    let told = fsck(device)?;
    let mounted = Mounted::new(device, on)?;
    let gone = files::clear_salvage(mounted.root())?;
    mounted.leave()?;
    if gone > 0 || !told.is_empty() {
        report.warn(format!("repaired the EFI partition: {told}; {gone} files without a name are gone"))?;
    }
    Ok(true)
}

/// What it said of what it mended.
#[expect(clippy::disallowed_methods, reason = "machined supervises this program and whatever it starts, by its cgroup")]
fn fsck(device: &Path) -> Result<String, Error> {
    let output = std::process::Command::new(FSCK).arg("-a").arg(device).output();
    let output = output.map_err(Error::io("run", Path::new(FSCK)))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let told = said.lines().skip(1).map(str::trim).collect::<Vec<_>>().join("; ");
    let told: String = told.chars().take(TOLD).collect();
    match output.status.code() {
        // 1: there was something to mend, and it is mended.
        Some(0 | 1) => Ok(told),
        _ => Err(Error::Repair { device: device.into(), told }),
    }
}
