//! A file tree in memory: what goes into an image, with who it came from.
//!
//! Paths are absolute, without a slash at their end; everything belongs to root; a parent folder exists for every path.

use std::collections::BTreeMap;
use std::io::{self, Write};

/// Where a file came from; in the SBOM this is the package that holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Origin {
    /// A Debian binary package.
    Package(String),
    /// This project.
    Stele,
}

/// A node of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A folder (0755).
    Dir,
    /// A symbolic link to this target.
    Link(String),
    /// A regular file.
    File {
        /// Content.
        bytes: Vec<u8>,
        /// 0755 instead of 0644.
        executable: bool,
    },
}

/// The tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, (Node, Option<Origin>)>,
}

impl Tree {
    /// Puts a file; replaces what was there.
    pub fn file(&mut self, path: &str, bytes: Vec<u8>, executable: bool, origin: Origin) {
        self.put(path, Node::File { bytes, executable }, Some(origin));
    }

    /// Puts a symbolic link.
    pub fn link(&mut self, path: &str, target: &str, origin: Origin) {
        self.put(path, Node::Link(target.to_owned()), Some(origin));
    }

    /// Makes a folder and those above it.
    pub fn dir(&mut self, path: &str) {
        self.put(path, Node::Dir, None);
    }

    /// Puts a node and the folders above it.
    pub fn put(&mut self, path: &str, node: Node, origin: Option<Origin>) {
        let mut parent = path;
        while let Some((above, _)) = parent.rsplit_once('/').filter(|(above, _)| !above.is_empty()) {
            self.nodes.entry(above.to_owned()).or_insert((Node::Dir, None));
            parent = above;
        }
        self.nodes.insert(path.to_owned(), (node, origin));
    }

    /// Takes over everything of another tree.
    pub fn merge(&mut self, other: Self) {
        for (path, (node, origin)) in other.nodes {
            if node != Node::Dir || !self.nodes.contains_key(&path) {
                self.put(&path, node, origin);
            }
        }
    }

    /// A node by its path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path).map(|(node, _)| node)
    }

    /// All nodes in the order of their paths, parents first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node, Option<&Origin>)> {
        self.nodes.iter().map(|(path, (node, origin))| (path.as_str(), node, origin.as_ref()))
    }

    /// All regular files.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8], bool, Option<&Origin>)> {
        self.iter().filter_map(|(path, node, origin)| match node {
            Node::File { bytes, executable } => Some((path, bytes.as_slice(), *executable, origin)),
            Node::Dir | Node::Link(_) => None,
        })
    }

    /// Writes the tree as a tar archive: sorted, owned by root, all with the same time.
    ///
    /// # Errors
    /// When the writer fails or a path is too long for the format.
    pub fn write_tar(&self, to: impl Write, time: u64) -> io::Result<()> {
        let mut tar = tar::Builder::new(to);
        for (path, node, _) in self.iter() {
            let path = path.trim_start_matches('/');
            let mut header = tar::Header::new_gnu();
            header.set_mtime(time);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(0);
            match node {
                Node::Dir => {
                    header.set_entry_type(tar::EntryType::Directory);
                    header.set_mode(0o755);
                    tar.append_data(&mut header, format!("{path}/"), io::empty())?;
                }
                Node::Link(target) => {
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_mode(0o777);
                    tar.append_link(&mut header, path, target)?;
                }
                Node::File { bytes, executable } => {
                    header.set_entry_type(tar::EntryType::Regular);
                    header.set_mode(if *executable { 0o755 } else { 0o644 });
                    header.set_size(bytes.len() as u64);
                    tar.append_data(&mut header, path, bytes.as_slice())?;
                }
            }
        }
        tar.into_inner()?.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_by_themselves_and_stay() {
        let mut tree = Tree::default();
        tree.file("/usr/bin/x", b"x".to_vec(), true, Origin::Stele);
        tree.dir("/usr");
        let paths: Vec<_> = tree.iter().map(|(path, ..)| path).collect();
        assert_eq!(paths, ["/usr", "/usr/bin", "/usr/bin/x"]);
    }
}
