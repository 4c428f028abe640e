//! Why a job is not begun, or not cancelled. `server::error` makes gRPC statuses of these.

use super::record::Record;
use crate::meta;

/// Why not.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what it means")]
pub enum Error {
    #[error("it is not known yet whether a job is under way: {0}")]
    Looking(String),
    #[error("job {id} is under way: {kind} {what}, at the step {step}")]
    Busy { id: u64, kind: &'static str, what: String, step: String },
    #[error("this version of Stele has no {0}")]
    Unsupported(&'static str),
    #[error("{0} is too long to be kept")]
    TooLong(&'static str),
    #[error("there is no job {0}")]
    Unknown(u64),
    #[error("job {0} is over already")]
    Over(u64),
    #[error("job {id} cannot be cancelled any more: it is at the step {step}")]
    Committed { id: u64, step: String },
    #[error("the machine is stopping")]
    Stopping,
    #[error("it cannot be written down, so it is not begun")]
    Meta(#[from] meta::Error),
    #[error("machined is ending, and is started again at once")]
    Ending,
}

impl Error {
    /// This job is under way.
    pub(super) fn busy(job: &Record) -> Self {
        Self::Busy { id: job.id, kind: job.request.kind(), what: job.request.what(), step: job.step.clone() }
    }
}
