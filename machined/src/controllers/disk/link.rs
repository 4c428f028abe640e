//! The controller of the symbolic links under /dev/disk: exactly those that the disks and partitions say they have.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reconcile::{Controller, Cycle, CycleError, Next, Ports};

use crate::resources::disk::Disk;
use crate::resources::partition::Partition;

/// Folders whose links are ours.
const FOLDERS: [&str; 6] = ["by-id", "by-label", "by-partlabel", "by-partuuid", "by-path", "by-uuid"];

/// The controller.
#[derive(Debug)]
pub(super) struct Link {
    /// /dev/disk.
    dir: PathBuf,
}

/// Why a cycle failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot change the links under {dir}: {first}; {more} more failed")]
    Links { dir: PathBuf, first: String, more: usize },
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

/// Name under /dev/disk, and where it points to.
type Links = BTreeMap<String, PathBuf>;

#[derive(Debug, PartialEq, Eq)]
enum Change {
    Set(String, PathBuf),
    Remove(String),
}

impl Link {
    pub(super) fn new(dev: &Path) -> Self {
        Self { dir: dev.join("disk") }
    }
}

impl Controller for Link {
    const NAME: &'static str = "disk/link";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        ports.watch::<Disk>().watch::<Partition>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        let mut wanted = Links::new();
        for disk in cx.list::<Disk>()? {
            wanted.extend(disk.value.links.iter().map(|link| (link.clone(), target(&disk.value.device))));
        }
        for part in cx.list::<Partition>()? {
            wanted.extend(part.value.links.iter().map(|link| (link.clone(), target(&part.value.device))));
        }
        let changes = plan(&wanted, &observe(&self.dir));
        // A few symbolic links on devtmpfs: quicker than handing them to another thread.
        let failed: Vec<_> = changes.iter().filter_map(|change| apply(&self.dir, change).err()).collect();
        match failed.split_first() {
            None => Ok(Next::OnChange),
            Some((first, rest)) => {
                Err(Error::Links { dir: self.dir.clone(), first: first.to_string(), more: rest.len() })
            }
        }
    }
}

/// Relative, as others make them: `../../vda1`.
fn target(device: &str) -> PathBuf {
    Path::new("../..").join(device.strip_prefix("/dev/").unwrap_or(device))
}

fn observe(dir: &Path) -> Links {
    let mut found = Links::new();
    for folder in FOLDERS {
        for entry in fs::read_dir(dir.join(folder)).into_iter().flatten().flatten() {
            if let (Ok(target), Ok(name)) = (fs::read_link(entry.path()), entry.file_name().into_string()) {
                found.insert(format!("{folder}/{name}"), target);
            }
        }
    }
    found
}

fn plan(wanted: &Links, observed: &Links) -> Vec<Change> {
    let gone = observed.keys().filter(|name| !wanted.contains_key(*name)).cloned().map(Change::Remove);
    let new = wanted.iter().filter(|(name, target)| observed.get(*name) != Some(*target));
    gone.chain(new.map(|(name, target)| Change::Set(name.clone(), target.clone()))).collect()
}

fn apply(dir: &Path, change: &Change) -> io::Result<()> {
    match change {
        Change::Remove(name) => fs::remove_file(dir.join(name)),
        Change::Set(name, target) => {
            let path = dir.join(name);
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            // By rename, so that a link that changes is never missing.
            let new = dir.join(".new");
            match fs::remove_file(&new) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            std::os::unix::fs::symlink(target, &new)?;
            fs::rename(new, path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn links() -> impl Strategy<Value = Links> {
        let name = ("by-(id|uuid)", "[a-c]{1,2}").prop_map(|(folder, name)| format!("{folder}/{name}"));
        proptest::collection::btree_map(name, "[v-z]d[a-b]".prop_map(PathBuf::from), 0..8)
    }

    proptest! {
        #[test]
        fn what_was_planned_is_there_and_then_nothing_is_left_to_do(first in links(), second in links()) {
            let dir = tempfile::tempdir().unwrap();
            for wanted in [&first, &second] {
                for change in plan(wanted, &observe(dir.path())) {
                    apply(dir.path(), &change).unwrap();
                }
                prop_assert_eq!(&observe(dir.path()), wanted);
                prop_assert!(plan(wanted, &observe(dir.path())).is_empty());
            }
        }
    }
}
