//! The last steps of the machine: kill, reap, unmount, sync, reboot(2). Each has a deadline, none can stop the next, and the
//! last one is repeated for ever. Called once, by `main`.

use crate::pid1::timespec;
use crate::{Console, Pid1};
use rustix::event::{PollFd, PollFlags, poll};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use sys::link::Action;
use sys::mount::{self, Flags};
use sys::process::{Children, Signal};

/// How often what does not die is killed again (it may have forked), and how often the watchdog is thought of.
const AGAIN: Duration = Duration::from_millis(200);
/// The kernel's own mounts: they hold nothing, and the steps to come need them.
const KEPT: [&str; 5] = ["/", "/proc", "/sys", "/dev", "/run"];

/// Ends the machine.
pub fn finish(mut pid1: Pid1, action: Action) -> ! {
    let timings = pid1.config.timings;
    pid1.console.say(format_args!("stopping: ending all processes"));
    if !kill(&mut pid1, timings.kill) {
        pid1.console.warn(format_args!("some processes do not end; going on without them"));
    }
    // Descriptors kept for machined would keep filesystems busy.
    pid1.store.clear();
    pid1.console.say(format_args!("stopping: unmounting"));
    aside(&mut pid1, timings.unmount, "unmounting", unmount_all);
    pid1.console.say(format_args!("stopping: writing to disk"));
    aside(&mut pid1, timings.sync, "writing to disk", rustix::fs::sync);
    match action {
        // The watchdog stays armed: it resets a machine whose restart hangs.
        Action::Reboot => {}
        Action::PowerOff | Action::Halt => pid1.feeder.disarm(),
    }
    pid1.console.say(format_args!("stopping: {action}"));
    loop {
        let e = sys::reboot::act(action);
        pid1.console.fatal(format_args!("the kernel refuses to {action}: {e}; switch the machine off"));
        for _ in 0..25 {
            pause(&mut pid1);
        }
    }
}

/// Kills everything else and reaps; whether all ended in time.
fn kill(pid1: &mut Pid1, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        // ESRCH: there is nobody left.
        let _ = sys::process::kill_all(Signal::KILL);
        if reap() {
            return true;
        }
        pause(pid1);
    }
    false
}

/// Reaps what has ended; whether no child is left.
fn reap() -> bool {
    loop {
        match sys::process::peek() {
            Ok(Children::Ended(ended)) => drop(sys::process::reap(ended.pid)),
            Ok(Children::None) => return true,
            Ok(Children::Running) | Err(_) => return false,
        }
    }
}

/// Does in a child what may hang in the kernel for ever.
fn aside(pid1: &mut Pid1, within: Duration, what: &str, work: fn()) {
    let deadline = Instant::now() + within;
    if let Err(e) = sys::process::fork_alone(work) {
        // Better with the risk of hanging than not at all: the watchdog is armed where there is one.
        pid1.console.warn(format_args!("{what} without a net: {e}"));
        return work();
    }
    // Processes that could not be killed are children too, so nobody may be left or the time is over.
    while !reap() {
        if Instant::now() >= deadline {
            return pid1.console.warn(format_args!("{what} takes too long; going on"));
        }
        pause(pid1);
    }
}

/// Sleeps until a child ends or it is time to look again; feeds the watchdog.
fn pause(pid1: &mut Pid1) {
    while let Ok(Some(_)) = pid1.signals.next() {}
    let _ = poll(&mut [PollFd::new(&pid1.signals, PollFlags::IN)], Some(&timespec(AGAIN)));
    pid1.feeder.tick(Instant::now(), &pid1.config.timings, &mut pid1.console);
}

/// Unmounts the newest mount first; what is busy is made read-only. Runs in a child of its own.
fn unmount_all() {
    let mut console = Console::open();
    let Ok(table) = std::fs::read("/proc/self/mountinfo") else {
        return console.warn(format_args!("/proc/self/mountinfo cannot be read: nothing is unmounted"));
    };
    let mut points = mount_points(&table);
    points.reverse();
    points.retain(|on| !KEPT.iter().any(|kept| on == Path::new(kept)));
    // Twice: one mount may keep another busy (a loop device, an overlay) that was mounted after it.
    points.retain(|on| mount::unmount(on).is_err());
    for on in points {
        let Err(e) = mount::unmount(&on) else { continue };
        if mount::remount(&on, Flags::RDONLY, "").is_err() {
            console.note(sys::kmsg::Level::Warning, format_args!("{e}, nor make it read-only"));
        }
    }
}

/// The fifth fields of mountinfo (proc(5)), in order.
fn mount_points(table: &[u8]) -> Vec<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let field = |line: &[u8]| line.split(|b| *b == b' ').nth(4).map(mount::unescape);
    let points = table.split(|b| *b == b'\n').filter_map(field);
    points.map(|path| std::ffi::OsString::from_vec(path).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_mount_points() {
        let table = b"21 1 0:20 / / ro - erofs /rootfs.erofs ro\n\
            30 21 8:3 / /var/with\\040blank\\134 rw,relatime shared:1 - xfs /dev/sda3 rw\nbroken line\n31 30 0:1 / /var/x\\9 rw - a b c\n";
        let expected = ["/", "/var/with blank\\", "/var/x\\9"].map(PathBuf::from);
        assert_eq!(mount_points(table), expected);
        assert!(mount_points(b"").is_empty());
    }
}
