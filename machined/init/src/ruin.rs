//! When init itself cannot go on: say why, wait until it can be read, restart the machine. PID 1 must not end: the kernel
//! would panic.

use crate::Console;
use rustix::thread::nanosleep;
use rustix::time::Timespec;
use std::fmt::Arguments;
use sys::link::Action;

/// Long enough to read a line or to photograph a screen, short enough for a boot loop that falls back.
const READING_TIME: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// Says why and restarts the machine.
pub fn restart(why: Arguments<'_>) -> ! {
    let mut console = Console::open();
    console.fatal(why);
    console.fatal(format_args!("the machine restarts in {} s", READING_TIME.tv_sec));
    pause(READING_TIME);
    // What was written must not be lost for it; a hanging disk must not stop the restart.
    let _ = sys::process::fork_alone(rustix::fs::sync);
    pause(Timespec { tv_sec: 2, tv_nsec: 0 });
    loop {
        let e = sys::reboot::act(Action::Reboot);
        console.fatal(format_args!("the kernel refuses to restart: {e}; switch the machine off"));
        pause(Timespec { tv_sec: 60, tv_nsec: 0 });
    }
}

/// Makes panics and faults of this process restart the machine.
pub fn prepare() {
    std::panic::set_hook(Box::new(|panic| restart(format_args!("init failed, this is a bug: {panic}"))));
    // Without it a fault is a kernel panic, which restarts too (panic=-1), only without saying who.
    let _ = sys::signal::restart_on_fault();
}

fn pause(time: Timespec) {
    let _ = nanosleep(&time);
}
