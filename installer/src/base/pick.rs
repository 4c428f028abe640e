//! Picking files out of the packages: a named one, what its links point to, what it needs to run, and its licence.

use std::collections::{BTreeMap, BTreeSet};

use super::Error;
use crate::elf;
use crate::tree::{Node, Origin, Tree};

/// All nodes of the packages, each with its package.
pub(super) type Pool = BTreeMap<String, (Node, String)>;

/// Whether it is the text that a package's licence asks to be kept with its files.
pub(super) fn is_licence(path: &str) -> bool {
    path.starts_with("/usr/share/doc/") && path.ends_with("/copyright")
}

/// Takes a file by its path, what a link points to, and what a program needs.
pub(super) fn take(pool: &Pool, tree: &mut Tree, path: &str, by: &str) -> Result<(), Error> {
    if tree.get(path).is_some() {
        return Ok(());
    }
    let nowhere = || Error::Nowhere { path: path.to_owned(), by: by.to_owned() };
    let (node, package) = pool.get(path).ok_or_else(nowhere)?;
    tree.put(path, node.clone(), Some(Origin::Package(package.clone())));
    match node {
        Node::Dir => Err(nowhere()),
        Node::Link(target) => take(pool, tree, &resolve(path, target), path),
        Node::File { bytes, .. } if elf::is_elf(bytes) => {
            let needs = elf::needs(bytes).map_err(|cause| Error::Elf { path: path.to_owned(), cause })?;
            if let Some(interpreter) = needs.interpreter {
                take(pool, tree, &merged(&interpreter), path)?;
            }
            for library in needs.libraries {
                take(pool, tree, &format!("/usr/lib/x86_64-linux-gnu/{library}"), path)?;
            }
            Ok(())
        }
        Node::File { .. } => Ok(()),
    }
}

/// The target of a link as an absolute path.
fn resolve(link: &str, target: &str) -> String {
    let folder = link.rsplit_once('/').map_or("", |(folder, _)| folder);
    let start = if target.starts_with('/') { "" } else { folder };
    let mut parts: Vec<&str> = Vec::new();
    for part in start.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    merged(&format!("/{}", parts.join("/")))
}

/// `/lib64/x` as `/usr/lib64/x`: Debian 13 has these folders as links into /usr.
fn merged(path: &str) -> String {
    let old = ["/bin/", "/sbin/", "/lib/", "/lib64/"].iter().any(|folder| path.starts_with(folder));
    if old { format!("/usr{path}") } else { path.to_owned() }
}

/// The copyright file of every package that gave a file: their licences ask for it.
pub(super) fn licences(pool: &Pool, tree: &mut Tree) -> Result<(), Error> {
    let packages: BTreeSet<String> = tree
        .iter()
        .filter_map(|(_, _, origin)| match origin {
            Some(Origin::Package(name)) => Some(name.clone()),
            _ => None,
        })
        .collect();
    for name in packages {
        let path = format!("/usr/share/doc/{name}/copyright");
        if tree.get(&path).is_none() {
            // some packages share the folder of another by a link
            let folder = format!("/usr/share/doc/{name}");
            match pool.get(&folder) {
                Some((Node::Link(target), _)) => {
                    let real = format!("{}/copyright", resolve(&folder, target));
                    tree.link(&folder, target, Origin::Package(name.clone()));
                    take(pool, tree, &real, &name)?;
                }
                _ => take(pool, tree, &path, &name)?,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_resolve_into_usr() {
        assert_eq!(resolve("/usr/lib64/ld.so", "../lib/x/ld.so"), "/usr/lib/x/ld.so");
        assert_eq!(resolve("/usr/sbin/mkfs.ext4", "mke2fs"), "/usr/sbin/mke2fs");
        assert_eq!(resolve("/usr/sbin/a", "/lib/b"), "/usr/lib/b");
    }
}
