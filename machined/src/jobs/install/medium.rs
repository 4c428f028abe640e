//! What the machine was started from, mounted read-only: the parts that an install without an image puts onto the disk.
//!
//! A disk has them on its EFI partition, named by the boot state; a disc has them in the folder `stele`.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use ::boot::part;
use ::boot::uki::{Digest, Uki};
use config::image::esp::Source;
use reconcile::Store;
use sha2::Digest as _;
use sys::mount::{self, Flags};

use super::{Failed, Parts, look};
use crate::blocking;
use crate::drivers;
use crate::resources::disk::Disk;
use crate::resources::partition::Partition;
use crate::trace::chain;

/// The loader on an EFI partition.
const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";
/// A disc of ours, as the image builder calls it, and its files.
const LABEL: &str = "STELE";
const DISC: [&str; 3] = ["stele/uki.efi", "stele/recovery.efi", "stele/loader.efi"];

/// The parts, where they lie.
#[derive(Clone, Debug)]
pub(super) struct Sources {
    pub(super) uki: Source,
    pub(super) recovery: Option<Source>,
    pub(super) loader: Source,
}

/// Where parts lie on a medium, and what is known of their content: UKI, recovery, loader.
type Files = [(String, Option<Uki>); 3];

/// A mounted medium; unmounted when it is dropped.
#[derive(Debug)]
pub(super) struct Medium {
    root: PathBuf,
}

impl Drop for Medium {
    fn drop(&mut self) {
        if let Err(error) = mount::unmount(&self.root) {
            tracing::warn!("{}", chain(&error));
        }
    }
}

/// Finds and mounts it. The parts are there as long as the medium is held.
pub(super) async fn open(parts: &Parts, on: &Path) -> Result<(Medium, Sources), Failed> {
    let (device, filesystem, files) = match look::booted(&parts.puller.store).await? {
        Some(disk) => of_disk(parts, &disk)?,
        None => (disc(&parts.puller.store)?, "iso9660", DISC.map(|path| (path.to_owned(), None))),
    };
    let modules = if filesystem == "vfat" { drivers::VFAT } else { drivers::ISO9660 };
    parts.drivers.load(modules, "what the machine was started from is read").await;
    let on = on.to_owned();
    blocking::run(move || {
        let failed = |error: io::Error| unreadable(&format!("{device}: {error}"));
        // An earlier start that was killed left its mount.
        while mount::unmount(&on).is_ok() {}
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&on).map_err(failed)?;
        let flags = Flags::NOSUID | Flags::NODEV | Flags::NOEXEC | Flags::RDONLY;
        let options = if filesystem == "vfat" { "umask=0077,codepage=437,iocharset=ascii" } else { "" };
        mount::new(filesystem, Path::new(&device), &on, flags, options).map_err(|error| unreadable(&chain(&error)))?;
        let medium = Medium { root: on };
        let source = |(path, known): &(String, Option<Uki>)| source(&medium.root.join(path), *known);
        let [uki, recovery, loader] = &files;
        let sources = Sources {
            uki: source(uki).map_err(failed)?,
            recovery: match source(recovery) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                found => Some(found.map_err(failed)?),
            },
            loader: source(loader).map_err(failed)?,
        };
        Ok((medium, sources))
    })
    .await
}

fn unreadable(why: &str) -> Failed {
    let reason = format!("what the machine was started from cannot be read: {why}");
    Failed::because(reason, "give the image: apictl install --image REF")
}

/// The EFI partition of the disk, and the files by the boot state.
fn of_disk(parts: &Parts, disk: &str) -> Result<(String, &'static str, Files), Failed> {
    let remedy = "give the image: apictl install --image REF";
    let view = parts.generations.view();
    let Some(state) = &view.state else {
        return Err(Failed::refused(format!("it is not known what runs: {}", view.problem), remedy));
    };
    let running = view.generation().or_else(|| state.generation(state.current));
    let Some(running) = running else { return Err(Failed::refused("it is not known what runs", remedy)) };
    let kind = part::ESP.guid.to_string();
    let all = parts.puller.store.list::<Partition>();
    let ours = all.iter().filter(|one| one.value.disk == disk && one.value.kind.eq_ignore_ascii_case(&kind));
    let Some(esp) = ours.min_by_key(|one| one.value.number) else {
        return Err(Failed::refused(format!("{disk} has no EFI partition"), remedy));
    };
    let file = |uki: Uki| (uki.digest.path().as_str().trim_start_matches('/').to_owned(), Some(uki));
    let recovery = state.recovery.map_or_else(|| ("none".to_owned(), None), file);
    Ok((esp.value.device.clone(), "vfat", [file(running.uki), recovery, (LOADER.to_owned(), None)]))
}

/// The one disc that is ours.
fn disc(store: &Store) -> Result<String, Failed> {
    let all = store.list::<Disk>();
    let ours: Vec<_> = all
        .iter()
        .filter(|disk| disk.value.content.as_ref().is_some_and(|c| c.format == "iso9660" && c.label == LABEL))
        .collect();
    let remedy = "give the image: apictl install --image REF";
    match ours.as_slice() {
        [one] => Ok(one.value.device.clone()),
        [] => Err(Failed::refused("the machine was started from no disk and no disc of Stele", remedy)),
        _ => Err(Failed::refused("there is more than one disc of Stele", "take out all but one, or give the image")),
    }
}

/// What a file holds: as it is known, or as it says now.
fn source(path: &Path, known: Option<Uki>) -> io::Result<Source> {
    let mut file =
        File::open(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    let (digest, size) = match known {
        Some(uki) => (uki.digest, uki.size),
        None => {
            let mut hash = sha2::Sha256::new();
            let size = io::copy(&mut file, &mut hash)?;
            (Digest(hash.finalize().into()), size)
        }
    };
    let digest = config::image::Digest::of_bytes(&digest.0);
    Ok(Source { path: path.display().to_string(), digest, size })
}
