//! Jobs: long tasks on the node that go on when their client leaves, when machined is started again, and after a reboot.
//!
//! ```text
//! server --Handle--> engine --Work::run--> steps (programs, generations, reboot)
//!                      |  \--- Kept ----> META (the last one), /run, STATE (the last 16)
//!                      \-- job --> store --> clients
//!
//! asked --written down--> Running --work says so--> Done | Refused | Failed | Returned
//!                          |  ^  \--cancel, before the point of no return--> Cancelled
//!                          \--/  machined or the machine starts anew: its work begins again
//! ```
//! Invariant: one job runs at a time, since each kind changes what the machine boots; whoever asks again for what is under way
//! is told of the job that is. A job is written to META before it begins and before each step. Its work is a straight function of
//! steps of which each may be begun again: nothing is remembered of how far a step came but what it left.

mod engine;
mod error;
mod handle;
mod history;
pub mod install;
mod pull;
mod record;
#[cfg(test)]
mod tests;
pub mod upgrade;
mod work;

pub use engine::{Engine, Parts, Works, build};
pub use error::Error;
pub use handle::Handle;
pub use pull::Puller;
pub use record::{Install, Kept, Record, Request, Upgrade};
pub use work::{Failed, Job, Work};
