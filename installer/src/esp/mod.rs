//! The EFI system partition of a machine that runs: mounted just for a change, repaired first when a change was cut off, and every
//! file read back from the disk before it counts. Called by the program `installer`, as root.
//!
//! ```text
//! look (dirty, leftovers) -> fsck -> clear what is not wanted: entries, then UKIs -> room -> write UKIs, read back
//!   -> entries that are missing -> unmount -> the loader: beside the old one, read back, swapped by one sector
//! ```
//! Invariant: what is to be kept is never opened for writing, and entries go before the files that they name. Whatever is cut off
//! is found by the next start from what lies there; nothing is remembered.

mod copy;
mod fat;
mod files;
mod loader;
mod look;
mod mounted;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};

use ::boot::entry::Which;
use config::image::esp::{Done, Failed, Line, Progress, Request, Source};

pub use copy::Error as CopyError;

/// Left free: entries, the loader's copy, and room for a repair.
const RESERVE: u64 = 1 << 20;

/// What to do about that.
const FULL: &str = "what else lies on the EFI partition is none of ours: make room there";

/// Why the partition is not as wanted.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed; the causes say why")]
pub enum Error {
    #[error("the request makes no sense")]
    Request(#[source] serde_json::Error),
    #[error("nobody listens any more")]
    Tell(#[source] std::io::Error),
    #[error(transparent)]
    Mount(#[from] sys::mount::Error),
    #[error("cannot repair {device}: {told}")]
    Repair { device: PathBuf, told: String },
    #[error("cannot {verb} {path}")]
    Io {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}")]
    Full(String),
    #[error(transparent)]
    Copy(#[from] copy::Error),
    #[error("the loader cannot be put in place: {0}")]
    Loader(String),
}

impl Error {
    fn io(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { verb, path, source }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Full(_) => FULL,
            Self::Repair { .. } => "install anew, or boot the recovery system: apictl reboot --recovery",
            _ => "try again; when it stays, the disk may be failing",
        }
    }
}

/// Where the progress goes.
pub(crate) struct Report<W> {
    to: W,
    step: &'static str,
}

impl<W: Write> Report<W> {
    fn line(&mut self, line: &Line) -> Result<(), Error> {
        let mut text = serde_json::to_string(line).unwrap_or_default();
        text.push('\n');
        self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush()).map_err(Error::Tell)
    }

    fn step(&mut self, step: &'static str) -> Result<(), Error> {
        self.step = step;
        self.progress(0, 0)
    }

    fn progress(&mut self, done: u64, total: u64) -> Result<(), Error> {
        self.line(&Line::Progress(Progress { step: self.step.to_owned(), done, total }))
    }

    fn warn(&mut self, what: String) -> Result<(), Error> {
        self.line(&Line::Warning(what))
    }
}

/// Runs one request; whether it went well. The last line says so, too.
pub fn run(input: impl std::io::Read, output: impl Write) -> bool {
    let mut report = Report { to: output, step: "repair" };
    let done = serde_json::from_reader(input).map_err(Error::Request).and_then(|request| ensure(&request, &mut report));
    let (line, well) = match done {
        Ok(done) => (Line::Done(done), true),
        Err(error) => {
            let failed = Failed {
                step: report.step.to_owned(),
                message: crate::chain(&error),
                remedy: error.remedy().to_owned(),
            };
            (Line::Failed(failed), false)
        }
    };
    report.line(&line).is_ok() && well
}

/// Makes the partition as wanted.
fn ensure(request: &Request, report: &mut Report<impl Write>) -> Result<Done, Error> {
    let device = Path::new(&request.device);
    report.step("repair")?;
    let repaired = mounted::repair(device, Path::new(&request.mount), report)?;
    let mounted = mounted::Mounted::new(device, Path::new(&request.mount))?;
    if request.look {
        report.step("look")?;
        let done = look::look(mounted.root(), request)?;
        mounted.leave()?;
        return Ok(done);
    }
    let (mut done, loader) = fill(mounted.root(), request, repaired, report)?;
    mounted.leave()?;
    if let Some(beside) = loader {
        report.step("loader")?;
        loader::swap(device)?;
        let mounted = mounted::Mounted::new(device, Path::new(&request.mount))?;
        loader::clear(mounted.root(), beside)?;
        files::clear_ukis(mounted.root(), &stay(request, None))?;
        done.free = files::free(mounted.root())?;
        mounted.leave()?;
    }
    Ok(done)
}

/// The part that is done with files. Returns the digest of the loader that lies beside the old one, if it is to be swapped.
fn fill(
    root: &Path,
    request: &Request,
    repaired: bool,
    report: &mut Report<impl Write>,
) -> Result<(Done, Option<::boot::Digest>), Error> {
    let mut done = Done::default();
    report.step("clear")?;
    let wanted = request.entries.iter().map(|entry| (which(entry.generation), digest(&entry.digest))).collect();
    files::clear_entries(root, &wanted)?;
    // The loader may have come here as a UKI does: it stays until it is in its place.
    files::clear_ukis(root, &stay(request, request.loader.as_ref()))?;
    if repaired {
        for kept in &request.keep {
            if !files::holds(root, digest(kept))? {
                done.damaged.push(kept.clone());
            }
        }
    }
    let mut missing: Vec<_> = Vec::new();
    for source in &request.add {
        if !files::holds(root, digest(&source.digest))? {
            missing.push(source);
        }
    }
    if let Some(lack) = look::room(root, request, &missing)?.lack() {
        return Err(Error::Full(lack));
    }
    for source in missing {
        report.step("write")?;
        copy::copy(source, &files::uki(root, digest(&source.digest)), report)?;
        done.written += source.size;
    }
    report.step("entries")?;
    for entry in &request.entries {
        files::put_entry(root, which(entry.generation), digest(&entry.digest), &entry.version)?;
    }
    let loader = match &request.loader {
        Some(source) => loader::beside(root, source, report)?,
        None => None,
    };
    if loader.is_none() {
        files::clear_ukis(root, &stay(request, None))?;
    }
    done.free = files::free(root)?;
    Ok((done, loader))
}

/// Files of ours that are not to go.
fn stay(request: &Request, loader: Option<&Source>) -> BTreeSet<::boot::Digest> {
    let sources = request.add.iter().chain(loader).map(|source| &source.digest);
    request.keep.iter().chain(sources).map(digest).collect()
}

fn which(generation: Option<u32>) -> Which {
    generation.map_or(Which::Recovery, Which::Generation)
}

fn digest(digest: &config::image::Digest) -> ::boot::Digest {
    // Hex digits by its type; a file that hashes to zeros nobody has.
    ::boot::Digest::parse(digest.hex()).unwrap_or(::boot::Digest([0; 32]))
}
