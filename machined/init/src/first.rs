//! The first stage, from the initramfs to the real root: nine steps, in order. Called by `main` when the image is there.

use crate::Console;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use std::path::{Path, PathBuf};
use sys::Chain;
use sys::kmsg::Level;
use sys::module;
use sys::mount::{self, Flags};

/// Where the root is put together before it becomes `/`.
const ROOT: &str = "/root";
/// Modules the root needs, `NN-name.ko.xz`, in order of loading.
const MODULES: &str = "/modules";

/// Why there is no root.
#[derive(Debug)]
pub enum Error {
    /// The root image does not mount.
    Root(mount::Error),
    /// The root is mounted, but cannot become `/`.
    Enter(&'static str, io::Error),
    /// A mount could not be taken along.
    Carry(mount::Error),
}

/// Leaves the initramfs: on return `/` is the image, with /proc, /sys, /dev and /run mounted.
pub fn stage(image: &Path) -> Result<(), Error> {
    // 1. The kernel's filesystems; /dev first, so that there is a console for what fails.
    let safe = Flags::NOSUID | Flags::NOEXEC | Flags::NODEV;
    let mounts = [
        ("devtmpfs", "/dev", Flags::NOSUID, "mode=0755"),
        ("proc", "/proc", safe, ""),
        ("sysfs", "/sys", safe, ""),
        ("tmpfs", "/run", Flags::NOSUID | Flags::NODEV, "mode=0755"),
    ];
    let made = mounts.map(|(kind, on, flags, options)| {
        let _ = std::fs::create_dir(on);
        (on, mount::new(kind, Path::new(kind), Path::new(on), flags, options))
    });
    occupy();
    let mut console = Console::open();
    // 2. Said only now; a machine without one of them may still get to its API.
    for e in made.iter().filter_map(|(_, made)| made.as_ref().err()) {
        console.warn(format_args!("{}; this is going to hurt", Chain(e)));
    }
    // 3. What the root needs and the kernel has as modules.
    load(&mut console);
    // 4. The root, straight from the file: needs CONFIG_EROFS_FS_BACKED_BY_FILE and an initramfs on ramfs.
    let root = Path::new(ROOT);
    let _ = std::fs::create_dir(root);
    mount::new("erofs", image, root, Flags::RDONLY | Flags::NODEV, "").map_err(Error::Root)?;
    // 5. The mounts move in.
    carry(&made, |on| mount::relocate(Path::new(on), &root.join(&on[1..]))).map_err(Error::Carry)?;
    // 6. An initramfs cannot be pivoted away from, so the root is moved over it, and then entered.
    rustix::process::chdir(ROOT).map_err(|e| Error::Enter("entering the new root", e.into()))?;
    mount::relocate(Path::new("."), Path::new("/")).map_err(Error::Carry)?;
    rustix::process::chroot(".").map_err(|e| Error::Enter("chroot into the new root", e.into()))?;
    rustix::process::chdir("/").map_err(|e| Error::Enter("going to the top of the new root", e.into()))
}

/// Moves what was mounted; the kernel refuses to move what is no mount, and the machine goes on without it.
fn carry<E>(made: &[(&str, Result<(), E>)], mut relocate: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    made.iter().filter(|(_, made)| made.is_ok()).try_for_each(|(on, _)| relocate(on))
}

/// Opens descriptors 0 to 2 where the kernel had no console to put there: what is opened later must not get their numbers.
fn occupy() {
    while let Ok(null) = File::options().read(true).write(true).open("/dev/null") {
        if null.as_raw_fd() > 2 {
            break;
        }
        let _: RawFd = null.into_raw_fd();
    }
}

/// Loads the modules by name order and frees their memory; what fails is said and survived.
fn load(console: &mut Console) {
    let Ok(found) = std::fs::read_dir(MODULES) else { return };
    let mut paths: Vec<PathBuf> = found.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        match module::load(&path, "") {
            Ok(_) => {}
            // An accelerator of another processor, a driver of another platform.
            Err(e) if e.no_device() => console.note(Level::Info, format_args!("{}", Chain(&e))),
            Err(e) => console.warn(format_args!("{}", Chain(&e))),
        }
        let _ = std::fs::remove_file(&path);
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root(e) => write!(
                f,
                "no root: {}. It needs the file, a kernel with file-backed erofs, and rootfstype=ramfs on the kernel \
                 command line; boot another image of Stele",
                Chain(e)
            ),
            Self::Enter(what, e) => write!(f, "{what} failed: {e}; boot another image of Stele"),
            Self::Carry(e) => write!(f, "{}; boot another image of Stele", Chain(e)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_mounted_is_not_carried() {
        let made = [("/dev", Ok(())), ("/sys", Err("ENODEV")), ("/run", Ok(()))];
        let mut moved = Vec::new();
        let kernel = |on: &str| {
            if on == "/sys" {
                return Err("EINVAL");
            }
            moved.push(on.to_owned());
            Ok(())
        };
        carry(&made, kernel).unwrap();
        assert_eq!(moved, ["/dev", "/run"]);
        assert_eq!(carry(&made, |_| Err("EBUSY")), Err("EBUSY"));
    }
}
