//! One file onto the EFI partition: written, flushed, and read back from the disk past the page cache.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use boot::Digest;
use config::image::esp::Source;
use sha2::{Digest as _, Sha256};
use sys::direct::{self, Device};

use super::Report;

/// Of one read or write.
const CHUNK: usize = 1 << 20;

/// Why a file is not there as it should be.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed; the causes say why")]
pub enum Error {
    #[error("cannot {verb} {path}")]
    Io {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(transparent)]
    Disk(#[from] direct::Error),
    #[error("{path} does not hold what it should: its SHA-256 is {found}")]
    Source { path: PathBuf, found: Digest },
    #[error("{path} does not hold what was written: the disk loses writes")]
    Lost { path: PathBuf },
    #[error("nobody listens any more")]
    Tell,
}

/// Copies a file; the folder is there. What lay under that name is replaced.
pub(super) fn copy(source: &Source, to: &Path, report: &mut Report<impl Write>) -> Result<(), Error> {
    let io = |verb, path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { verb, path, source }
    };
    let from = Path::new(&source.path);
    let mut input = File::open(from).map_err(io("open", from))?;
    let mut output = File::create(to).map_err(io("write", to))?;
    let (mut hash, mut chunk, mut done) = (Sha256::new(), vec![0; CHUNK], 0);
    loop {
        let count = input.read(&mut chunk).map_err(io("read", from))?;
        if count == 0 {
            break;
        }
        hash.update(&chunk[..count]);
        output.write_all(&chunk[..count]).map_err(io("write", to))?;
        done += count as u64;
        report.progress(done, source.size).map_err(|_| Error::Tell)?;
    }
    let (found, wanted) = (Digest(hash.finalize().into()), super::digest(&source.digest));
    if found != wanted {
        drop(output);
        fs::remove_file(to).map_err(io("delete", to))?;
        return Err(Error::Source { path: from.into(), found });
    }
    output.sync_all().map_err(io("flush", to))?;
    drop(output);
    super::files::sync(to.parent().unwrap_or(to)).map_err(io("flush", to))?;
    report.step("verify").map_err(|_| Error::Tell)?;
    match read_back(to, |done| report.progress(done, source.size).map_err(|_| Error::Tell))? {
        found if found == wanted => Ok(()),
        _ => Err(Error::Lost { path: to.into() }),
    }
}

/// SHA-256 of a file as it lies on the disk.
pub(super) fn read_back(path: &Path, mut each: impl FnMut(u64) -> Result<(), Error>) -> Result<Digest, Error> {
    let device = Device::read_only(path)?;
    let (mut hash, mut at) = (Sha256::new(), 0);
    loop {
        let bytes = device.read_some(at, CHUNK)?;
        hash.update(&bytes);
        at += bytes.len() as u64;
        each(at)?;
        // A file ends within a sector.
        if bytes.len() < CHUNK {
            return Ok(Digest(hash.finalize().into()));
        }
    }
}
