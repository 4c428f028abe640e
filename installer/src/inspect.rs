//! Looking into a finished UKI: the files of its initramfs, and of its root filesystem by Debian's own `fsck.erofs`.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::lock::Lock;
use crate::{erofs, pe, uki};

/// A file, folder or link found inside.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// `rootfs/usr/bin/machined`, `initramfs/init`.
    pub path: String,
    /// Type and permissions as in stat(2).
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Where a link points.
    pub target: Option<String>,
}

/// Files of an initramfs: name, mode and content.
///
/// # Errors
/// When it is not a newc archive.
pub fn initramfs(bytes: &[u8]) -> std::io::Result<Vec<(String, u32, Vec<u8>)>> {
    let (mut rest, mut found) = (bytes, Vec::new());
    loop {
        let mut reader = cpio::NewcReader::new(rest)?;
        if reader.entry().is_trailer() {
            return Ok(found);
        }
        let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut reader, &mut content)?;
        found.push((name, mode, content));
        rest = reader.finish()?;
    }
}

/// Everything inside a UKI's initramfs and root filesystem, sorted.
///
/// # Errors
/// When a part cannot be read.
pub fn list(image: &[u8], lock: &Lock) -> anyhow::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (name, mode, content) in initramfs(pe::section(image, uki::INITRD)?)? {
        if name == "rootfs.erofs" {
            let work = tempfile::tempdir()?;
            let root = work.path().join("root");
            erofs::extract(&content, &root, lock)?;
            walk(&root, "rootfs", &mut entries)?;
        }
        entries.push(Entry { path: format!("initramfs/{name}"), mode, size: content.len() as u64, target: None });
    }
    entries.sort();
    Ok(entries)
}

fn walk(folder: &Path, at: &str, entries: &mut Vec<Entry>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, stat) = (format!("{at}/{}", entry.file_name().to_string_lossy()), entry.metadata()?);
        let target = std::fs::read_link(entry.path()).ok().map(|target| target.to_string_lossy().into_owned());
        let size = if stat.is_dir() { 0 } else { stat.len() };
        entries.push(Entry { path: path.clone(), mode: stat.mode(), size, target });
        if stat.is_dir() {
            walk(&entry.path(), &path, entries)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fuzz::targets! {
        initramfs_archive: |bytes| drop(initramfs(bytes)),
    }
}
