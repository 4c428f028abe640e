//! What others ask of the engine.

use tokio::sync::{mpsc, oneshot};

use super::error::Error;
use super::record::Request;

pub(super) type Reply<T> = oneshot::Sender<Result<T, Error>>;

#[derive(Debug)]
pub(super) enum Command {
    Start(Request, String, Reply<u64>),
    Cancel(u64, String, Reply<()>),
    Undisturbed(Reply<()>),
}

/// The engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) commands: mpsc::Sender<Command>,
}

impl Handle {
    /// A handle that nobody listens to, for a server without jobs: what is asked of it is refused.
    #[must_use]
    pub fn nobody() -> Self {
        Self { commands: mpsc::channel(1).0 }
    }

    /// Begins a job for `by`, and returns its number once it is written down; the number of the one under way when that is the
    /// same.
    ///
    /// # Errors
    /// Another one is under way, or it cannot be begun.
    pub async fn start(&self, request: Request, by: String) -> Result<u64, Error> {
        self.ask(|reply| Command::Start(request, by, reply)).await
    }

    /// Calls a job off for `by`.
    ///
    /// # Errors
    /// It is over, past its point of no return, or there is none.
    pub async fn cancel(&self, id: u64, by: String) -> Result<(), Error> {
        self.ask(|reply| Command::Cancel(id, by, reply)).await
    }

    /// Before something else is chosen for the next start: a job that is under way would go on there, and undo it.
    ///
    /// # Errors
    /// There is one.
    pub async fn undisturbed(&self) -> Result<(), Error> {
        self.ask(Command::Undisturbed).await
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Error::Ending)?;
        answer.await.unwrap_or(Err(Error::Ending))
    }
}
