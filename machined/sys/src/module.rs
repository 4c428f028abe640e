//! Loading kernel modules as they lie in the image: compressed ones are unpacked by the kernel (MODULE_DECOMPRESS).

use rustix::io::Errno;
use std::ffi::{CString, c_int};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// The kernel's MODULE_INIT_COMPRESSED_FILE.
const COMPRESSED: c_int = 4;

/// What became of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// It is new.
    Now,
    /// It was there, loaded before or built in.
    Before,
}

/// Why a module is not there.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No such file.
    #[error("cannot open the kernel module {0}")]
    Open(PathBuf, #[source] io::Error),
    /// A NUL byte in the parameters.
    #[error("the parameters of kernel module {0} hold a NUL byte")]
    Parameters(PathBuf),
    /// The kernel refused: ENOENT an unmet dependency, EKEYREJECTED a signature, ENODEV no such device, ENOEXEC another kernel.
    #[error("the kernel refused the module {0}")]
    Refused(PathBuf, #[source] io::Error),
}

impl Error {
    /// Whether the module is of no use on this machine, which is no fault.
    #[must_use]
    pub fn no_device(&self) -> bool {
        matches!(self, Self::Refused(_, cause) if cause.raw_os_error() == Some(libc::ENODEV))
    }
}

/// Loads a `.ko`, `.ko.xz`, `.ko.zst` or `.ko.gz` with its parameters (`"a=1 b=2"`); dependencies must be there. Takes the time
/// of a signature check.
pub fn load(path: &Path, parameters: &str) -> Result<Loaded, Error> {
    let file = File::open(path).map_err(|e| Error::Open(path.into(), e))?;
    let parameters = CString::new(parameters).map_err(|_| Error::Parameters(path.into()))?;
    let compressed = path.extension().is_some_and(|suffix| suffix != "ko");
    match rustix::system::finit_module(&file, &parameters, if compressed { COMPRESSED } else { 0 }) {
        Ok(()) => Ok(Loaded::Now),
        Err(Errno::EXIST) => Ok(Loaded::Before),
        Err(e) => Err(Error::Refused(path.into(), e.into())),
    }
}
