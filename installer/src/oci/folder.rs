//! The folder that parts are pulled into. Invariant: a file named by a digest alone is complete, verified and on the disk; what
//! is not complete has `.part` behind it; nobody else pulls into it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use config::image::Part;
use config::image::pull::Check;
use sha2::{Digest as _, Sha256};

use super::failure::Failure;
use super::source;

const LOCK: &str = "lock";
const CHUNK: usize = 64 * 1024;

/// The folder, ours until this is dropped.
pub(super) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let failed =
            |error: &std::io::Error| Failure::new(Check::Folder, format!("cannot use {}: {error}", path.display()));
        if !path.is_absolute() {
            return Err(Failure::new(Check::Request, format!("{} is not an absolute path", path.display())));
        }
        let mut options = OpenOptions::new();
        let lock = options.create(true).append(true).open(path.join(LOCK)).map_err(|error| failed(&error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(Failure::passing(Check::Folder, format!("another pull into {} is under way", path.display())))
            }
            Err(TryLockError::Error(error)) => Err(failed(&error)),
        }
    }

    /// Where a part is when it is complete.
    pub(super) fn file(&self, part: &Part) -> PathBuf {
        self.path.join(part.digest.hex())
    }

    fn partial(&self, part: &Part) -> PathBuf {
        self.path.join(format!("{}.part", part.digest.hex()))
    }

    /// Removes what does not belong to these parts; names that are not ours stay.
    pub(super) fn clean(&self, parts: &[&Part]) -> Result<(), Failure> {
        for entry in std::fs::read_dir(&self.path).map_err(|error| self.failed(&error))? {
            let entry = entry.map_err(|error| self.failed(&error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let hex = name.strip_suffix(".part").unwrap_or(&name);
            let ours = config::image::Digest::of_hex(hex);
            if ours.is_some_and(|digest| parts.iter().all(|part| part.digest != digest)) {
                std::fs::remove_file(entry.path()).map_err(|error| self.failed(&error))?;
            }
        }
        Ok(())
    }

    /// Bytes of a part that are there, complete or not.
    pub(super) fn there(&self, part: &Part) -> u64 {
        let len = |path: PathBuf| std::fs::metadata(path).map_or(0, |found| found.len());
        len(self.file(part)).max(len(self.partial(part))).min(part.size)
    }

    /// Looks for room: for what these parts lack, and what must stay free besides.
    pub(super) fn room(&self, parts: &[&Part], free: u64) -> Result<(), Failure> {
        let lacking: u64 = parts.iter().map(|part| part.size - self.there(part)).sum();
        let found = rustix::fs::statvfs(&self.path).map_err(|error| self.failed(&error.into()))?;
        let room = found.f_bavail.saturating_mul(found.f_frsize);
        if lacking.saturating_add(free) <= room {
            return Ok(());
        }
        let message = format!(
            "{} has {room} bytes free, {lacking} are needed for the image and {free} must stay free",
            self.path.display()
        );
        Err(Failure::passing(Check::Space, message))
    }

    /// Whether the part is there, complete: read again, since a disk may have lost what it said it had.
    pub(super) fn complete(&self, part: &Part) -> Result<bool, Failure> {
        let path = self.file(part);
        let Ok(mut file) = File::open(&path) else { return Ok(false) };
        let mut hash = Sha256::new();
        let len = hashed(&mut file, &mut hash).map_err(|error| self.failed(&error))?;
        if len == part.size && source::of_hash(hash) == part.digest {
            return Ok(true);
        }
        std::fs::remove_file(&path).map_err(|error| self.failed(&error))?;
        Ok(false)
    }

    /// The unfinished file of a part, with what is there of it.
    pub(super) fn resume(&self, part: &Part) -> Result<Partial<'_>, Failure> {
        let path = self.partial(part);
        let mut options = OpenOptions::new();
        let mut file = options.create(true).read(true).append(true).open(&path).map_err(|error| self.failed(&error))?;
        let mut hash = Sha256::new();
        let len = hashed(&mut file, &mut hash).map_err(|error| self.failed(&error))?;
        let mut partial = Partial { folder: self, file, path, hash, len };
        if partial.len > part.size {
            partial.restart()?;
        }
        Ok(partial)
    }

    fn failed(&self, error: &std::io::Error) -> Failure {
        let check = match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Check::Space,
            _ => Check::Folder,
        };
        Failure::passing(check, format!("cannot use {}: {error}", self.path.display()))
    }
}

fn hashed(file: &mut File, hash: &mut Sha256) -> std::io::Result<u64> {
    let (mut len, mut chunk) = (0, vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(len),
            read => {
                hash.update(&chunk[..read]);
                len += read as u64;
            }
        }
    }
}

/// A part that is being written.
pub(super) struct Partial<'a> {
    folder: &'a Folder,
    file: File,
    path: PathBuf,
    hash: Sha256,
    /// Bytes that are there.
    pub(super) len: u64,
}

impl Partial<'_> {
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| self.folder.failed(&error))?;
        self.hash.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// From the first byte.
    pub(super) fn restart(&mut self) -> Result<(), Failure> {
        self.file.set_len(0).map_err(|error| self.folder.failed(&error))?;
        self.hash = Sha256::new();
        self.len = 0;
        Ok(())
    }

    /// Whether what is there has the digest of the part; then it is made durable under its name.
    pub(super) fn finish(&mut self, part: &Part) -> Result<bool, Failure> {
        if source::of_hash(self.hash.clone()) != part.digest {
            return Ok(false);
        }
        let failed = |error: std::io::Error| self.folder.failed(&error);
        self.file.sync_all().map_err(failed)?;
        std::fs::rename(&self.path, self.folder.file(part)).map_err(failed)?;
        File::open(&self.folder.path).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(bytes: &[u8]) -> Part {
        Part { name: "uki".into(), digest: source::digest(bytes), size: bytes.len() as u64 }
    }

    #[test]
    fn a_part_appears_when_it_is_complete() {
        let work = tempfile::tempdir().unwrap();
        let folder = Folder::open(work.path()).unwrap();
        assert_eq!(Folder::open(work.path()).err().map(|why| (why.check, why.again)), Some((Check::Folder, true)));
        let (one, other) = (part(b"one part"), part(b"another"));
        let mut partial = folder.resume(&one).unwrap();
        partial.append(b"one ").unwrap();
        assert!(!partial.finish(&one).unwrap());
        drop(partial);
        std::fs::write(folder.partial(&other), b"x").unwrap();
        std::fs::write(work.path().join("note"), b"stays").unwrap();
        folder.clean(&[&one]).unwrap();
        assert!(!folder.partial(&other).exists() && work.path().join("note").exists());
        assert_eq!(folder.there(&one), 4);
        let mut partial = folder.resume(&one).unwrap();
        assert_eq!(partial.len, 4);
        partial.append(b"part").unwrap();
        assert!(!folder.complete(&one).unwrap());
        assert!(partial.finish(&one).unwrap());
        assert!(folder.complete(&one).unwrap() && !folder.partial(&one).exists());
        // a disk that lost it
        std::fs::write(folder.file(&one), b"one\0part").unwrap();
        assert!(!folder.complete(&one).unwrap() && !folder.file(&one).exists());
        // too long for this part
        std::fs::write(folder.partial(&one), b"one part and more").unwrap();
        assert_eq!(folder.resume(&one).unwrap().len, 0);
        assert_eq!(folder.room(&[&one], u64::MAX).unwrap_err().check, Check::Space);
        folder.room(&[&one], 0).unwrap();
        assert_eq!(Folder::open(Path::new("rel")).err().map(|why| why.check), Some(Check::Request));
    }
}
