//! The configuration of this machine: which revision is in effect, and every change of that.
//!
//! Invariant: nobody is answered before what was asked for is durable; nothing comes into effect before it was answered; and
//! what has not been proven is counted in META before it runs, so that the machine comes back by itself. One task, `engine`,
//! does everything in order; others have a [`Handle`].
//!
//! ```text
//! server, platform --Handle--> engine --revisions--> STATE
//!                                |  \----- Run -----> META
//!                                \-- document, config-status, revision --> store --> controllers
//! ```

pub mod active;
mod apply;
pub mod choice;
mod effects;
mod engine;
mod error;
mod ground;
mod handle;
mod lockout;
mod pending;
mod prove;
pub mod revisions;

mod show;
mod trial;

pub use active::Active;
pub use engine::{Engine, Parts, build};
pub use error::Error;
pub use handle::{Apply, Handle, Mode, Outcome, Revert, Way};
pub use prove::Reach;

#[cfg(test)]
mod tests;
