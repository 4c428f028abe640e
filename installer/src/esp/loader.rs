//! The one file with a fixed name: the loader. The new one is written beside the old one and read back, then the two change
//! places by one write of one sector.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use boot::Digest;
use config::image::esp::Source;

use super::fat::Volume;
use super::{Error, Report, copy, digest, files};

/// Where the firmware looks, and what lies beside; both as FAT's short names.
const FOLDER: [[u8; 11]; 2] = [*b"EFI        ", *b"BOOT       "];
const LOADER: [u8; 11] = *b"BOOTX64 EFI";
const BESIDE: [u8; 11] = *b"BOOTX64 NEW";

fn path(root: &Path, extension: &str) -> PathBuf {
    root.join("EFI/BOOT").join(format!("BOOTX64.{extension}"))
}

/// Writes the new loader beside the old one; none when the old one is the wanted one.
pub(super) fn beside(root: &Path, source: &Source, report: &mut Report<impl Write>) -> Result<Option<Digest>, Error> {
    let wanted = digest(&source.digest);
    let (old, new) = (path(root, "EFI"), path(root, "NEW"));
    if new.exists() {
        files::remove(&new)?;
    }
    if old.exists() && copy::read_back(&old, |_| Ok(()))? == wanted {
        return Ok(None);
    }
    report.step("loader")?;
    if old.exists() {
        copy::copy(source, &new, report)?;
        return Ok(Some(wanted));
    }
    // There is none to be kept whole.
    fs::create_dir_all(root.join("EFI/BOOT")).map_err(Error::io("make", &old))?;
    copy::copy(source, &old, report)?;
    Ok(None)
}

/// Lets the two change places. The partition is not mounted.
pub(super) fn swap(device: &Path) -> Result<(), Error> {
    let swapped = Volume::open(device).and_then(|volume| volume.swap(&FOLDER, &LOADER, &BESIDE));
    swapped.map_err(|error| Error::Loader(crate::chain(&error)))
}

/// Removes the old one, once the new one is read under its name.
pub(super) fn clear(root: &Path, wanted: Digest) -> Result<(), Error> {
    let (now, old) = (path(root, "EFI"), path(root, "NEW"));
    if copy::read_back(&now, |_| Ok(()))? != wanted {
        return Err(Error::Loader("it is not what was put in its place".into()));
    }
    files::remove(&old)
}
