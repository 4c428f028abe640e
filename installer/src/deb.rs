//! Reading Debian packages: `dpkg-deb` decompresses, the `tar` crate reads; nothing is unpacked to disk.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::Stdio;

use crate::lock::Package;
use crate::tree::Node;
use crate::{fetch, host};

/// A package cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not what was pinned.
    #[error(transparent)]
    Check(#[from] fetch::Error),
    /// `dpkg-deb` failed.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// Its content is not a readable archive.
    #[error("cannot read the content of {name}")]
    Archive {
        /// Package.
        name: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// The files, links and folders of a fetched package, by absolute path; files only where `wanted` says so. Its SHA-256
/// is checked first.
///
/// # Errors
/// When the package is missing, not the pinned one, or damaged.
pub fn read(package: &Package, wanted: impl Fn(&str) -> bool) -> Result<BTreeMap<String, Node>, Error> {
    let file = fetch::path(package);
    fetch::check(package, &file)?;
    let archive_error = |cause| Error::Archive { name: package.name.clone(), cause };
    let mut program = host::program("dpkg-deb", "dpkg").args(["--fsys-tarfile".as_ref(), file.as_os_str()]);
    program.command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = program.command.spawn().map_err(|cause| program.not_started(cause))?;
    let output = child.stdout.take().ok_or_else(|| archive_error(std::io::ErrorKind::BrokenPipe.into()))?;
    let nodes = entries(output, wanted).map_err(archive_error);
    let status = child.wait().map_err(archive_error)?;
    if !status.success() {
        let stderr = format!("{} cannot be unpacked", file.display());
        return Err(host::Error::Failed { program: program.line(), status, stderr }.into());
    }
    nodes
}

pub(crate) fn entries(from: impl Read, wanted: impl Fn(&str) -> bool) -> std::io::Result<BTreeMap<String, Node>> {
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    let mut archive = tar::Archive::new(from);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = absolute(&entry.path()?.to_string_lossy());
        let target = entry.link_name()?.map(|target| target.to_string_lossy().into_owned());
        let kind = entry.header().entry_type();
        let node = if kind.is_dir() {
            Node::Dir
        } else if kind.is_symlink() {
            Node::Link(target.unwrap_or_default())
        } else if !wanted(&path) {
            continue;
        } else if kind.is_hard_link() {
            let Some(node) = nodes.get(&absolute(&target.unwrap_or_default())).cloned() else { continue };
            node
        } else {
            let mut bytes = Vec::with_capacity(usize::try_from(entry.size()).unwrap_or_default());
            entry.read_to_end(&mut bytes)?;
            Node::File { bytes, executable: entry.header().mode()? & 0o111 != 0 }
        };
        nodes.insert(path, node);
    }
    // read to the end, or the writing side dies of a closed pipe
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
    Ok(nodes)
}

/// `./usr/bin/` as `/usr/bin`.
fn absolute(path: &str) -> String {
    format!("/{}", path.trim_start_matches("./").trim_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fuzz::targets! {
        package_archive: |bytes| {
            for path in entries(bytes, |_| true).unwrap_or_default().keys() {
                assert!(path.starts_with('/'));
            }
        },
    }
}
