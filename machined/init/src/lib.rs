//! PID 1: small, constant, never ends. `main` runs the first stage, then [`Pid1`] until the machine is to stop, then [`finish`].
//!
//! The rules of this crate: after the start nothing allocates in proportion to anything, nothing from outside is parsed
//! beyond frames of fixed size, nothing blocks without a deadline, and no error ends the program.
//!
//! ```text
//! first::stage -> Pid1::turn ──┬─ machined runs ── ended ──> waits (back-off) ──> started again
//!                              └─ Stop, or a stop's deadline, or machined gone while stopping
//!                                   -> finish: kill, reap, unmount, sync, reboot(2)
//! ```

mod backoff;
mod brain;
mod config;
mod console;
mod drain;
mod feeder;
mod finish;
pub mod first;
mod outbox;
mod output;
mod pid1;
pub mod ruin;
mod standing;
mod statuses;
mod store;
mod talk;

pub use config::{Config, Timings};
pub use console::Console;
pub use finish::finish;
pub use pid1::Pid1;
