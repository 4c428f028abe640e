//! What others ask of the engine. Every call is answered when it is durable, or refused with nothing changed.

use std::net::IpAddr;
use std::sync::Arc;

use config::{Change, Problems};
use tokio::sync::{mpsc, oneshot, watch};
use zeroize::Zeroizing;

use super::active::Active;
use super::error::Error;
use super::revisions::{Id, Meta, Pointers};
use crate::{answered::Answered, platform};

/// When a revision comes into effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Now; what needs a reboot waits for one.
    Auto,
    /// At the next boot.
    Staged,
    /// Now, by a reboot.
    Reboot,
    /// Now, and back by itself unless it is confirmed within so many seconds.
    Trial(u32),
}

/// How somebody comes in, who wants to come in again.
#[derive(Clone, Debug)]
pub struct Way {
    /// From where.
    pub address: IpAddr,
    /// SHA-256 of the certificate, as it is written.
    pub fingerprint: String,
}

/// Documents to be the next revision.
#[derive(Clone)]
pub struct Apply {
    /// The stream of documents.
    pub documents: String,
    /// A `Secrets` document; none: those of the current revision.
    pub secrets: Option<Zeroizing<String>>,
    /// When it comes into effect.
    pub mode: Mode,
    /// Only say what would change.
    pub dry_run: bool,
    /// What the change was made from.
    pub expected: Option<Id>,
    /// Only as the first configuration of all: who asks has no right beyond maintenance.
    pub first_only: bool,
    /// The node's certificate chain, PEM.
    pub certificate: Option<String>,
    /// Who asks.
    pub author: String,
    /// Why.
    pub message: String,
    /// How who asks came in: documents that would take that away are refused. None: nobody is locked out.
    pub way: Option<Way>,
    /// Also while a generation of the system is on trial; the change goes with it when it fails.
    pub force: bool,
    /// When the answer has left; only then it comes into effect.
    pub answered: Answered,
}

/// An older revision is to be the current one.
#[derive(Clone, Debug)]
pub struct Revert {
    /// Which; none: the one proven before the current one.
    pub to: Option<Id>,
    /// When.
    pub mode: Mode,
    /// Only say what would change.
    pub dry_run: bool,
    /// Who asks.
    pub author: String,
    /// As in [`Apply`].
    pub force: bool,
    /// When the answer has left; only then it comes into effect.
    pub answered: Answered,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The revision; none when nothing was kept.
    pub revision: Option<Id>,
    /// What is wrong with the documents; then nothing was kept.
    pub problems: Option<Problems>,
    /// What differs from what is in effect.
    pub changes: Vec<Change>,
}

/// One revision, for lists.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its number.
    pub id: Id,
    /// What is known of it, or why nothing is.
    pub meta: Result<Meta, String>,
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

pub(super) enum Command {
    Apply(Box<Apply>, Reply<Outcome>),
    Revert(Revert, Reply<Outcome>),
    Confirm(Option<Id>, Reply<Id>),
    History(Reply<(Pointers, Option<Id>, Vec<Listed>)>),
    Read(Option<Id>, Reply<(Meta, String)>),
}

/// The engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) active: watch::Receiver<Arc<Active>>,
    pub(super) wanted: watch::Receiver<platform::Wanted>,
}

impl Handle {
    /// A handle that nobody listens to, for a server without an engine: what is asked of it is refused.
    #[must_use]
    pub fn nobody() -> Self {
        let (commands, active) = (mpsc::channel(1).0, watch::Sender::new(Arc::new(Active::looking())).subscribe());
        Self { commands, active, wanted: watch::Sender::default().subscribe() }
    }

    /// The same with this configuration in effect.
    #[must_use]
    pub fn in_effect(self, active: watch::Receiver<Arc<Active>>) -> Self {
        Self { active, ..self }
    }

    /// What is in effect, now and later.
    pub fn active(&self) -> watch::Receiver<Arc<Active>> {
        self.active.clone()
    }

    /// Whether a first configuration is wanted, now and later.
    pub fn wanted(&self) -> watch::Receiver<platform::Wanted> {
        self.wanted.clone()
    }

    /// Takes documents as the next revision.
    ///
    /// # Errors
    /// It cannot be kept; wrong documents are no error but an [`Outcome`].
    pub async fn apply(&self, apply: Apply) -> Result<Outcome, Error> {
        self.ask(|reply| Command::Apply(Box::new(apply), reply)).await
    }

    /// Goes back.
    ///
    /// # Errors
    /// There is no such revision, or STATE fails.
    pub async fn revert(&self, revert: Revert) -> Result<Outcome, Error> {
        self.ask(|reply| Command::Revert(revert, reply)).await
    }

    /// Ends a trial: of this revision, or of whichever there is.
    ///
    /// # Errors
    /// There is none, or it cannot be written down.
    pub async fn confirm(&self, revision: Option<Id>) -> Result<Id, Error> {
        self.ask(|reply| Command::Confirm(revision, reply)).await
    }

    /// The revisions that are kept, the newest first; what counts; which is on trial.
    ///
    /// # Errors
    /// There is no STATE.
    pub async fn history(&self) -> Result<(Pointers, Option<Id>, Vec<Listed>), Error> {
        self.ask(Command::History).await
    }

    /// The documents of a revision, as they were given.
    ///
    /// # Errors
    /// There is none, or it is damaged.
    pub async fn read(&self, revision: Option<Id>) -> Result<(Meta, String), Error> {
        self.ask(|reply| Command::Read(revision, reply)).await
    }

    /// Takes the first configuration of a machine from a source; returns once it is durable.
    ///
    /// # Errors
    /// In words: what is wrong with it, or why it cannot be kept.
    pub async fn take_first(&self, input: platform::Input) -> Result<(), String> {
        let apply = Apply {
            documents: input.text.as_str().to_owned(),
            secrets: None,
            mode: Mode::Auto,
            dry_run: false,
            expected: None,
            first_only: true,
            certificate: None,
            author: input.from.clone(),
            message: format!("first configuration, from {}", input.from),
            way: None,
            force: false,
            answered: Answered::at_once(),
        };
        match self.apply(apply).await {
            Ok(Outcome { problems: Some(problems), .. }) => Err(problems.to_string()),
            Ok(_) => Ok(()),
            Err(error) => Err(crate::trace::chain(&error)),
        }
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Error::Ending)?;
        answer.await.unwrap_or(Err(Error::Ending))
    }
}
