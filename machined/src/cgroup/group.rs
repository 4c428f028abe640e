//! The cgroup of one service, or of one program of a job: its limits, everything in it killed at once, its memory.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

use config::service::Limits;

/// One cgroup.
#[derive(Clone, Debug)]
pub struct Group(pub(crate) PathBuf);

impl Group {
    /// Makes it, with these limits; what was left in it is killed.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn ensure(&self, limits: &Limits) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        self.kill()?;
        let memory = limits.memory.map_or("max".to_owned(), |m| m.0.to_string());
        self.limit("memory.max", &memory)?;
        // One process over the limit takes the service with it, never half of it.
        self.limit("memory.oom.group", "1")?;
        self.limit("pids.max", &limits.pids.to_string())?;
        self.limit("cpu.weight", &limits.cpu_weight.to_string())
    }

    /// A limit this kernel has no controller for is none: better a service without than no service.
    fn limit(&self, file: &str, value: &str) -> io::Result<()> {
        let result = self.set(file, value);
        if result.is_err() && !self.0.join(file).exists() {
            tracing::warn!("{}: no {file} here, so {value} is not enforced", self.0.display());
            return Ok(());
        }
        result
    }

    /// The file a process joins by.
    ///
    /// # Errors
    /// There is no such cgroup.
    pub fn procs(&self) -> io::Result<File> {
        File::options().write(true).create(true).truncate(false).open(self.0.join("cgroup.procs"))
    }

    /// Kills everything in it, forks included.
    ///
    /// # Errors
    /// There is no such cgroup.
    pub fn kill(&self) -> io::Result<()> {
        self.set("cgroup.kill", "1")
    }

    /// Whether nothing runs in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        fs::read_to_string(self.0.join("cgroup.events"))
            .is_ok_and(|text| text.lines().any(|line| line == "populated 0"))
    }

    /// Whether something in it was killed because it was over its limit of memory.
    #[must_use]
    pub fn over_memory(&self) -> bool {
        let events = fs::read_to_string(self.0.join("memory.events")).unwrap_or_default();
        events.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count != "0"))
    }

    /// Memory in use, bytes.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        fs::read_to_string(self.0.join("memory.current")).ok()?.trim().parse().ok()
    }

    /// The most memory that was in use at a time, bytes; the cache of what it wrote counts.
    #[must_use]
    pub fn memory_peak(&self) -> Option<u64> {
        fs::read_to_string(self.0.join("memory.peak")).ok()?.trim().parse().ok()
    }

    fn set(&self, file: &str, value: &str) -> io::Result<()> {
        let path = self.0.join(file);
        fs::write(&path, value).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_limit_is_forgiven() {
        // Nobody can make a file in /proc, as in a cgroup.
        let group = Group("/proc/self".into());
        group.limit("memory.max", "1").unwrap();
        group.limit("cmdline", "1").unwrap_err();
        group.set("cgroup.kill", "1").unwrap_err();
    }
}
