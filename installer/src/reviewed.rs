//! `executables.txt`: the reviewed list of everything in the root filesystem that can be executed.
//!
//! A build whose executables differ from it fails, so a shell, an interpreter or a package manager cannot slip in with an
//! update of a package.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::system::Edition;
use crate::tree::Tree;

/// The image and the list do not agree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No list.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// They differ.
    #[error(
        "the image's executables are not the reviewed ones. New: {new:?}. Gone: {gone:?}. If that is meant, change \
         installer/executables.txt"
    )]
    Differ {
        /// In the image, not in the list.
        new: Vec<String>,
        /// In the list, not in the image.
        gone: Vec<String>,
    },
}

/// Everything that the kernel would execute: the executable bit, or a script's first line whatever the mode.
#[must_use]
pub fn executables(tree: &Tree) -> BTreeSet<String> {
    let runs = |bytes: &[u8], executable: bool| executable || bytes.starts_with(b"#!");
    tree.files()
        .filter(|(_, bytes, executable, _)| runs(bytes, *executable))
        .map(|(path, ..)| path.to_owned())
        .collect()
}

/// Compares a tree with the list in the installer folder; recovery has a part of it.
///
/// # Errors
/// When they differ.
pub fn check(tree: &Tree, source: &Path, edition: Edition) -> Result<(), Error> {
    let path = source.join("executables.txt");
    let text = std::fs::read_to_string(&path).map_err(|cause| Error::Read { path, cause })?;
    match compare(&executables(tree), &text) {
        Err(Error::Differ { new, .. }) if new.is_empty() && edition == Edition::Recovery => Ok(()),
        compared => compared,
    }
}

fn compare(found: &BTreeSet<String>, list: &str) -> Result<(), Error> {
    let lines = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let reviewed: BTreeSet<String> = lines.map(str::to_owned).collect();
    if *found == reviewed {
        return Ok(());
    }
    let but = |one: &BTreeSet<String>, other: &BTreeSet<String>| one.difference(other).cloned().collect();
    Err(Error::Differ { new: but(found, &reviewed), gone: but(&reviewed, found) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Origin;

    #[test]
    fn finds_what_slipped_in() {
        let mut tree = Tree::default();
        tree.file("/usr/bin/machined", b"\x7fELF".to_vec(), true, Origin::Stele);
        tree.file("/usr/share/script", b"#!/bin/sh".to_vec(), false, Origin::Stele);
        tree.file("/usr/lib/os-release", b"ID=stele".to_vec(), false, Origin::Stele);
        let found = executables(&tree);
        assert!(compare(&found, "# list\n/usr/bin/machined\n/usr/share/script\n").is_ok());
        let Err(Error::Differ { new, gone }) = compare(&found, "/usr/bin/machined\n/usr/bin/x\n") else {
            panic!("not noticed")
        };
        assert_eq!((new, gone), (vec!["/usr/share/script".to_owned()], vec!["/usr/bin/x".to_owned()]));
    }
}
