//! The cgroup v2 tree: who lives where and what may be used. `boot` makes it, the supervisor adds services.
//!
//! ```text
//! /sys/fs/cgroup          every controller is on for the children
//! ├── init                PID 1
//! ├── machined            at most 128 MiB
//! ├── services/<name>     as declared
//! ├── jobs/<program>      programs of a job, with the limits that the job sets
//! └── programs            made by `program`: mkfs and its like, each for moments
//! ```

mod group;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use group::Group;

/// machined needs a tenth of it; logs in /run count here too. Over it machined is killed and started again, and the
/// machine's memory is not.
const MACHINED_MAX: u64 = 128 << 20;
/// Under this much machined's memory is not reclaimed for others: so that the API answers on a machine that swaps to death.
const MACHINED_LOW: u64 = 24 << 20;

/// A file of the tree that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the cgroup tree: {verb} {path}")]
pub struct Error {
    verb: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Makes the tree under `root` and moves PID 1 and this process to their places. Running it again changes nothing.
pub fn ensure(root: &Path) -> Result<(), Error> {
    for name in ["init", "machined", "services", "jobs"] {
        let path = root.join(name);
        fs::create_dir_all(&path).map_err(|source| Error { verb: "making", path, source })?;
    }
    write(&root.join("init/cgroup.procs"), "1")?;
    write(&root.join("machined/cgroup.procs"), &std::process::id().to_string())?;
    for parent in [root.to_owned(), root.join("services"), root.join("jobs")] {
        let list = parent.join("cgroup.controllers");
        let controllers = fs::read_to_string(&list).map_err(|source| Error { verb: "reading", path: list, source })?;
        for controller in controllers.split_whitespace() {
            write(&parent.join("cgroup.subtree_control"), &format!("+{controller}"))?;
        }
    }
    write(&root.join("machined/memory.max"), &MACHINED_MAX.to_string())?;
    write(&root.join("machined/memory.low"), &MACHINED_LOW.to_string())
}

fn write(path: &Path, value: &str) -> Result<(), Error> {
    fs::write(path, value).map_err(|source| Error { verb: "writing", path: path.to_owned(), source })
}
