//! The first process of a service: asked to end, seen to end. Called by the unit.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use config::service::Signal;
use sys::Pid;
use sys::process;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::Error;
use super::plan::End;
use crate::link::Link;

/// init learns of an end as soon as machined does; without an answer after this it never will.
const STATUS: Duration = Duration::from_secs(5);

/// A process that runs, or has ended and was not looked at yet.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) pid: Pid,
    pub(super) pidfd: AsyncFd<OwnedFd>,
    /// Until when init may still tell how it ended; set when it was seen to be gone.
    told_by: OnceLock<Instant>,
}

impl Running {
    pub(super) fn new(pid: Pid, pidfd: OwnedFd) -> Result<Self, Error> {
        Ok(Self { pid, pidfd: crate::poll::readable(pidfd).map_err(Error::Process)?, told_by: OnceLock::new() })
    }
}

/// Waits for the process to end, and leaves it unreaped. Cancel-safe.
pub(super) async fn ended(running: Option<&Running>, link: &Link) -> End {
    let Some(running) = running else { return std::future::pending().await };
    loop {
        let Ok(mut readable) = running.pidfd.readable().await else { return End::Unknown };
        match process::ended(running.pidfd.as_fd()) {
            Ok(Some(status)) => return End::Exit(status),
            Ok(None) => readable.clear_ready(),
            // Not our child: machined was restarted since, and init is its parent now.
            Err(_) => {
                // The deadline is kept across calls: this future is dropped and made again whenever something happens.
                let told_by = *running.told_by.get_or_init(|| Instant::now() + STATUS);
                let status = tokio::time::timeout_at(told_by, link.status(running.pid)).await;
                return status.map_or(End::Unknown, End::Exit);
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
