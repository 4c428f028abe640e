//! Whether a program for the firmware is whole: its sections lie inside the file, and the signature in it fits its content
//! (Authenticode; UEFI 2.10, section 32.2.4). Whether the firmware trusts who signed it, the firmware alone knows.
//!
//! Reads the file in pieces: it is large, and memory is small where this runs.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::pe;
use crate::uki;

mod der;
mod pkcs7;

/// Room for all headers: a UKI has some two kilobytes.
const HEAD: usize = 64 * 1024;
/// A signature has some two kilobytes; several of them, and time stamps, fit.
const SIGNATURES: usize = 256 * 1024;
const CHUNK: usize = 64 * 1024;

/// Why it is not whole.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Read(#[from] std::io::Error),
    /// Not an EFI program, or cut.
    #[error(transparent)]
    Program(#[from] pe::Error),
    /// A UKI without this.
    #[error("it has no section {0}")]
    Section(&'static str),
    /// Nobody signed it.
    #[error("it is not signed")]
    Unsigned,
    /// Somebody did.
    #[error("its signature is not whole: {0}")]
    Signature(&'static str),
    /// It was changed afterwards.
    #[error("its signature is of other content")]
    Changed,
}

/// Looks at a part of an installer image, by its name; those that are no programs for the firmware are whole by their digest.
///
/// # Errors
/// See [`Error`].
pub fn check(part: &str, path: &Path) -> Result<(), Error> {
    match part {
        "uki" | "recovery" => program(path, &[uki::OSREL, uki::CMDLINE, uki::UNAME, uki::INITRD, uki::LINUX]),
        "loader" => program(path, &[]),
        _ => Ok(()),
    }
}

fn program(path: &Path, needed: &[&'static str]) -> Result<(), Error> {
    let mut file = File::open(path)?;
    let len = usize::try_from(file.metadata()?.len()).map_err(|_| pe::Error::Format("over 4 GiB"))?;
    let mut head = Vec::new();
    (&mut file).take(HEAD as u64).read_to_end(&mut head)?;
    let sections = pe::sections_of(&head, len)?;
    if let Some(name) = needed.iter().find(|name| sections.iter().all(|one| one.name != **name)) {
        return Err(Error::Section(name));
    }
    let [checksum, security] = pe::signature_fields(&head)?;
    let (start, size) = (pe::u32_at(&head, security)?, pe::u32_at(&head, security + 4)?);
    if start == 0 || size == 0 {
        return Err(Error::Unsigned);
    }
    // behind everything else, up to the end: nothing in the file is neither signed nor signature
    let covered = sections.iter().all(|one| one.offset + one.len <= start);
    if !covered || start.checked_add(size) != Some(len) || start < security + 8 {
        return Err(Error::Signature("it does not lie at the end of the file"));
    }
    if size > SIGNATURES {
        return Err(Error::Signature("it is too large"));
    }
    let mut hash = Sha256::new();
    file.seek(SeekFrom::Start(0))?;
    feed(&mut file, checksum, &mut hash)?;
    file.seek(SeekFrom::Start(checksum as u64 + 4))?;
    feed(&mut file, security - checksum - 4, &mut hash)?;
    file.seek(SeekFrom::Start(security as u64 + 8))?;
    feed(&mut file, start - security - 8, &mut hash)?;
    let mut table = Vec::new();
    file.take(size as u64).read_to_end(&mut table)?;
    signed(&table, &hash.finalize())
}

fn feed(file: &mut File, mut len: usize, hash: &mut Sha256) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    while len > 0 {
        let piece = &mut chunk[..len.min(CHUNK)];
        file.read_exact(piece)?;
        hash.update(&piece);
        len -= piece.len();
    }
    Ok(())
}

/// Every signature in the table (WIN_CERTIFICATE, each padded to 8 bytes) must fit: a firmware takes whichever it trusts.
fn signed(mut table: &[u8], digest: &[u8]) -> Result<(), Error> {
    let mut any = false;
    while !table.is_empty() {
        let len = pe::u32_at(table, 0)?;
        let entry = table.get(..len).filter(|entry| entry.len() > 8).ok_or(Error::Signature("cut short"))?;
        if entry[4..8] != [0x00, 0x02, 0x02, 0x00] {
            return Err(Error::Signature("it is of another kind than PKCS #7"));
        }
        let found = pkcs7::digest(&entry[8..]).map_err(Error::Signature)?;
        if found != digest {
            return Err(Error::Changed);
        }
        any = true;
        table = table.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    if any { Ok(()) } else { Err(Error::Unsigned) }
}

#[cfg(test)]
pub(crate) mod tests;
