//! Where the first configuration of a machine comes from when nobody applies one: the image, a NoCloud disk, a URL that the
//! firmware or the kernel's command line names. [`run`] is called once, by `boot`, and works only while [`Wanted::Yes`].
//!
//! ```text
//! Looking --all sources: nothing--> Nothing --a disk comes--> Looking
//!    |--- one has a configuration --> taken by the engine --> Taken
//!    \--- one has something else ---> Wrong --another disk, or another answer--> Looking
//! ```
//! Invariant: a source that holds something that cannot be used ends the search, and [`Verdict::Wrong`] lasts until a
//! configuration was taken: somebody said what this machine should be, so strangers are never let in. What a source holds is
//! never logged: it may be a secret.

mod decode;
mod ds;
pub mod fetch;
mod look;
mod meta_data;
mod network;
mod search;
mod seed;
mod sources;

use std::future::Future;
use std::path::PathBuf;

use reconcile::Store;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::events::Events;

/// A rescue CA's certificate (PEM) built into the image (`imager build --rescue`): the only one that is served when a source
/// is wrong. There need not be one.
pub const RESCUE: &str = "/usr/lib/stele/rescue.pem";

/// A configuration that was found.
#[derive(Clone)]
pub struct Input {
    /// Stream of documents, with the `Secrets` document.
    pub text: Zeroizing<String>,
    /// Where it was, for people: `nocloud /dev/vdb (user-data, network-config)`.
    pub from: String,
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("from", &self.from).finish_non_exhaustive()
    }
}

/// What a source says.
enum Finding {
    /// It holds nothing, for this reason: `no volume is labelled cidata`.
    Nothing { why: String },
    /// It holds a configuration.
    Found(Found),
    /// It holds something that cannot be used, or is named and does not answer: what, where in it, and what to do.
    Wrong { why: String },
}

/// A configuration, and what there is to know of it.
#[derive(Debug)]
struct Found {
    input: Input,
    /// What the platform calls this machine; empty when it does not say.
    instance_id: String,
}

fn found(read: Result<Found, seed::Error>) -> Finding {
    match read {
        Ok(found) => Finding::Found(found),
        Err(error) => Finding::Wrong { why: error.to_string() },
    }
}

/// Whether a first configuration is wanted; the engine says so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Not known yet: META or STATE is still looked for. Nothing is read.
    #[default]
    Unknown,
    /// This machine was never configured.
    Yes,
    /// It was, as this says: no source is looked at.
    No(String),
}

/// What all sources together say; the door of maintenance obeys it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// The search goes on: closed.
    #[default]
    Looking,
    /// Nobody said what this machine should be: maintenance may open. A disk that comes later may still say it.
    Nothing,
    /// Closed, for this reason, for good; another look may still bring a configuration.
    Wrong(String),
    /// The engine has taken one.
    Taken(String),
}

/// What [`run`] works with.
#[derive(Debug)]
pub struct World {
    /// Disks and the network are read there; `config-source` is written there.
    pub store: Store,
    /// The log for people.
    pub events: Events,
    /// machined's folder in /run.
    pub run: PathBuf,
    /// Whether to look at all.
    pub wanted: watch::Receiver<Wanted>,
    /// The answer now and every later one.
    pub verdict: watch::Sender<Verdict>,
}

/// Looks at the sources for as long as machined runs, and gives what is found to `take`, which is the engine's `take_first`:
/// it returns once the configuration is durable, or says why it cannot be taken (then it is tried again, with back-off).
///
/// # Errors
/// Somebody else writes the type `config-source`.
pub async fn run<F>(world: World, take: impl Fn(Input) -> F + Send) -> Result<(), reconcile::ClaimError>
where
    F: Future<Output = Result<(), String>> + Send,
{
    search::Search::new(world)?.run(take).await;
    Ok(())
}
