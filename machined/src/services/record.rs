//! What the next machined must know of a service: one small file each in /run/stele/services, replaced whole.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What is kept of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Record {
    /// Its process.
    pub(super) pid: Option<i32>,
    /// Start time of the process, clock ticks since boot: with the pid it names a process for good.
    pub(super) start_time: u64,
    /// Whether it runs, or was not seen to end.
    pub(super) running: bool,
    /// Whether it has said that it is ready.
    pub(super) ready: bool,
    /// Since when it is in its state, milliseconds of Unix time.
    pub(super) since_unix_ms: u64,
    pub(super) restarts: u32,
    pub(super) failures: u32,
    pub(super) last_end: Option<String>,
    /// It ended and is not to run again.
    pub(super) over: Option<Over>,
}

/// How a service that is not to run again ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Over {
    Well,
    Badly,
}

/// Reads the record of a service; none when there is none, or when it was not written by this version.
pub(super) fn load(dir: &Path, name: &str) -> io::Result<Option<Record>> {
    match fs::read(dir.join(format!("{name}.json"))) {
        Ok(text) => Ok(serde_json::from_slice(&text).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Replaces the record of a service.
pub(super) fn save(dir: &Path, name: &str, record: &Record) -> io::Result<()> {
    crate::file::replace(&dir.join(format!("{name}.json")), &serde_json::to_vec(record)?, 0o644)
}

/// When this process started, in clock ticks since boot (proc(5), field 22 of stat).
pub(super) fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, so count from its closing parenthesis: state is field 3.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// The process a pidfd refers to; none once it is gone and reaped.
pub(super) fn pid_of(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let pid: i32 = info.lines().find_map(|l| l.strip_prefix("Pid:"))?.trim().parse().ok()?;
    (pid > 0).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_record_round_trips_and_a_foreign_one_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let record = Record { pid: Some(7), start_time: 9, ready: true, ..Record::default() };
        save(dir.path(), "web", &record).unwrap();
        assert_eq!(load(dir.path(), "web").unwrap(), Some(record));
        fs::write(dir.path().join("web.json"), "{").unwrap();
        assert_eq!(load(dir.path(), "web").unwrap(), None);
        fs::remove_file(dir.path().join("web.json")).unwrap();
        assert_eq!(load(dir.path(), "web").unwrap(), None);
        fs::create_dir(dir.path().join("web.json")).unwrap();
        assert!(load(dir.path(), "web").is_err(), "unreadable is not absent");
    }

    #[test]
    fn a_process_is_known_by_pid_and_start() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(pid).unwrap() > 0);
        let pidfd = sys::process::open(sys::Pid::from_raw(pid).unwrap()).unwrap();
        assert_eq!(pid_of(pidfd.as_fd()), Some(pid));
    }
}
