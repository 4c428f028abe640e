//! A second process of a program without threads, for work that may hang in the kernel (sync, umount). Called by init.

use super::Pid;
use std::io;

/// Forks; the child runs `work` and exits. Refused in a program with threads, where the child could find locked locks.
pub fn fork_alone(work: impl FnOnce()) -> io::Result<Pid> {
    let tasks = std::fs::read_dir("/proc/self/task")?.count();
    if tasks != 1 {
        return Err(io::Error::other("only a program with one thread may fork without exec"));
    }
    // SAFETY: there is one thread (checked above), so the child is a whole and consistent copy; it never returns from here.
    match unsafe { libc::fork() } {
        0 => {
            work();
            // SAFETY: ends the child without running the parent's exit handlers.
            unsafe { libc::_exit(0) }
        }
        pid => Pid::from_raw(pid.max(0)).ok_or_else(io::Error::last_os_error),
    }
}
