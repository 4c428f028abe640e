//! What an earlier machined left of a service's process: found by what init kept, or by the record alone, wherever the
//! earlier one was killed. Called by the unit.
//!
//! ```text
//! start: fork, registered | record: pid, running | init keeps pid:      killed after the first: nobody's, and the next
//!                                                                      start kills what is in the cgroup; after the
//!                                                                      second: found by the record
//! end:   seen | record: not running, how | reaped | init forgets, drops   killed after the second: the record counts
//! ```

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use sys::Pid;
use sys::link::Kind;
use sys::process;

use super::Error;
use super::first::Running;
use super::plan::End;
use super::record::{self, Record};
use crate::link::{Kept, Link};
use crate::trace::chain;

/// What is left of the process of the record.
#[derive(Debug)]
pub(super) enum Left {
    /// There was none, or its end is in the record.
    Nothing,
    /// It runs, or its end is still to be seen.
    Running(Running),
    /// It has ended, and nobody has written that down; to be [`release`]d when that is done.
    Ended(Pid, End),
}

/// Finds it.
pub(super) async fn process(link: &Link, name: &str, record: &Record, kept: &mut Kept) -> Result<Left, Error> {
    let entry = kept.take(&format!("pid:{name}"));
    let Some(pid) = record.pid.and_then(Pid::from_raw) else { return Ok(Left::Nothing) };
    if !record.running {
        if entry.is_some() {
            release(link, name, pid).await;
        }
        return Ok(Left::Nothing);
    }
    if let Some(running) = entry.map(|entry| take_over(record, entry.descriptor)).transpose()?.flatten() {
        return Ok(Left::Running(running));
    }
    if let Some((running, copy)) = find(record) {
        if let Err(error) = link.put(&format!("pid:{name}"), Kind::Plain, copy).await {
            tracing::warn!("service {name}: {}", chain(&error));
        }
        return Ok(Left::Running(running));
    }
    // Gone before init had its descriptor: with what it keeps, init told how, if it knew.
    let told = tokio::time::timeout(Duration::ZERO, link.status(pid)).await;
    Ok(Left::Ended(pid, told.map_or(End::Unknown, End::Exit)))
}

/// Its end is written down: init need not keep anything of it.
pub(super) async fn release(link: &Link, name: &str, pid: Pid) {
    for done in [link.forget(pid).await, link.drop(&format!("pid:{name}")).await] {
        if let Err(error) = done {
            tracing::warn!("service {name}: {}", chain(&error));
        }
    }
}

/// The process init kept, when it is the one of the record.
fn take_over(record: &Record, pidfd: OwnedFd) -> Result<Option<Running>, Error> {
    let (Some(pid), Some(raw)) = (record.pid, record.pid.and_then(Pid::from_raw)) else { return Ok(None) };
    let same = match record::pid_of(pidfd.as_fd()) {
        // Reaped by init: its status waits there.
        None => true,
        Some(of) => of == pid && record::start_time(pid).is_none_or(|t| t == record.start_time),
    };
    if !same {
        return Ok(None);
    }
    Running::new(raw, pidfd).map(Some)
}

/// The process of the record, when machined was killed before init had its descriptor: also a copy for init.
fn find(record: &Record) -> Option<(Running, OwnedFd)> {
    let pid = record.pid.and_then(Pid::from_raw).filter(|_| record.running)?;
    // In this order: the pid and the start time name one process for good, and it was there when the descriptor was made.
    let pidfd = process::open(pid).ok()?;
    let same = record::start_time(pid.as_raw_nonzero().get()) == Some(record.start_time);
    let copy = pidfd.try_clone().ok().filter(|_| same)?;
    Some((Running::new(pid, pidfd).ok()?, copy))
}
