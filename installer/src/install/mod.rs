//! `installer install`: makes a whole disk a system disk, as root. The request and the answer: `config::image::install`.
//!
//! ```text
//! check (parts by their digests, programs whole) -> wipe (table first) -> write (EFI partition, META) -> flush
//!   -> table -> flush -> the kernel reads it -> verify: all of it again, from the disk
//! ```
//! Invariant: the old table goes first and the new one comes last, each flushed before the next step: whatever is cut off leaves
//! a disk without a table, or one that boots.

mod target;
#[cfg(test)]
mod tests;
mod verify;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use boot::{Digest, Guid, Uki};
use config::image::install::{Failed, Installed, Line, Progress, Request, Source};
use sha2::{Digest as _, Sha256};

use self::target::Target;
use crate::{disk, fat, pe, uki, whole};

/// Room for STATE and the smallest EPHEMERAL behind what is written here.
const LEAST: u64 = disk::END + (1 << 30);
/// Of one read.
const CHUNK: usize = 1 << 20;
/// A UKI's headers and its first sections; os-release is one of them.
const HEAD: usize = 64 * 1024;
/// Between two lines of progress.
const EVERY: u64 = 4 << 20;

/// Why there is no system disk.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed; the causes say why")]
pub enum Error {
    #[error("the request makes no sense")]
    Request(#[source] serde_json::Error),
    #[error("nobody listens any more")]
    Tell(#[source] io::Error),
    #[error("cannot {verb} {path}")]
    Io {
        verb: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} does not hold what it should: its SHA-256 is {found}")]
    Source { path: PathBuf, found: Digest },
    #[error("{path} is not whole")]
    Program {
        path: PathBuf,
        #[source]
        source: whole::Error,
    },
    #[error("{path} is no UKI of Stele: {source}")]
    Uki { path: PathBuf, source: pe::Error },
    #[error("{0} is another disk now than the one that was chosen")]
    Other(PathBuf),
    #[error("{path} has {} MiB, at least {} MiB are needed", size >> 20, LEAST >> 20)]
    Small { path: PathBuf, size: u64 },
    #[error("{0} is in use: a file system on it is mounted, or another program holds it")]
    Busy(PathBuf),
    #[error("{path} has logical sectors of {sector} bytes: only those of 512 and 4096 bytes are known")]
    Sector { path: PathBuf, sector: u32 },
    #[error(transparent)]
    Disk(#[from] disk::Error),
    #[error("{device} does not hold what was written: {what}")]
    Differs { device: PathBuf, what: String },
}

impl Error {
    fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { verb, path, source }
    }

    fn remedy(&self) -> &'static str {
        match self {
            Self::Small { .. } | Self::Sector { .. } => "choose another disk",
            Self::Busy(_) => "reboot the machine, and begin again",
            Self::Other(_) => "begin again",
            Self::Differs { .. } | Self::Disk(_) => "begin again; when it stays, the disk is failing: choose another",
            Self::Source { .. } | Self::Program { .. } | Self::Uki { .. } => {
                "begin again; when it stays, name another image"
            }
            _ => "begin again",
        }
    }
}

/// Where the progress goes.
struct Report<'a> {
    to: &'a mut dyn Write,
    step: &'static str,
    done: u64,
    total: u64,
    told: u64,
}

impl Report<'_> {
    fn line(&mut self, line: &Line) -> Result<(), Error> {
        let mut text = serde_json::to_string(line).unwrap_or_default();
        text.push('\n');
        self.to.write_all(text.as_bytes()).and_then(|()| self.to.flush()).map_err(Error::Tell)
    }

    fn step(&mut self, step: &'static str, total: u64) -> Result<(), Error> {
        (self.step, self.done, self.total, self.told) = (step, 0, total, 0);
        self.tell()
    }

    fn tell(&mut self) -> Result<(), Error> {
        self.told = self.done;
        let now = Progress { step: self.step.to_owned(), done: self.done.min(self.total), total: self.total };
        self.line(&Line::Progress(now))
    }

    fn add(&mut self, bytes: usize) -> Result<(), Error> {
        self.done += bytes as u64;
        if self.done - self.told >= EVERY { self.tell() } else { Ok(()) }
    }
}

/// Runs one request; whether it went well. The last line says so, too.
pub fn run(input: impl Read, mut output: impl Write) -> bool {
    let mut report = Report { to: &mut output, step: "check", done: 0, total: 0, told: 0 };
    let request = serde_json::from_reader(input).map_err(Error::Request);
    let done = request.and_then(|request: Request| {
        let installed = write(&request, &mut report)?;
        target::check(Path::new(&request.device))?;
        Ok(installed)
    });
    let (line, well) = match done {
        Ok(installed) => (Line::Installed(installed), true),
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

/// All but what only a kernel can do.
fn write(request: &Request, report: &mut Report<'_>) -> Result<Installed, Error> {
    let (parts, boots) = check(request, report)?;
    let names = names()?;
    let path = Path::new(&request.device);
    let mut target = Target::open(path, request.sequence)?;
    if target.size < LEAST {
        return Err(Error::Small { path: path.to_owned(), size: target.size });
    }
    report.step("wipe", 0)?;
    target.wipe()?;
    let total: u64 = parts.iter().map(|(_, source)| source.size).sum();
    report.step("write", total)?;
    {
        let shared = RefCell::new(&mut *report);
        let mut files = Vec::new();
        for (to, source) in &parts {
            let content = Box::new(Checked::open(source, &shared)?);
            files.push(fat::File { path: to.clone(), content });
        }
        files.extend(disk::texts(&boots));
        let facts = request.facts.as_ref().map(|facts| facts.to_string().into_bytes());
        let make = disk::Make { names, sector: target.sector, files, state: Some(boots.state()), facts };
        disk::content(&mut target.file, path, make)?;
    }
    target.flush()?;
    report.step("table", 0)?;
    disk::table(&mut target.file, path, &names, target.sector)?;
    target.flush()?;
    target.reread()?;
    report.step("verify", total)?;
    verify::all(path, &target, &names, &boots, &parts, report)?;
    let ((_, start, len), sector) = (disk::PARTS[0], u64::from(target.sector));
    Ok(Installed {
        disk: names.disk.to_string(),
        esp: names.parts[0].to_string(),
        start: start / sector,
        sectors: len / sector,
        version: boots.uki.1.clone(),
        uki: Some(request.uki.digest.clone()),
    })
}

/// The files of the EFI partition that are copied: path there, and where from.
type Parts = Vec<(String, Source)>;

/// Looks at all parts, before anything is changed.
fn check(request: &Request, report: &mut Report<'_>) -> Result<(Parts, disk::Boots), Error> {
    let mut all = vec![("uki", &request.uki)];
    all.extend(request.recovery.iter().map(|recovery| ("recovery", recovery)));
    all.push(("loader", &request.loader));
    report.step("check", all.iter().map(|(_, source)| source.size).sum())?;
    for (name, source) in &all {
        let path = Path::new(&source.path);
        let shared = RefCell::new(&mut *report);
        let mut content = Checked::open(source, &shared)?;
        io::copy(&mut content, &mut io::sink()).map_err(|error| content.why(error))?;
        whole::check(name, path).map_err(|source| Error::Program { path: path.to_owned(), source })?;
    }
    let one = |source: &Source| Ok::<_, Error>((Uki { digest: digest(source), size: source.size }, version(source)?));
    let recovery = request.recovery.as_ref().map(one).transpose()?;
    let boots = disk::Boots { uki: one(&request.uki)?, recovery };
    let ukis = [Some(&request.uki), request.recovery.as_ref()].into_iter().flatten();
    let mut parts: Parts = boots.paths().zip(ukis).map(|((path, _), source)| (path, source.clone())).collect();
    parts.push((disk::FALLBACK.to_owned(), request.loader.clone()));
    Ok((parts, boots))
}

fn digest(source: &Source) -> Digest {
    // What parses as one has 64 lower-case digits.
    Digest::parse(source.digest.hex()).unwrap_or(Digest([0; 32]))
}

/// The version in a UKI, of which only what is needed is read.
fn version(source: &Source) -> Result<String, Error> {
    let path = Path::new(&source.path);
    let wrong = |source| Error::Uki { path: path.to_owned(), source };
    let mut head = Vec::new();
    File::open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut head)).map_err(Error::io("read", path))?;
    let sections = pe::sections_of(&head, usize::try_from(source.size).unwrap_or(usize::MAX)).map_err(wrong)?;
    let osrel = sections.iter().find(|section| section.name == uki::OSREL);
    let osrel = osrel.filter(|section| section.len <= HEAD).ok_or(wrong(pe::Error::Format("it has no os-release")))?;
    let mut text = vec![0; osrel.len];
    let read = |file: File| std::os::unix::fs::FileExt::read_exact_at(&file, &mut text, osrel.offset as u64);
    File::open(path).and_then(read).map_err(Error::io("read", path))?;
    disk::version_of(&text).map_err(wrong)
}

/// Random ones.
fn names() -> Result<disk::Names, Error> {
    let guid = || random().map(Guid::custom);
    let volume = random()?.first_chunk().copied().map(u32::from_le_bytes).unwrap_or_default();
    Ok(disk::Names { disk: guid()?, image: guid()?, parts: [guid()?, guid()?], volume })
}

fn random() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    let mut file = File::open("/dev/urandom").map_err(Error::io("open", Path::new("/dev/urandom")))?;
    file.read_exact(&mut bytes).map_err(Error::io("read", Path::new("/dev/urandom")))?;
    Ok(bytes)
}

/// A part while it is read: whoever reads it to its end has read what was meant.
struct Checked<'a, 'b, 'c> {
    file: File,
    source: &'a Source,
    hash: Sha256,
    wrong: Option<Digest>,
    report: &'a RefCell<&'b mut Report<'c>>,
}

impl<'a, 'b, 'c> Checked<'a, 'b, 'c> {
    fn open(source: &'a Source, report: &'a RefCell<&'b mut Report<'c>>) -> Result<Self, Error> {
        let path = Path::new(&source.path);
        let file = File::open(path).map_err(Error::io("open", path))?;
        Ok(Self { file, source, hash: Sha256::new(), wrong: None, report })
    }

    fn why(&self, source: io::Error) -> Error {
        let path = PathBuf::from(&self.source.path);
        match self.wrong {
            Some(found) => Error::Source { path, found },
            None => Error::Io { verb: "read", path, source },
        }
    }
}

impl Read for Checked<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().min(CHUNK);
        let count = self.file.read(&mut buffer[..room])?;
        self.hash.update(&buffer[..count]);
        if count == 0 && room > 0 {
            let found = Digest(self.hash.clone().finalize().into());
            if found != digest(self.source) {
                self.wrong = Some(found);
                return Err(io::Error::other(format!("{} is not what was checked", self.source.path)));
            }
        }
        self.report.borrow_mut().add(count).map_err(io::Error::other)?;
        Ok(count)
    }
}
