//! Where the parts of an image are pulled to: EPHEMERAL when it is there, else memory, as much as there is to spare.
//!
//! Invariant: nobody but the program that pulls can write there while it pulls, and nobody but root afterwards.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::image::pull::Limits;
use reconcile::{Resource, Store};
use tokio::time::timeout;

use super::order::Room;
use super::{Failed, Puller};
use crate::blocking;
use crate::resources::memory::Memory;
use crate::resources::volume::{Phase, Volume};

/// Below EPHEMERAL's mount point.
const ON_DISK: &str = "lib/stele/pull";
/// Below /run/stele.
const IN_MEMORY: &str = "pull";
/// For EPHEMERAL to be mounted after a boot.
const VOLUME: Duration = Duration::from_secs(120);
/// More than all parts of any image, twice.
const MOST: u64 = 1 << 30;
/// What others must still be able to write on EPHEMERAL.
const FREE: u64 = 256 << 20;
/// What the machine needs of its memory while an image is in the rest of it.
const SPARE: u64 = 256 << 20;
/// Less is no image.
const LEAST: u64 = 32 << 20;
/// For everything; on a slow line a hundred megabytes take their time.
const SECONDS: u64 = 3600;
/// Without a byte.
const STALL: u64 = 30;

/// A place for the parts.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Bytes that may come.
    bytes: u64,
    /// Bytes that must stay free where it is.
    free: u64,
    /// It is memory, which counts as that of the program that writes it.
    pub(super) memory: bool,
}

impl Folder {
    pub(super) fn room(&self) -> Room<'_> {
        let limits = Limits { bytes: self.bytes, seconds: SECONDS, stall: STALL };
        Room { folder: &self.path, limits, free: self.free }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes it, and gives it to `user` with all that an earlier try left there.
    pub(super) async fn open_for(&self, user: u32) -> Result<(), Failed> {
        let path = self.path.clone();
        let made = blocking::run(move || {
            if let Some(parent) = path.parent() {
                DirBuilder::new().recursive(true).mode(0o711).create(parent)?;
            }
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => fs::set_permissions(&path, Permissions::from_mode(0o700))?,
            }
            own(&path, user)
        });
        made.await.map_err(|error| self.failed(&error))
    }

    /// Takes it back: what was checked stays as it is.
    pub(super) async fn close(&self) -> Result<(), Failed> {
        let path = self.path.clone();
        blocking::run(move || own(&path, 0)).await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failed {
        let reason = format!("the folder {} for the image cannot be used: {error}", self.path.display());
        Failed::because(reason, "apictl get volumes")
    }
}

/// The folder first or last, so that its owner is never left with less than the folder itself; links are not followed.
fn own(folder: &Path, user: u32) -> io::Result<()> {
    lchown(folder, Some(user), Some(user))?;
    for entry in fs::read_dir(folder)? {
        lchown(entry?.path(), Some(user), Some(user))?;
    }
    Ok(())
}

impl Puller {
    /// Where an image is pulled to.
    pub(super) async fn folder(&self) -> Result<Folder, Failed> {
        let (store, run) = (&self.store, &self.run);
        if let Some(volume) = mounted(store).await {
            let path = Path::new(&volume.mount_point).join(ON_DISK);
            return Ok(Folder { path, bytes: MOST, free: FREE, memory: false });
        }
        if store.refresh(Memory::TYPE).await.is_err() {
            return Err(Failed::because("it is not known how much memory is free", "apictl get memory"));
        }
        let available = store.get::<Memory>(Memory::ID).map_or(0, |memory| memory.value.available_bytes);
        let bytes = available.saturating_sub(SPARE).min(MOST);
        if bytes < LEAST {
            let reason = format!(
                "space: there is no EPHEMERAL, and of the memory {} MiB are free: {} MiB are needed at least",
                available >> 20,
                (SPARE + LEAST) >> 20
            );
            return Err(Failed::because(reason, "apictl get volumes says why there is no EPHEMERAL"));
        }
        Ok(Folder { path: run.join(IN_MEMORY), bytes, free: 0, memory: true })
    }

    /// Removes what was pulled, wherever it is.
    pub(in crate::jobs) async fn remove_folders(&self) {
        let mut folders = vec![self.run.join(IN_MEMORY)];
        let volume = self.store.get::<Volume>(EPHEMERAL).filter(|volume| volume.value.phase == Phase::Mounted);
        folders.extend(volume.map(|volume| Path::new(&volume.value.mount_point).join(ON_DISK)));
        blocking::run(move || {
            for folder in folders {
                match fs::remove_dir_all(&folder) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        tracing::warn!("what was pulled stays in {}: {error}", folder.display());
                    }
                    _ => {}
                }
            }
        })
        .await;
    }
}

const EPHEMERAL: &str = "EPHEMERAL";

/// EPHEMERAL, once it is decided whether it can be used.
async fn mounted(store: &Store) -> Option<Volume> {
    // Who makes volumes has looked at the disk by then.
    store.told(Volume::TYPE).await;
    let mut changes = store.watch::<Volume>();
    let decided = async {
        loop {
            changes.mark_seen();
            let volume = store.get::<Volume>(EPHEMERAL).map(|volume| (*volume.value).clone());
            match volume.as_ref().map(|volume| volume.phase) {
                Some(Phase::Waiting | Phase::Making | Phase::Checking) => {}
                _ => return volume,
            }
            changes.changed().await;
        }
    };
    let volume = timeout(VOLUME, decided).await.ok().flatten();
    volume.filter(|volume| volume.phase == Phase::Mounted && !volume.read_only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_folder_is_given_and_taken_back_without_following_links() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::write(&outside, "x").unwrap();
        let place = Folder { path: folder.path().join("a/pull"), bytes: 1, free: 0, memory: true };
        let me = rustix::process::getuid().as_raw();
        place.open_for(me).await.unwrap();
        fs::write(place.path.join("part"), "x").unwrap();
        std::os::unix::fs::symlink(&outside, place.path.join("link")).unwrap();
        fs::remove_file(&outside).unwrap();
        // A link that leads nowhere is an error for who follows it.
        place.open_for(me).await.unwrap();
        assert_eq!(fs::metadata(&place.path).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test(start_paused = true)]
    async fn ephemeral_is_waited_for_as_long_as_it_may_come() {
        let store = Store::new();
        assert_eq!(mounted(&store).await, None, "nobody makes one");
        let writer = store.writer::<Volume>("test").unwrap();
        let volume = Volume { phase: Phase::Checking, mount_point: "/var".into(), ..Volume::default() };
        writer.put(EPHEMERAL, volume.clone());
        let later = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            writer.put(EPHEMERAL, Volume { phase: Phase::Mounted, ..volume.clone() });
        };
        let (found, ()) = tokio::join!(mounted(&store), later);
        assert_eq!(found.unwrap().mount_point, "/var");
        writer.put(EPHEMERAL, volume);
        assert_eq!(mounted(&store).await, None, "it does not come");
    }
}
