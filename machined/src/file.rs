//! Replaces small files whole: a reader, and the next machined, sees the old bytes or the new ones, never half of them.
//!
//! [`replace`] is for /run, /etc and the like, which are memory; [`keep`] for disks (META has a way of its own, see
//! `meta::volume`).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Writes `bytes` beside `path` and renames; makes the folder if it is not there. One caller at a time for each path.
///
/// # Errors
/// What stands at `path` is as it was.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write(path, bytes, mode, |_| Ok(()))
}

/// As [`replace`], and durable when it returns.
///
/// # Errors
/// What stands at `path` is as it was, or new and perhaps not durable.
pub fn keep(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write(path, bytes, mode, File::sync_all)?;
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn write(path: &Path, bytes: &[u8], mode: u32, sync: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let Some(name) = path.file_name() else { return Err(io::ErrorKind::InvalidInput.into()) };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    let beside = path.with_file_name(hidden);
    let written = || {
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        // One that a machined before left half done may have had another mode.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        sync(&file)?;
        fs::rename(&beside, path)
    };
    let written = written();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_replaced_whole_with_its_mode_and_nothing_is_left_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/kept.json");
        replace(&path, b"a long first text", 0o644).unwrap();
        fs::write(folder.path().join("deep/.kept.json.new"), "left by a crash").unwrap();
        keep(&path, b"second", 0o600).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
    }
}
