//! Our files on a mounted EFI partition: UKIs and entries. What is not ours is left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};

use boot::Digest;
use boot::entry::{self, Text, Which};
use boot::uki;
use config::image::esp::{Foreign, Found};

use super::{Error, copy};

/// What is being written has this ending until it is whole.
const NEW: &str = "new";
/// Files of others that are named: those that are worth removing.
const NAMED: usize = 3;

/// Where a UKI lies.
pub(super) fn uki(root: &Path, digest: Digest) -> PathBuf {
    root.join(digest.path().as_str().trim_start_matches('/'))
}

fn folder(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_matches('/'))
}

/// Makes what was changed in a folder durable, and everything of its file system with it: FAT flushes a file's chain and its name
/// in no order. Of FAT, Linux only writes the whole file system, and has the disk flush it with a folder.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    let open = File::open(folder)?;
    rustix::fs::syncfs(&open)?;
    open.sync_all()
}

/// Removes a file, and waits until the disk knows. It is held open meanwhile: its clusters are freed after its name is gone.
pub(super) fn remove(path: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { verb: "delete", path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(path);
    let held = File::open(path).map_err(failed)?;
    fs::remove_file(path).map_err(failed)?;
    sync(folder).map_err(failed)?;
    drop(held);
    sync(folder).map_err(failed)
}

fn list(folder: &Path) -> Result<Vec<DirEntry>, Error> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.collect::<io::Result<_>>().map_err(Error::io("read", folder)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("read", folder)(error)),
    }
}

fn is_new(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(NEW))
}

/// Removes entries of ours that are not wanted or name another file than is wanted, and what a cut left of one.
pub(super) fn clear_entries(root: &Path, wanted: &BTreeMap<Which, Digest>) -> Result<(), Error> {
    for found in list(&folder(root, entry::FOLDER))? {
        let (path, name) = (found.path(), found.file_name().to_string_lossy().to_ascii_lowercase());
        let stale = match Which::of_file(&name) {
            Some(which) => {
                let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
                let names = entry::Entry::parse(&name, &bytes).map(|entry| entry.digest);
                wanted.get(&which).is_none_or(|digest| names != Some(*digest))
            }
            None => false,
        };
        if stale || name.starts_with("stele-") && is_new(&path) {
            remove(&path)?;
        }
    }
    Ok(())
}

/// UKIs of ours, with what their names say.
fn ukis(root: &Path) -> Result<Vec<(Digest, PathBuf)>, Error> {
    let named = |found: DirEntry| {
        let name = found.file_name().to_string_lossy().to_ascii_lowercase();
        Some((name.strip_suffix(uki::SUFFIX).and_then(Digest::parse)?, found.path()))
    };
    Ok(list(&folder(root, uki::FOLDER))?.into_iter().filter_map(named).collect())
}

/// Removes UKIs of ours that are not to stay, and what a cut left of a try to write.
pub(super) fn clear_ukis(root: &Path, stay: &BTreeSet<Digest>) -> Result<(), Error> {
    for (_, path) in ukis(root)?.into_iter().filter(|(digest, _)| !stay.contains(digest)) {
        remove(&path)?;
    }
    let tried = tried(root);
    if tried.exists() { remove(&tried) } else { Ok(()) }
}

/// Bytes of UKIs of ours that are not whole or not to stay.
pub(super) fn disposable(root: &Path, whole: &BTreeSet<Digest>) -> Result<u64, Error> {
    let mut bytes = 0;
    for (_, path) in ukis(root)?.into_iter().filter(|(digest, _)| !whole.contains(digest)) {
        bytes += fs::metadata(&path).map_err(Error::io("look at", &path))?.len();
    }
    Ok(bytes)
}

/// What a try to write is called.
fn tried(root: &Path) -> PathBuf {
    folder(root, uki::FOLDER).join("tried.new")
}

/// Whether anything can be written: something small, which then goes.
pub(super) fn try_to_write(root: &Path) -> Result<(), Error> {
    let path = tried(root);
    let folder = folder(root, uki::FOLDER);
    fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
    let written = || {
        fs::write(&path, [0; 512])?;
        File::open(&path)?.sync_all()?;
        sync(&folder)
    };
    written().map_err(Error::io("write", &path))?;
    remove(&path)
}

/// The largest files that are none of ours, from the root of the partition.
pub(super) fn foreign(root: &Path) -> Result<Vec<Foreign>, Error> {
    let (mut folders, mut all) = (vec![root.to_owned()], Vec::new());
    let ours: BTreeSet<PathBuf> = ukis(root)?.into_iter().map(|(_, path)| path).collect();
    let boot = root.join("EFI/BOOT");
    while let Some(folder) = folders.pop() {
        for entry in list(&folder)? {
            let path = entry.path();
            let found = entry.metadata().map_err(Error::io("look at", &path))?;
            let name = entry.file_name().to_string_lossy().to_ascii_lowercase();
            if found.is_dir() {
                folders.push(path);
            } else if !ours.contains(&path)
                && Which::of_file(&name).is_none()
                && !(folder == boot && name.starts_with("bootx64."))
            {
                let path = format!("/{}", path.strip_prefix(root).unwrap_or(&path).display());
                all.push(Foreign { path, size: found.len() });
            }
        }
    }
    all.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.path.cmp(&b.path)));
    all.truncate(NAMED);
    Ok(all)
}

/// Removes what fsck.vfat made of chains without a name.
pub(super) fn clear_salvage(root: &Path) -> Result<usize, Error> {
    let mut gone = 0;
    for found in list(root)? {
        let name = found.file_name().to_string_lossy().to_ascii_uppercase();
        if name.starts_with("FSCK") && name.ends_with(".REC") {
            remove(&found.path())?;
            gone += 1;
        }
    }
    Ok(gone)
}

/// Whether a UKI is there and holds what its name says, by the disk.
pub(super) fn holds(root: &Path, digest: Digest) -> Result<bool, Error> {
    let path = uki(root, digest);
    if !path.exists() {
        return Ok(false);
    }
    Ok(copy::read_back(&path, |_| Ok(()))? == digest)
}

/// What has an entry of ours and is whole.
pub(super) fn found(root: &Path, mut holds: impl FnMut(Digest) -> bool) -> Result<Vec<Found>, Error> {
    let mut all = Vec::new();
    for entry in list(&folder(root, entry::FOLDER))? {
        let name = entry.file_name().to_string_lossy().into_owned();
        let bytes = fs::read(entry.path()).map_err(Error::io("read", &entry.path()))?;
        let Some(entry) = entry::Entry::parse(&name, &bytes) else { continue };
        if holds(entry.digest) {
            let path = uki(root, entry.digest);
            let size = fs::metadata(&path).map_err(Error::io("look at", &path))?.len();
            let generation = match entry.which {
                Which::Generation(number) => Some(number),
                Which::Recovery => None,
            };
            all.push(Found { generation, digest: config::image::Digest::of_bytes(&entry.digest.0), size });
        }
    }
    Ok(all)
}

/// Makes an entry say this.
pub(super) fn put_entry(root: &Path, which: Which, digest: Digest, version: &str) -> Result<(), Error> {
    let folder = folder(root, entry::FOLDER);
    fs::create_dir_all(&folder).map_err(Error::io("make", &folder))?;
    let path = folder.join(which.to_string());
    let text = Text { which, digest, version }.to_string();
    if fs::read_to_string(&path).is_ok_and(|known| known == text) {
        return Ok(());
    }
    let beside = path.with_extension(NEW);
    let written = || {
        fs::write(&beside, &text)?;
        File::open(&beside)?.sync_all()?;
        fs::rename(&beside, &path)?;
        sync(&folder)
    };
    written().map_err(Error::io("write", &path))?;
    let back = sys::direct::Device::read_only(&path).and_then(|device| device.read_some(0, 4096));
    match back.map_err(copy::Error::from)? {
        back if back == text.as_bytes() => Ok(()),
        _ => Err(copy::Error::Lost { path }.into()),
    }
}

/// Bytes that are free.
pub(super) fn free(root: &Path) -> Result<u64, Error> {
    let stat = rustix::fs::statvfs(root).map_err(|error| Error::io("look at", root)(error.into()))?;
    Ok(stat.f_bavail * stat.f_frsize)
}
