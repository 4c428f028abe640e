//! The file `/format` on STATE: that the volume was made to its end, and the version of what is on it. Blocking.
//!
//! It is written last of all when STATE is made, so a volume without it was never handed out.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Its name.
const NAME: &str = "format";
/// Version of STATE's layout that this release writes, and the newest it reads.
const VERSION: u32 = 1;
/// Longest file that is read.
const MAX: u64 = 64 * 1024;
/// What mkfs leaves, and what a cut leaves of us.
const NOTHING: [&str; 2] = ["lost+found", ".format.new"];

/// What it says.
#[derive(Debug, Serialize, Deserialize)]
struct Format {
    version: u32,
}

/// What a volume is by its root folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It was made to its end by this release or one before.
    Whole,
    /// Nobody ever wrote to it.
    Empty,
    /// It cannot be used, for this reason.
    Not(String),
}

/// Reads it.
pub(super) fn look(root: &Path) -> io::Result<Look> {
    let mut text = Vec::new();
    match File::open(root.join(NAME)) {
        Ok(file) => drop(file.take(MAX).read_to_end(&mut text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return others(root),
        Err(error) => return Err(error),
    }
    Ok(match serde_json::from_slice::<Format>(&text) {
        Ok(Format { version }) if (1..=VERSION).contains(&version) => Look::Whole,
        Ok(Format { version }) => Look::Not(format!(
            "it has version {version}, and this release knows up to {VERSION}: start the release that wrote it"
        )),
        Err(error) => Look::Not(format!("its file /format is damaged ({error}): restore it, or install anew")),
    })
}

fn others(root: &Path) -> io::Result<Look> {
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name();
        if !NOTHING.iter().any(|nothing| name == *nothing) {
            return Ok(Look::Not(format!(
                "it has no file /format, but others ({}): it is none of ours; move what is wanted of it elsewhere and \
                 delete the partition, or install anew",
                name.to_string_lossy()
            )));
        }
    }
    Ok(Look::Empty)
}

/// Makes a volume whole: only root may look into it, and the file is on the disk when this returns.
pub(super) fn write(root: &Path) -> io::Result<()> {
    fs::set_permissions(root, fs::Permissions::from_mode(0o700))?;
    let beside = root.join(NOTHING[1]);
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec(&Format { version: VERSION })?)?;
    file.sync_all()?;
    fs::rename(&beside, root.join(NAME))?;
    File::open(root)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_whole_empty_or_not_ours() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir(root.join("lost+found")).unwrap();
        assert_eq!(look(root).unwrap(), Look::Empty);
        fs::write(root.join(".format.new"), "{").unwrap();
        assert_eq!(look(root).unwrap(), Look::Empty);
        write(root).unwrap();
        assert_eq!(look(root).unwrap(), Look::Whole);
        assert_eq!(fs::metadata(root).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(!root.join(".format.new").exists());
        for (text, why) in [
            (&b"{\"version\":2,\"later\":1}"[..], "version 2"),
            (b"{\"version\":0}", "version 0"),
            (b"", "damaged"),
            (b"\xff\x00", "damaged"),
        ] {
            fs::write(root.join(NAME), text).unwrap();
            assert!(matches!(look(root).unwrap(), Look::Not(told) if told.contains(why)), "{text:?}");
        }
        fs::remove_file(root.join(NAME)).unwrap();
        fs::write(root.join("mine"), "").unwrap();
        assert!(
            matches!(look(root).unwrap(), Look::Not(told) if told.contains("mine") && told.contains("none of ours"))
        );
        assert!(look(&root.join("nothing")).is_err());
    }
}
