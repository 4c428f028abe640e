//! Signals as a descriptor, for a poll loop without handlers. Called by init; machined uses tokio's.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Blocked signals, readable one by one.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// Blocks these signals in the calling thread (call it while there is only one) and collects them here.
    pub fn new(signals: &[i32]) -> io::Result<Self> {
        // SAFETY: plain old data, made an empty set before it is read.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is live; unknown numbers are refused by sigaddset.
        unsafe {
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                libc::sigaddset(&raw mut set, *signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        }
        // SAFETY: a live set; the result is checked.
        let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: new, and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal's number, if one has come.
    pub fn next(&self) -> io::Result<Option<i32>> {
        // SAFETY: plain old data, filled whole by the read or not used.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: `info` is live and has `size` bytes.
        let got = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
        if usize::try_from(got) == Ok(size) {
            return Ok(i32::try_from(info.ssi_signo).ok());
        }
        match io::Error::last_os_error() {
            e if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            e => Err(e),
        }
    }
}

/// Makes a fault of this process (a wild pointer, an illegal instruction, abort) restart the machine at once. For PID 1 only:
/// the kernel would panic without a word about who did it.
pub fn restart_on_fault() -> io::Result<()> {
    extern "C" fn restart(signal: libc::c_int) {
        const WORDS: &[u8] = b"<2>stele: init crashed; the machine restarts\n";
        let _ = signal;
        // SAFETY: four system calls, all async-signal-safe, on a literal; nothing of the broken program is touched.
        unsafe {
            let log = libc::open(c"/dev/kmsg".as_ptr(), libc::O_WRONLY | libc::O_NONBLOCK);
            libc::write(log, WORDS.as_ptr().cast(), WORDS.len());
            libc::reboot(libc::RB_AUTOBOOT);
            libc::_exit(1)
        }
    }
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT] {
        // SAFETY: plain old data; an empty mask and the handler above, which has the type of a handler without SA_SIGINFO.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = restart as extern "C" fn(libc::c_int) as libc::sighandler_t;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut())
        };
        if result < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
