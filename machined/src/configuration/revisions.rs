//! The revisions of the configuration on STATE, and which of them counts. Blocking; one caller at a time (`engine`).
//!
//! ```text
//! revisions/00000007/   documents.yaml   as they were given
//!                       secrets.yaml     those that the documents name; only root reads it
//!                       revision.json    digest of both, author, time: what is not as it says is damaged
//! revisions/.new        one that is being written
//! pointers              two checksummed copies: current, blessed, staged
//! ```
//! Invariant: a revision appears whole or not at all (new folder, files and folder synced, renamed, parent synced), and never
//! changes. The pointers lie in a file that was allocated once, so that going back needs no space. What is current, blessed or
//! staged is never removed, nor what a generation was proven with.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use boot::record::{self, Kind};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many are kept beside those that count: a history of weeks, and at most a quarter of STATE at a mebibyte each.
const KEPT: usize = 32;
/// For one copy of the pointers: some hundred bytes of JSON.
const COPY: usize = 4096;
/// What must stay free beside a new revision: folders, the identity's renewal, the clock.
const RESERVE: u64 = 4 << 20;
/// Larger files are no documents of ours: see `config::LIMIT`.
const MOST: u64 = 4 << 20;

/// The number of a revision, from 1; it only rises.
pub type Id = u64;

/// Why a revision cannot be kept or read.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed; the causes say why")]
pub enum Error {
    #[error("cannot use {path} on STATE")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("STATE is full: {free} KiB are free, {needed} KiB are needed; revert needs none")]
    Full { free: u64, needed: u64 },
    #[error("revision {0} is not kept (any more): see `apictl config history`")]
    Unknown(Id),
    #[error("revision {id} is damaged: {why}")]
    Damaged { id: Id, why: String },
    #[error("both copies of the pointers on STATE are damaged: nobody knows which revision counts")]
    Pointers,
    #[error("the pointers on STATE cannot be written")]
    Format(#[source] serde_json::Error),
}

/// Which revisions count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pointers {
    /// In effect, or to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Id>,
    /// The newest that was proven.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blessed: Option<Id>,
    /// The one proven before that: where `revert` goes by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Id>,
    /// To come into effect at the next boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Id>,
    /// The boot in which it was staged, which is not the next one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub staged_boot: String,
    /// Why the last one that was given up was given up.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub given_up: String,
}

/// What is known of a revision beside its texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Its number.
    pub id: Id,
    /// SHA-256 over both texts, hexadecimal.
    pub digest: String,
    /// Seconds since 1970.
    pub created_unix: u64,
    /// Who gave it.
    pub author: String,
    /// Why.
    #[serde(default)]
    pub message: String,
    /// Names of the secrets.
    #[serde(default)]
    pub secrets: Vec<String>,
}

/// One that is to be kept.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// The documents, as they were given.
    pub documents: &'a str,
    /// The secrets, as text.
    pub secrets: &'a str,
    /// See [`Meta`].
    pub author: &'a str,
    /// See [`Meta`].
    pub message: &'a str,
    /// See [`Meta`].
    pub names: Vec<String>,
    /// See [`Meta`].
    pub created_unix: u64,
    /// Revisions that must stay: generations go back to them.
    pub wanted: Vec<Id>,
}

/// One that was read.
pub struct Revision {
    /// What is known of it.
    pub meta: Meta,
    /// The documents.
    pub documents: String,
    /// The secrets.
    pub secrets: zeroize::Zeroizing<String>,
}

/// The revisions of a mounted STATE.
#[derive(Debug)]
pub struct Revisions {
    root: PathBuf,
    pointers: Pointers,
}

impl Revisions {
    /// Opens those of a STATE, which may be empty.
    ///
    /// # Errors
    /// The file system, or pointers that cannot be read.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let folder = root.join("revisions");
        ensure_folder(&folder)?;
        let half = folder.join(NEW);
        match fs::remove_dir_all(&half) {
            // Whoever writes the next one tries again; those that are whole are not lost for it.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("cannot clear {} away: {error}", half.display());
            }
            _ => {}
        }
        let pointers = load(&root.join(POINTERS))?;
        Ok(Self { root: root.to_owned(), pointers })
    }

    /// Which revisions count.
    pub fn pointers(&self) -> &Pointers {
        &self.pointers
    }

    /// Changes which revisions count; durable when it returns. Needs no space.
    ///
    /// # Errors
    /// The disk: then nothing has changed.
    pub fn point(&mut self, change: impl FnOnce(&mut Pointers)) -> Result<(), Error> {
        let mut next = self.pointers.clone();
        change(&mut next);
        if next != self.pointers {
            save(&self.root.join(POINTERS), &next)?;
            self.pointers = next;
        }
        Ok(())
    }

    /// The numbers of those that are there, rising.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn ids(&self) -> Result<Vec<Id>, Error> {
        let folder = self.folder();
        let io = |source| Error::Io { path: folder.clone(), source };
        let mut ids = BTreeSet::new();
        for entry in fs::read_dir(&folder).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            ids.extend(name.to_str().filter(|name| name.len() == 8).and_then(|name| name.parse::<Id>().ok()));
        }
        Ok(ids.into_iter().collect())
    }

    /// Keeps a revision; durable when it returns. Old ones that do not count make room.
    ///
    /// # Errors
    /// STATE is full, or fails: then nothing has changed.
    pub fn add(&mut self, draft: &Draft<'_>) -> Result<Meta, Error> {
        let ids = self.ids()?;
        self.make_room(&ids, draft)?;
        let id = ids.last().copied().max(self.pointers.current).max(self.pointers.staged).unwrap_or(0) + 1;
        let meta = Meta {
            id,
            digest: digest(draft.documents, draft.secrets),
            created_unix: draft.created_unix,
            author: draft.author.to_owned(),
            message: draft.message.to_owned(),
            secrets: draft.names.clone(),
        };
        let half = self.folder().join(NEW);
        let written = self.write(&half, &meta, draft);
        if written.is_err() {
            let _ = fs::remove_dir_all(&half);
        }
        written.map(|()| meta)
    }

    fn write(&self, half: &Path, meta: &Meta, draft: &Draft<'_>) -> Result<(), Error> {
        let _ = fs::remove_dir_all(half);
        ensure_folder(half)?;
        write(&half.join(DOCUMENTS), draft.documents.as_bytes())?;
        write(&half.join(SECRETS), draft.secrets.as_bytes())?;
        write(&half.join(ABOUT), &serde_json::to_vec_pretty(meta).map_err(Error::Format)?)?;
        sync(half)?;
        let path = self.path(meta.id);
        fs::rename(half, &path).map_err(|source| Error::Io { path, source })?;
        sync(&self.folder())
    }

    /// Reads one, and checks that it is what was written.
    ///
    /// # Errors
    /// It is not there, or damaged.
    pub fn load(&self, id: Id) -> Result<Revision, Error> {
        let path = self.path(id);
        if !path.is_dir() {
            return Err(Error::Unknown(id));
        }
        let damaged = |why: String| Error::Damaged { id, why };
        let text = |name: &str| read(&path.join(name)).map_err(|error| damaged(format!("{name}: {error}")));
        let meta: Meta = serde_json::from_str(&text(ABOUT)?).map_err(|error| damaged(format!("{ABOUT}: {error}")))?;
        let (documents, secrets) = (text(DOCUMENTS)?, zeroize::Zeroizing::new(text(SECRETS)?));
        if meta.id != id || meta.digest != digest(&documents, &secrets) {
            return Err(damaged("its files are not those that were written".into()));
        }
        Ok(Revision { meta, documents, secrets })
    }

    /// What is known of one, without reading its texts.
    ///
    /// # Errors
    /// It is not there, or damaged.
    pub fn about(&self, id: Id) -> Result<Meta, Error> {
        let damaged = |why: String| Error::Damaged { id, why };
        let text = read(&self.path(id).join(ABOUT)).map_err(|error| damaged(format!("{ABOUT}: {error}")))?;
        serde_json::from_str(&text).map_err(|error| damaged(format!("{ABOUT}: {error}")))
    }

    fn make_room(&self, ids: &[Id], draft: &Draft<'_>) -> Result<(), Error> {
        let needed = RESERVE + (draft.documents.len() + draft.secrets.len()) as u64;
        let Pointers { current, blessed, before, staged, .. } = self.pointers;
        let counts = [current, blessed, before, staged];
        let mut spare: Vec<Id> =
            ids.iter().copied().filter(|id| !counts.contains(&Some(*id)) && !draft.wanted.contains(id)).collect();
        spare.reverse();
        loop {
            let free = free(&self.root)?;
            let too_many = spare.len() >= KEPT;
            if !too_many && free >= needed {
                return Ok(());
            }
            let Some(oldest) = spare.pop() else {
                return Err(Error::Full { free: free / 1024, needed: needed / 1024 });
            };
            let path = self.path(oldest);
            // Renamed first: half of one must not look like one.
            let half = self.folder().join(NEW);
            let _ = fs::remove_dir_all(&half);
            let removed = fs::rename(&path, &half).and_then(|()| fs::remove_dir_all(&half));
            removed.map_err(|source| Error::Io { path, source })?;
        }
    }

    fn folder(&self) -> PathBuf {
        self.root.join("revisions")
    }

    fn path(&self, id: Id) -> PathBuf {
        self.folder().join(format!("{id:08}"))
    }
}

const NEW: &str = ".new";
const POINTERS: &str = "pointers";
const DOCUMENTS: &str = "documents.yaml";
const SECRETS: &str = "secrets.yaml";
const ABOUT: &str = "revision.json";

fn digest(documents: &str, secrets: &str) -> String {
    let mut sha = Sha256::new();
    // The length keeps the two apart.
    sha.update((documents.len() as u64).to_le_bytes());
    sha.update(documents);
    sha.update(secrets);
    sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn ensure_folder(path: &Path) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| Error::Io { path: path.into(), source })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let written = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    written().map_err(|source| Error::Io { path: path.into(), source })
}

fn sync(folder: &Path) -> Result<(), Error> {
    File::open(folder).and_then(|open| open.sync_all()).map_err(|source| Error::Io { path: folder.into(), source })
}

fn read(path: &Path) -> io::Result<String> {
    let length = fs::metadata(path)?.len();
    if length > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{length} bytes")));
    }
    fs::read_to_string(path)
}

fn free(root: &Path) -> Result<u64, Error> {
    let stat = rustix::fs::statvfs(root).map_err(|error| Error::Io { path: root.into(), source: error.into() })?;
    Ok(stat.f_bavail * stat.f_frsize)
}

/// The copies as they lie in the file.
fn copies(file: &File) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (mut a, mut b) = (vec![0; COPY], vec![0; COPY]);
    file.read_exact_at(&mut a, 0)?;
    file.read_exact_at(&mut b, COPY as u64)?;
    Ok((a, b))
}

fn load(path: &Path) -> Result<Pointers, Error> {
    let io = |source| Error::Io { path: path.into(), source };
    if !path.exists() {
        // Allocated before anything counts on it; a cut leaves none, or one that says nothing.
        let beside = path.with_extension("new");
        let _ = fs::remove_file(&beside);
        write(&beside, &[0; 2 * COPY])?;
        fs::rename(&beside, path).map_err(io)?;
        sync(path.parent().unwrap_or(path))?;
    }
    let file = File::open(path).map_err(io)?;
    let (a, b) = copies(&file).map_err(io)?;
    let Some((_, newest)) = record::decode_newest(Kind::Config, &a, &b) else {
        let blank = |copy: &[u8]| copy.iter().all(|byte| *byte == 0);
        // A copy that was never written: at most the very first write was torn.
        return if blank(&a) || blank(&b) { Ok(Pointers::default()) } else { Err(Error::Pointers) };
    };
    serde_json::from_slice(newest.payload).map_err(|_| Error::Pointers)
}

fn save(path: &Path, pointers: &Pointers) -> Result<(), Error> {
    let payload = serde_json::to_vec(pointers).map_err(Error::Format)?;
    let write = || {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let (a, b) = copies(&file)?;
        let (slot, seq) = record::next(record::decode_newest(Kind::Config, &a, &b));
        let mut copy = vec![0; COPY];
        record::encode(Kind::Config, record::Record { seq, payload: &payload }, &mut copy).map_err(io::Error::other)?;
        file.write_all_at(&copy, if slot == record::Slot::A { 0 } else { COPY as u64 })?;
        file.sync_all()
    };
    write().map_err(|source| Error::Io { path: path.into(), source })
}

#[cfg(test)]
#[path = "revisions_tests.rs"]
mod tests;
