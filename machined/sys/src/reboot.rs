//! The end of the machine: reboot(2). Called by init alone, after it has synced.

use crate::link::Action;
use rustix::system::{RebootCommand, reboot};
use std::io;

/// Does it. Returns only when the kernel refused (no CAP_SYS_BOOT).
pub fn act(action: Action) -> io::Error {
    let command = match action {
        Action::Reboot => RebootCommand::Restart,
        Action::PowerOff => RebootCommand::PowerOff,
        Action::Halt => RebootCommand::Halt,
    };
    match reboot(command) {
        Err(e) => e.into(),
        Ok(()) => io::ErrorKind::Other.into(),
    }
}

/// Makes Ctrl-Alt-Del a SIGINT to PID 1 instead of a hard reset.
pub fn catch_ctrl_alt_del() -> io::Result<()> {
    Ok(reboot(RebootCommand::CadOff)?)
}
