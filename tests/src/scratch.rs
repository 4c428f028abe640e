//! Folders for the length of a story. One that a killed harness left behind is removed by the next harness.
//!
//! Invariant: its owner holds a lock on a file in it for as long as the folder is in use; the kernel gives a lock back when
//! its holder dies.

use std::{
    fs::{self, File},
    path::Path,
    sync::Once,
};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// How their names begin.
const PREFIX: &str = "stele-tests-";
/// The file whose lock says that the folder is in use.
const LOCK: &str = "in-use";

static SWEPT: Once = Once::new();

/// A folder that is gone with this value.
pub struct Scratch {
    folder: TempDir,
    _lock: File,
}

impl Scratch {
    /// Makes one, after those of dead harnesses are gone.
    pub fn new() -> Result<Self> {
        let all = std::env::temp_dir();
        SWEPT.call_once(|| sweep(&all));
        Self::make(&all)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn make(all: &Path) -> Result<Self> {
        let make = || {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(all)?;
            // Locked before it has its name: who finds it unlocked knows that the owner is dead.
            let early = folder.path().join("new");
            let lock = File::create(&early)?;
            lock.lock()?;
            fs::rename(early, folder.path().join(LOCK))?;
            Ok::<_, std::io::Error>(Self { folder, _lock: lock })
        };
        make().with_context(|| format!("making a folder in {}", all.display()))
    }
}

/// Removes what dead harnesses left in `all`. What cannot be removed is somebody else's, and harms nobody.
fn sweep(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        // Without the file it is just being made.
        let Ok(lock) = File::open(entry.path().join(LOCK)) else { continue };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dead_owner_left_is_removed_and_nothing_else() {
        let all = tempfile::tempdir().unwrap();
        let living = Scratch::make(all.path()).unwrap();
        let dead = Scratch::make(all.path()).unwrap();
        let left = dead.folder.keep();
        drop(dead._lock);
        let unfinished = all.path().join("stele-tests-unfinished");
        fs::create_dir(&unfinished).unwrap();
        let others = all.path().join("others");
        fs::create_dir(&others).unwrap();
        sweep(all.path());
        assert!(!left.exists());
        assert!(living.path().exists() && unfinished.exists() && others.exists());
    }
}
