//! Ends of processes: by pidfd for a supervisor, by pid for init, which reaps whatever it is given.

use super::{Pid, Signal};
use crate::link::ExitStatus;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{self, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};
use rustix::time::Timespec;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// For a killed child to be gone: microseconds, unless the kernel holds it.
const GONE: Duration = Duration::from_secs(1);

/// A child that has ended and is not yet reaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Its id, kept from reuse until [`reap`].
    pub pid: Pid,
    /// Its end.
    pub status: ExitStatus,
}

/// A descriptor for a process; sound only while the pid cannot have been used again.
pub fn open(pid: Pid) -> io::Result<OwnedFd> {
    Ok(process::pidfd_open(pid, PidfdFlags::empty())?)
}

/// Signals exactly this process.
pub fn signal(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    Ok(process::pidfd_send_signal(pidfd, signal)?)
}

/// How our child ended, if it has, and leaves it unreaped: for who writes that down first. ECHILD as in [`try_wait`].
pub fn ended(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    Ok(wait_id(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT)?)
}

/// Reaps our child if it has ended. ECHILD (`raw_os_error`) when it is not our child: then only its parent learns the
/// status.
pub fn try_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<ExitStatus>> {
    Ok(wait_id(WaitId::PidFd(pidfd), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?)
}

/// Waits for our child and reaps it.
pub fn wait(pidfd: BorrowedFd<'_>) -> io::Result<ExitStatus> {
    wait_id(WaitId::PidFd(pidfd), WaitIdOptions::EXITED)?.ok_or_else(|| Errno::CHILD.into())
}

/// Waits for our child at most so long, and reaps it if it has ended.
pub fn wait_for(pidfd: BorrowedFd<'_>, within: Duration) -> io::Result<Option<ExitStatus>> {
    readable(pidfd, Instant::now() + within)?;
    try_wait(pidfd)
}

/// What [`peek`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Children {
    /// There are none.
    None,
    /// None has ended.
    Running,
    /// This one has.
    Ended(Ended),
}

/// Looks for a child that has ended, and leaves it unreaped so that its pid is not reused before it is recorded.
pub fn peek() -> io::Result<Children> {
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    loop {
        // SAFETY: plain old data, and an all-zero siginfo_t is what "no child has ended" looks like.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` is live and writable.
        if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) } < 0 {
            match io::Error::last_os_error() {
                e if e.raw_os_error() == Some(libc::ECHILD) => return Ok(Children::None),
                e if e.kind() == io::ErrorKind::Interrupted => continue,
                e => return Err(e),
            }
        }
        // SAFETY: waitid filled the SIGCHLD member or left zeros.
        let (pid, value) = unsafe { (info.si_pid(), info.si_status()) };
        let Some(pid) = Pid::from_raw(pid) else { return Ok(Children::Running) };
        let status = match info.si_code {
            libc::CLD_KILLED => ExitStatus::Signaled { signal: value, core: false },
            libc::CLD_DUMPED => ExitStatus::Signaled { signal: value, core: true },
            _ => ExitStatus::Exited(value),
        };
        return Ok(Children::Ended(Ended { pid, status }));
    }
}

/// Reaps one ended child.
pub fn reap(pid: Pid) -> io::Result<()> {
    wait_id(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?;
    Ok(())
}

/// Kills our own child and reaps it, for who cannot look after it. One that the kernel does not let go within a second is
/// left behind, killed and unreaped.
pub fn discard(pid: Pid) -> io::Result<()> {
    kill(pid, Signal::KILL)?;
    let deadline = Instant::now() + GONE;
    match open(pid) {
        Ok(pidfd) => drop(readable(pidfd.as_fd(), deadline)?),
        // Short of descriptors: looked at once is better than never.
        Err(_) => std::thread::yield_now(),
    }
    reap(pid)
}

/// Waits until there is something to read, or an end; false when the time is over first.
pub(super) fn readable(descriptor: BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left =
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&left)) {
            Ok(found) => return Ok(found > 0),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Whether the pid names a process, a zombie included.
#[must_use]
pub fn alive(pid: Pid) -> bool {
    process::test_kill_process(pid) != Err(Errno::SRCH)
}

/// Signals our own child by pid; sound until it is reaped.
pub fn kill(pid: Pid, signal: Signal) -> io::Result<()> {
    Ok(process::kill_process(pid, signal)?)
}

/// Sends a signal to every process but the caller and PID 1.
pub fn kill_all(signal: Signal) -> io::Result<()> {
    // SAFETY: a system call without memory; -1 addresses all processes, which is what the name says.
    if unsafe { libc::kill(-1, signal.as_raw()) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn wait_id(id: WaitId<'_>, options: WaitIdOptions) -> Result<Option<ExitStatus>, Errno> {
    let ended = rustix::io::retry_on_intr(|| process::waitid(id.clone(), options))?;
    Ok(ended.as_ref().map(status))
}

fn status(ended: &WaitIdStatus) -> ExitStatus {
    match ended.terminating_signal() {
        Some(signal) => ExitStatus::Signaled { signal, core: ended.dumped() },
        None => ExitStatus::Exited(ended.exit_status().unwrap_or(0)),
    }
}
