//! The cgroup of one service: its limits, everything in it killed at once, its memory. Called by the unit.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use config::service::Limits;

/// One service's cgroup.
#[derive(Clone, Debug)]
pub(super) struct Group(pub(super) PathBuf);

impl Group {
    /// Makes it, with these limits; what was left in it is killed.
    pub(super) fn ensure(&self, limits: &Limits) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        self.kill()?;
        let memory = limits.memory.map_or("max".to_owned(), |m| m.0.to_string());
        self.set("memory.max", &memory)?;
        // One process over the limit takes the service with it, never half of it.
        self.set("memory.oom.group", "1")?;
        self.set("pids.max", &limits.pids.to_string())?;
        self.set("cpu.weight", &limits.cpu_weight.to_string())
    }

    /// The file a process joins by.
    pub(super) fn procs(&self) -> io::Result<File> {
        File::options().write(true).create(true).truncate(false).open(self.0.join("cgroup.procs"))
    }

    /// Kills everything in it, forks included.
    pub(super) fn kill(&self) -> io::Result<()> {
        self.set("cgroup.kill", "1")
    }

    /// Memory in use, bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        fs::read_to_string(self.0.join("memory.current")).ok()?.trim().parse().ok()
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        let path = self.0.join(file);
        fs::write(&path, value).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
    }
}
