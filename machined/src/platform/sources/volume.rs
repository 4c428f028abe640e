//! The files on a volume of NoCloud. Mounted where nobody else can look: the mount is in no folder, only this code has its
//! descriptor, and it ends with that. Blocking.
//!
//! Invariant: of each file at most [`RAW`] bytes are read; nothing is followed, run, or written.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use zeroize::Zeroizing;

use crate::platform::decode::RAW;
use crate::platform::seed::Seed;

/// Why a volume cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot mount it as {format}")]
    Mount {
        format: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot read its file {file}")]
    Read {
        file: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("its file {0} is no plain file")]
    Odd(&'static str),
}

/// Reads the files of NoCloud; `format` is the kernel's name of the file system.
pub(super) fn read(device: &str, format: &str) -> Result<Seed, Error> {
    let root = mount(device, format).map_err(|error| Error::Mount { format: format.into(), source: error.into() })?;
    Ok(Seed {
        user_data: file(&root, "user-data")?,
        meta_data: file(&root, "meta-data")?,
        network_config: file(&root, "network-config")?,
        vendor_data: file(&root, "vendor-data")?.is_some_and(|bytes| !bytes.is_empty()),
    })
}

fn mount(device: &str, format: &str) -> rustix::io::Result<OwnedFd> {
    let context = fsopen(format, FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(&context, "source", device)?;
    fsconfig_set_flag(&context, "ro")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// None: there is no such file, or nothing in it.
fn file(root: &OwnedFd, name: &'static str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let failed = |source: io::Error| Error::Read { file: name, source };
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = match openat(root, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(rustix::io::Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(error.into())),
    };
    let stat = fstat(&file).map_err(|error| failed(error.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Error::Odd(name));
    }
    let mut bytes = Zeroizing::new(Vec::new());
    // One byte more says that there is more.
    File::from(file).take(RAW as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}
