//! The initramfs: an uncompressed newc archive with init, the modules that the root needs, and the root's image.
//!
//! Uncompressed because what is inside already is, and unpacking raw bytes costs the least at boot.

use std::io;

use cpio::NewcBuilder;
use cpio::newc::ModeFileType;

/// Mount points that init needs before there is a root.
const FOLDERS: [&str; 6] = ["proc", "sys", "dev", "run", "root", "modules"];

/// What goes in.
pub struct Content<'a> {
    /// `/init`.
    pub init: &'a [u8],
    /// Name and compressed file of the modules for the root, in load order.
    pub modules: &'a [(String, Vec<u8>)],
    /// `/rootfs.erofs`.
    pub rootfs: &'a [u8],
}

/// Writes the archive.
///
/// # Errors
/// When a file is too long for the format (4 GiB).
pub fn build(content: &Content<'_>) -> io::Result<Vec<u8>> {
    let mut archive = Archive { bytes: Vec::with_capacity(content.rootfs.len() + content.init.len()), next: 1 };
    for folder in FOLDERS {
        archive.put(folder, ModeFileType::Directory, 0o755, &[])?;
    }
    archive.put("init", ModeFileType::Regular, 0o755, content.init)?;
    for (place, (name, bytes)) in content.modules.iter().enumerate() {
        archive.put(&format!("modules/{place:02}-{name}.ko.xz"), ModeFileType::Regular, 0o644, bytes)?;
    }
    archive.put("rootfs.erofs", ModeFileType::Regular, 0o644, content.rootfs)?;
    cpio::newc::trailer(&mut archive.bytes)?;
    // the next archive, if a loader adds one, starts on 4 bytes; 512 as cpio(1) does
    archive.bytes.resize(archive.bytes.len().next_multiple_of(512), 0);
    Ok(archive.bytes)
}

struct Archive {
    bytes: Vec<u8>,
    next: u32,
}

impl Archive {
    fn put(&mut self, name: &str, kind: ModeFileType, mode: u32, content: &[u8]) -> io::Result<()> {
        let links = if matches!(kind, ModeFileType::Directory) { 2 } else { 1 };
        let entry = NewcBuilder::new(name).ino(self.next).mode(mode).nlink(links).set_mode_file_type(kind);
        self.next += 1;
        let len = u32::try_from(content.len()).map_err(|_| io::Error::other(format!("{name} is over 4 GiB")))?;
        let mut writer = entry.write(&mut self.bytes, len);
        io::Write::write_all(&mut writer, content)?;
        writer.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let modules = [("a".to_owned(), b"m".to_vec())];
        let bytes = build(&Content { init: b"i", modules: &modules, rootfs: b"root" }).unwrap();
        assert_eq!(bytes.len() % 512, 0);
        let mut names = Vec::new();
        let mut rest = bytes.as_slice();
        loop {
            let reader = cpio::NewcReader::new(rest).unwrap();
            if reader.entry().is_trailer() {
                break;
            }
            names.push((reader.entry().name().to_owned(), reader.entry().mode()));
            rest = reader.finish().unwrap();
        }
        assert_eq!(names.len(), 9);
        assert_eq!(names[6], ("init".to_owned(), 0o100_755));
        assert_eq!(names[7], ("modules/00-a.ko.xz".to_owned(), 0o100_644));
    }
}
