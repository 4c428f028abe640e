//! Why the configuration cannot be changed or read.

use super::revisions::{self, Id};
use crate::{meta, state};

/// A command that was refused: nothing has changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed; the causes say why")]
pub enum Error {
    #[error("machined is ending")]
    Ending,
    #[error("it is not known yet whether this machine is configured: {0}")]
    Looking(String),
    #[error("this machine has been configured meanwhile")]
    Configured,
    #[error("this machine has no configuration")]
    Unconfigured,
    #[error("the configuration of this machine cannot be read: {0}")]
    Unreadable(String),
    #[error("this machine cannot keep a configuration: {0}")]
    NoMeta(String),
    #[error("STATE cannot be made")]
    State(#[source] state::Error),
    #[error(transparent)]
    Revisions(#[from] revisions::Error),
    #[error("META cannot be written")]
    Meta(#[from] meta::Error),
    #[error("the node's certificate cannot be used: {0}")]
    Certificate(String),
    #[error("revision {current} is current, the change was made from {expected}")]
    Conflict { current: Id, expected: Id },
    #[error("revision {0} is staged for the next boot, and would be lost: the change was made from the one before it")]
    Staged(Id),
    #[error("revision {0} is on trial")]
    Trial(Id),
    #[error("no revision is on trial")]
    NoTrial,
    #[error("revision {asked} is not on trial, {running} is")]
    OtherTrial { asked: Id, running: Id },
    #[error("there is no proven revision to go back to")]
    NothingBefore,
    #[error("a trial needs a proven revision to go back to, and there is none yet")]
    NothingToGoBackTo,
    #[error("generation {0} of the system is on trial: its configuration changes only by force")]
    Generation(u32),
    #[error("this is the recovery system, which leaves the configuration as it is")]
    Recovery,
    #[error("the machine is stopping")]
    Stopping,
}
