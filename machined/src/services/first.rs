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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufRead;
    use sys::process::Spawn;

    /// The unit drops the future and makes it again with each wake-up.
    #[tokio::test]
    async fn an_end_nobody_knows_is_unknown_however_often_one_is_woken() {
        let (read, write) = std::io::pipe().unwrap();
        let spawn = Spawn {
            program: "/bin/sh".into(),
            argv: ["sh", "-c", "sleep 0.3 & echo $!"].map(Into::into).to_vec(),
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            stdout: Some(write.as_fd()),
            ..Spawn::default()
        };
        process::wait(spawn.start().unwrap().pidfd.as_fd()).unwrap();
        let mut line = String::new();
        std::io::BufReader::new(read).read_line(&mut line).unwrap();
        // Not our child, as a service of an earlier machined.
        let pid = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        let running = Running::new(pid, process::open(pid).unwrap()).unwrap();
        running.pidfd.readable().await.unwrap().retain_ready();
        let (link, _tasks) = crate::link::tests::connect(&std::sync::Arc::default(), &crate::stop::Handle::new());
        tokio::time::pause();
        let start = Instant::now();
        let end = loop {
            let woken = Duration::from_millis(500);
            if let Ok(end) = tokio::time::timeout(woken, ended(Some(&running), &link)).await {
                break end;
            }
            assert!(start.elapsed() < STATUS * 2, "waits for ever");
        };
        assert_eq!(end, End::Unknown);
    }
}
