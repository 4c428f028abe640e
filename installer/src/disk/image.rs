//! A disk in a file, for the image builder. Its identifiers are derived from its UKI: two builds give the same bytes, and a node
//! makes them unique on its first boot (META's header remembers the one it was built with).

use std::fs::File;
use std::path::Path;

use boot::Guid;
use boot::uki::{Digest, Uki};
use sha2::{Digest as _, Sha256};

use super::{Boots, END, Error, FALLBACK, MIB, Make, Names, content, table, texts, version};
use crate::{cache, fat, pe};

/// What the disk starts.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// The boot chain of a node.
    Chain(Chain<'a>),
    /// One EFI program that the firmware starts by itself; nothing that can be upgraded.
    Bare(&'a [u8]),
}

/// The boot chain of a node.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// The loader, signed.
    pub loader: &'a [u8],
    /// The UKI, which becomes generation 1.
    pub uki: &'a [u8],
    /// The recovery system.
    pub recovery: Option<&'a [u8]>,
}

impl<'a> Content<'a> {
    /// What identifies the disk.
    fn main(&self) -> &'a [u8] {
        match self {
            Self::Chain(chain) => chain.uki,
            Self::Bare(program) => program,
        }
    }
}

impl<'a> Chain<'a> {
    /// What it starts.
    pub(crate) fn boots(&self) -> Result<Boots, pe::Error> {
        let one = |bytes| Ok((identify(bytes), version(bytes)?));
        Ok(Boots { uki: one(self.uki)?, recovery: self.recovery.map(one).transpose()? })
    }

    /// The files of the ESP, in the order in which they are to be there.
    pub(crate) fn files(&self, boots: &Boots) -> Vec<fat::File<'a>> {
        let ukis = [Some(self.uki), self.recovery].into_iter().flatten();
        let mut files: Vec<_> = boots.paths().zip(ukis).map(|((path, _), bytes)| file(&path, bytes)).collect();
        files.push(file(FALLBACK, self.loader));
        files.extend(texts(boots));
        files
    }
}

fn file<'a>(path: &str, bytes: &'a [u8]) -> fat::File<'a> {
    fat::File { path: path.to_owned(), content: Box::new(bytes) }
}

/// Digest and size of a UKI.
#[must_use]
pub fn identify(uki: &[u8]) -> Uki {
    Uki { digest: Digest(Sha256::digest(uki).into()), size: uki.len() as u64 }
}

/// A GUID out of what the image holds and what it is for.
fn derived(content: &[u8], what: &str) -> Guid {
    let mut hash = Sha256::new();
    hash.update(what.as_bytes());
    hash.update(content);
    let digest = hash.finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    Guid::custom(bytes)
}

/// Writes a sparse disk image; `sector` is the logical sector of the disk it is for (512 or 4096). An image that is there
/// is replaced, not changed: a virtual machine may be running on it.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, content: &Content<'_>, sector: u16) -> Result<(), Error> {
    let failed = |cause| Error::Write { path: path.to_owned(), cause };
    cache::replace(path, 0o644, failed, |file, name| fill(file, name, content, sector))
}

/// Fills an empty file with the disk; `path` is for messages.
///
/// # Errors
/// When the file cannot be written.
pub fn fill(to: &mut File, path: &Path, what: &Content<'_>, sector: u16) -> Result<(), Error> {
    // one more MiB for the table's copy at the end
    to.set_len(END + MIB).map_err(|cause| Error::Write { path: path.to_owned(), cause })?;
    let main = what.main();
    let disk = derived(main, "disk");
    let id = Sha256::digest(main);
    let names = Names {
        disk,
        image: disk,
        parts: super::PARTS.map(|(kind, ..)| derived(main, kind.name)),
        volume: u32::from_le_bytes([id[0], id[1], id[2], id[3]]),
    };
    let (files, state) = match what {
        Content::Chain(chain) => {
            let boots = chain.boots()?;
            (chain.files(&boots), Some(boots.state()))
        }
        Content::Bare(program) => (vec![file(FALLBACK, program)], None),
    };
    content(to, path, Make { names, sector, files, state, facts: None })?;
    table(to, path, &names, sector)
}
