//! Mounts, with errors that name the place. Called by init's first and last steps and by machined's controllers.

use rustix::mount::{self, MountFlags, MountPropagationFlags, UnmountFlags};
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

/// Makes a tree visible at a second place, with what is mounted under it when `recursive`.
pub fn bind(from: &Path, on: &Path, recursive: bool) -> Result<(), Error> {
    let done = if recursive { mount::mount_bind_recursive(from, on) } else { mount::mount_bind(from, on) };
    done.map_err(|e| Error::Mount { filesystem: "bind".into(), from: from.into(), on: on.into(), cause: e.into() })
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

/// Changes the flags of this one mount, not of its filesystem (a bind made read-only, nosuid, …).
pub fn reflag(on: &Path, flags: Flags) -> Result<(), Error> {
    mount::mount_remount(on, MountFlags::BIND | flags, c"").map_err(change("change the flags of", on))
}

/// How mounts under this one spread to other namespaces.
pub fn propagate(on: &Path, how: MountPropagationFlags) -> Result<(), Error> {
    mount::mount_change(on, how).map_err(change("change the propagation of", on))
}

/// Unmounts; EBUSY while used.
pub fn unmount(on: &Path) -> Result<(), Error> {
    mount::unmount(on, UnmountFlags::NOFOLLOW).map_err(change("unmount", on))
}

/// Takes the mount out of sight now, and away when nobody uses it any more.
pub fn detach(on: &Path) -> Result<(), Error> {
    mount::unmount(on, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH).map_err(change("detach", on))
}
