//! What volumes need of the machine: programs, mounts, and telling the kernel of partitions. Tests imitate it. All but the
//! programs block.

use std::fs::{self, File};
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sys::mount;
use sys::partition::{self, Place};

use crate::program::{self, Ended, Programs};

/// The powers.
pub(in super::super) trait Powers: Clone + Send + Sync + 'static {
    /// Runs a program of the image to its end.
    fn run(
        &self,
        program: &str,
        arguments: &[&str],
        within: Duration,
    ) -> impl Future<Output = Result<Ended, program::Error>> + Send;

    /// Mounts; makes the place.
    fn mount(&self, format: &str, device: &str, on: &Path, flags: mount::Flags, options: &str) -> io::Result<()>;

    /// Undoes a mount.
    fn unmount(&self, on: &Path) -> io::Result<()>;

    /// What is mounted there.
    fn mounted(&self, on: &Path) -> Option<String>;

    /// Whether the kernel knows a file system: its module may be missing yet.
    fn knows(&self, format: &str) -> bool;

    /// Tells the kernel of a new partition.
    fn add(&self, disk: &Path, place: Place) -> io::Result<()>;

    /// Tells the kernel of a partition's new length.
    fn resize(&self, disk: &Path, place: Place) -> io::Result<()>;
}

/// This machine's.
#[derive(Clone, Debug)]
pub(in super::super) struct Real {
    /// Runs programs.
    pub(in super::super) programs: Programs,
}

impl Powers for Real {
    async fn run(&self, program: &str, arguments: &[&str], within: Duration) -> Result<Ended, program::Error> {
        self.programs.run(program, arguments, within).await
    }

    fn mount(&self, format: &str, device: &str, on: &Path, flags: mount::Flags, options: &str) -> io::Result<()> {
        fs::create_dir_all(on)?;
        mount::new(format, Path::new(device), on, flags, options).map_err(cause)
    }

    fn unmount(&self, on: &Path) -> io::Result<()> {
        mount::unmount(on).map_err(cause)
    }

    fn mounted(&self, on: &Path) -> Option<String> {
        let table = fs::read("/proc/self/mountinfo").ok()?;
        top(&table, on)
    }

    fn knows(&self, format: &str) -> bool {
        let list = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        list.lines().any(|line| line.split_ascii_whitespace().next_back() == Some(format))
    }

    fn add(&self, disk: &Path, place: Place) -> io::Result<()> {
        partition::add(File::open(disk)?.as_fd(), place)
    }

    fn resize(&self, disk: &Path, place: Place) -> io::Result<()> {
        partition::resize(File::open(disk)?.as_fd(), place)
    }
}

/// The kernel's own word, by which damage is told from the rest.
fn cause(error: mount::Error) -> io::Error {
    match error {
        mount::Error::Mount { cause, .. } | mount::Error::Change { cause, .. } => cause,
        mount::Error::Options(_) => io::ErrorKind::InvalidInput.into(),
    }
}

/// The source of the uppermost mount there, by mountinfo (proc(5)).
fn top(table: &[u8], on: &Path) -> Option<String> {
    use std::os::unix::ffi::OsStringExt;
    let path = |field: &[u8]| PathBuf::from(std::ffi::OsString::from_vec(mount::unescape(field)));
    let source = |line: &[u8]| {
        let fields: Vec<_> = line.split(|byte| *byte == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        (path(fields.get(4)?) == on).then(|| path(fields.get(dash + 2)?).to_str().map(Into::into))?
    };
    table.split(|byte| *byte == b'\n').filter_map(source).next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uppermost_mount_of_a_place_counts() {
        let table = b"21 1 0:20 / / ro - erofs /rootfs.erofs ro\n\
            30 21 254:4 / /var rw,nosuid shared:1 master:2 - xfs /dev/vda4 rw\n31 30 0:1 / /var rw - tmpfs none rw\nodd\n\
            32 30 254:3 / /run/stele/state rw - ext4 /dev/vda3 rw,errors=remount-ro\n";
        assert_eq!(top(table, Path::new("/var")).as_deref(), Some("none"));
        assert_eq!(top(table, Path::new("/run/stele/state")).as_deref(), Some("/dev/vda3"));
        assert_eq!(top(table, Path::new("/nothing")), None);
    }
}
