//! Why generations cannot be changed.

use ::boot::change::Refusal;

use crate::meta;

/// A change that was refused: nothing has changed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed; the causes say why")]
pub enum Error {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("what runs is no generation of this machine's disk: {0}")]
    Foreign(String),
    #[error("it is not known yet what runs")]
    Unknown,
    #[error("generation {0} runs already")]
    Runs(u32),
    #[error("what runs is the recovery system")]
    Recovery,
    #[error("META holds no boot state: this disk was not made by an installer or image that has generations")]
    NoState,
    #[error("what runs is not on trial")]
    NoTrial,
    #[error("there is no other generation that was proven: nothing to go back to")]
    NoOther,
    #[error("generation {0} cannot be staged any more: something else was")]
    Moved(u32),
    #[error("this machine has no recovery system")]
    NoRecovery,
    #[error("META cannot be used")]
    Meta(#[from] meta::Error),
}
