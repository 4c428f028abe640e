//! Mounts, with errors that name the place. Called by init's first and last steps and by machined's controllers.

use rustix::mount::{self, MountPropagationFlags, UnmountFlags};
use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};

pub use rustix::mount::{MountFlags as Flags, MountPropagationFlags as Propagation};

/// A mount operation the kernel refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A NUL byte in the options.
    #[error("the mount options for {0} hold a NUL byte")]
    Options(PathBuf),
    /// A new mount.
    #[error("cannot mount {filesystem} from {from} on {on}")]
    Mount {
        /// Its type.
        filesystem: String,
        /// The source.
        from: PathBuf,
        /// The place.
        on: PathBuf,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// Any change of a mount that is there.
    #[error("cannot {verb} {on}")]
    Change {
        /// What was tried.
        verb: &'static str,
        /// The place.
        on: PathBuf,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
}

fn change(verb: &'static str, on: &Path) -> impl FnOnce(rustix::io::Errno) -> Error {
    move |cause| Error::Change { verb, on: on.into(), cause: cause.into() }
}

/// Mounts a filesystem; `options` as in mount(8)'s `-o`, without the flags.
pub fn new(filesystem: &str, from: &Path, on: &Path, flags: Flags, options: &str) -> Result<(), Error> {
    let options = CString::new(options).map_err(|_| Error::Options(on.into()))?;
    mount::mount(from, on, filesystem, flags, options.as_c_str()).map_err(|e| Error::Mount {
        filesystem: filesystem.into(),
        from: from.into(),
        on: on.into(),
        cause: e.into(),
    })
}

/// Moves a mount with everything under it.
pub fn relocate(from: &Path, on: &Path) -> Result<(), Error> {
    mount::mount_move(from, on).map_err(change("move a mount to", on))
}

/// Changes flags and options of the whole filesystem.
pub fn remount(on: &Path, flags: Flags, options: &str) -> Result<(), Error> {
    let options = CString::new(options).map_err(|_| Error::Options(on.into()))?;
    mount::mount_remount(on, flags, options.as_c_str()).map_err(change("remount", on))
}

/// How mounts under this one spread to other namespaces.
pub fn propagate(on: &Path, how: MountPropagationFlags) -> Result<(), Error> {
    mount::mount_change(on, how).map_err(change("change the propagation of", on))
}

/// Unmounts; EBUSY while used.
pub fn unmount(on: &Path) -> Result<(), Error> {
    mount::unmount(on, UnmountFlags::NOFOLLOW).map_err(change("unmount", on))
}

/// Undoes the escapes of a field of /proc/self/mountinfo: `\040` for blanks, tabs, newlines and backslashes.
#[must_use]
pub fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        rest = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                after
            }
            _ => {
                out.push(*first);
                tail
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape(br"/mnt/a\040b\134c"), br"/mnt/a b\c");
        assert_eq!(unescape(br"\9\"), br"\9\");
        assert_eq!(unescape(br"\777"), br"\777");
    }
}
