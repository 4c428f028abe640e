//! Starting processes from a program with threads, and their ends. Called by machined's supervisor and by init; who may
//! start what is their business.

mod child;
mod fork;
mod spawn;
#[cfg(test)]
mod tests;
mod wait;

pub use fork::fork_alone;
pub use rustix::process::{Gid, Pid, Resource, Rlimit, Signal, Uid};
pub use rustix::thread::CapabilitySet as Capabilities;
pub use spawn::{Child, Error, Spawn, Step, User};
pub use wait::{
    Children, Ended, alive, discard, ended, kill, kill_all, open, peek, reap, signal, try_wait, wait, wait_for,
};

/// The capability of this name, with or without `CAP_`, in any case.
#[must_use]
pub fn capability(name: &str) -> Option<Capabilities> {
    let name = name.to_ascii_uppercase();
    Capabilities::from_name(name.strip_prefix("CAP_").unwrap_or(&name))
}
