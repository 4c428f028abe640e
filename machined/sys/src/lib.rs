//! What the kernel offers and no library wraps well enough, plus the messages between init and machined.
//!
//! This is the only crate of a node with `unsafe`; each block says which invariant makes it sound and who keeps it.
//! Nothing here decides anything: policy lives in init and machined.
#![allow(unsafe_code)]

mod chain;
pub mod clock;
pub mod direct;
mod entry;
pub mod inherit;
pub mod input;
pub mod kmsg;
pub mod link;
pub mod module;
pub mod mount;
pub mod packet;
pub mod partition;
pub mod process;
pub mod reboot;
pub mod signal;
pub mod tsc;
pub mod uevent;
pub mod watchdog;

pub use chain::Chain;
pub use rustix::process::Pid;
pub use tsc::tsc;
