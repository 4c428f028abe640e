//! The first process of a service: taken over from an earlier machined, asked to end, seen to end. Called by the unit.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use config::service::Signal;
use sys::Pid;
use sys::process;
use tokio::io::unix::AsyncFd;

use super::Error;
use super::plan::End;
use super::record::{self, Record};
use crate::link::Link;

/// init learns of an end as soon as machined does; without an answer after this it never will.
const STATUS: Duration = Duration::from_secs(5);

/// A process that runs, or has ended and was not looked at yet.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: Pid,
    pub(super) pidfd: AsyncFd<OwnedFd>,
}

/// The process init kept, when it is the one of the record.
pub(super) fn take_over(record: &Record, pidfd: OwnedFd) -> Result<Option<Running>, Error> {
    let (Some(pid), Some(raw)) = (record.pid, record.pid.and_then(Pid::from_raw)) else { return Ok(None) };
    let same = match record::pid_of(pidfd.as_fd()) {
        // Reaped by init: its status waits there.
        None => true,
        Some(of) => of == pid && record::start_time(pid).is_none_or(|t| t == record.start_time),
    };
    if !same {
        return Ok(None);
    }
    Ok(Some(Running { pid: raw, pidfd: crate::poll::readable(pidfd).map_err(Error::Process)? }))
}

/// Waits for the process to end. Cancel-safe.
pub(super) async fn ended(running: Option<&Running>, link: &Link) -> End {
    let Some(running) = running else { return std::future::pending().await };
    loop {
        let Ok(mut readable) = running.pidfd.readable().await else { return End::Unknown };
        match process::try_wait(running.pidfd.as_fd()) {
            Ok(Some(status)) => return End::Exit(status),
            Ok(None) => readable.clear_ready(),
            // Not our child: machined was restarted since, and init is its parent now.
            Err(_) => {
                return tokio::time::timeout(STATUS, link.status(running.pid)).await.map_or(End::Unknown, End::Exit);
            }
        }
    }
}

pub(super) fn signal(signal: Signal) -> process::Signal {
    match signal {
        Signal::Term => process::Signal::TERM,
        Signal::Int => process::Signal::INT,
        Signal::Hup => process::Signal::HUP,
        Signal::Quit => process::Signal::QUIT,
        Signal::Usr1 => process::Signal::USR1,
        Signal::Usr2 => process::Signal::USR2,
        Signal::Kill => process::Signal::KILL,
    }
}
