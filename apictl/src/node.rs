//! The nodes of a command: connected, asked side by side, each answer under its name.
//!
//! Invariant: one node that fails takes nothing from the others; its failure is kept beside their answers.

use std::{cell::Cell, time::Duration};

use api::{
    connect::{Connector, Pin},
    follow::{Event, Follow, Subject},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::{Stream, StreamExt, future::join_all, stream};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::transport::Channel;

use crate::{
    cli::Global,
    exit::{Code, Failure, Result},
    identity,
    target::{self, Target},
    ui::Ui,
};

/// For calls that are answered at once; a busy emulated node needs some seconds.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What a command works with.
pub(crate) struct App {
    pub(crate) global: Global,
    pub(crate) ui: Ui,
    pub(crate) started: Instant,
    /// It was said that the client's certificate is soon over.
    pub(crate) warned: Cell<bool>,
}

/// A connected node.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) connector: Connector,
    pub(crate) channel: Channel,
}

/// What several nodes said, in the order they were given.
pub(crate) struct Answers<T> {
    pub(crate) good: Vec<(Node, T)>,
    pub(crate) failed: Vec<Failure>,
    /// How many were asked.
    pub(crate) asked: usize,
}

impl App {
    /// The nodes this command is for.
    pub(crate) fn targets(&self) -> Result<Vec<Target>> {
        target::resolve(&self.global)
    }

    /// Asks each node, all at the same time, within `--timeout` (30 s by default).
    pub(crate) async fn ask<T>(&self, call: impl AsyncFn(&Node) -> Result<T>) -> Result<Answers<T>> {
        let targets = self.targets()?;
        let asked = targets.len();
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let within = self.global.timeout.unwrap_or(CALL_TIMEOUT);
        let one = async |target: &Target| -> Result<(Node, T)> {
            let both = async {
                let node = self.connect(target).await?;
                let answer = call(&node).await?;
                Ok((node, answer))
            };
            let late = || Failure::new(Code::Deadline, format!("no answer within {within:?}"), "");
            timeout(within, both)
                .await
                .unwrap_or_else(|_| Err(late()))
                .map_err(|failure: Failure| failure.at(&target.name))
        };
        let all = self.ui.slow(&format!("asking {}", names.join(", ")), join_all(targets.iter().map(one))).await;
        let mut answers = Answers { good: Vec::new(), failed: Vec::new(), asked };
        for answer in all {
            match answer {
                Ok(good) => answers.good.push(good),
                Err(failure) => answers.failed.push(failure),
            }
        }
        if answers.good.is_empty() {
            return Failure::all(std::mem::take(&mut answers.failed)).map(|()| answers);
        }
        Ok(answers)
    }

    /// Waits no longer than `--timeout`, where it was given.
    pub(crate) async fn limited<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        self.within(self.global.timeout, future).await
    }

    /// Waits no longer than this after the start of the command.
    pub(crate) async fn within<T>(&self, limit: Option<Duration>, future: impl Future<Output = T>) -> Result<T> {
        let Some(limit) = limit else {
            return Ok(future.await);
        };
        let late = |_| Failure::new(Code::Deadline, format!("not done within {limit:?} (--timeout)"), "");
        timeout_at(self.started + limit, future).await.map_err(late)
    }

    /// Connects to one node; with `--insecure` it says whom it trusted.
    pub(crate) async fn connect(&self, target: &Target) -> Result<Node> {
        self.warn(target);
        let connector = target.connector();
        let channel = connector.connect().await?;
        if let (Pin::FirstUse, Some(seen)) = (&target.pin, connector.fingerprint()) {
            self.ui.note(&format!("{}: not verified (--insecure); its fingerprint is\n  {seen}", target.name));
            match target.known {
                Some(known) if known != seen => {
                    self.ui.note(&format!("  WARNING: the context expects another one:\n  {known}"));
                }
                Some(_) => self.ui.note("  as the context expects: --insecure is not needed"),
                None => self.ui.note(
                    "  compare it with `stele: fingerprint` on the console, then pin it by --fingerprint or\n  \
                     apictl context add NAME --endpoint HOST --fingerprint SHA256",
                ),
            }
        }
        Ok(Node { name: target.name.clone(), connector, channel })
    }

    /// Says, once, that the client's own certificate is soon over.
    fn warn(&self, target: &Target) {
        let warning = target.client.as_ref().and_then(identity::warning);
        if let Some(warning) = warning.filter(|_| !self.warned.replace(true)) {
            self.ui.note(&warning);
        }
    }
}

impl<T> Answers<T> {
    /// Whether names must be shown.
    pub(crate) fn several(&self) -> bool {
        self.asked > 1
    }

    /// After the good ones were printed: the failures.
    pub(crate) fn end(self) -> Result {
        Failure::all(self.failed)
    }
}

/// How quickly a broken stream is tried again: at once (machined is back within a second), then ever slower.
pub(crate) fn backoff() -> impl BackoffBuilder + Clone {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_jitter()
        .without_max_times()
}

/// What comes of a followed stream.
pub(crate) enum Step<T> {
    /// The next item.
    Item(T),
    /// The connection was lost; that was said, and it is tried again.
    Broken,
}

/// The followed streams of several nodes as one, each step under its node's index. A stream that failed for good says so
/// and ends.
pub(crate) fn follow<'a, S: Subject + 'a>(
    ui: &'a Ui,
    nodes: impl IntoIterator<Item = (Node, S)>,
) -> impl Stream<Item = (usize, Result<Step<S::Item>>)> + Unpin + 'a
where
    S::Message: 'a,
    S::Item: 'a,
{
    let one = |(index, (node, subject)): (usize, (Node, S))| {
        let follow = Follow::new(node.connector, node.channel, subject, backoff());
        stream::unfold((Some(follow), false), move |(follow, mut broken)| {
            let name = node.name.clone();
            async move {
                let mut follow = follow?;
                loop {
                    match follow.next().await {
                        Ok(Event::Item(item)) => return Some(((index, Ok(Step::Item(item))), (Some(follow), broken))),
                        Ok(Event::Broken { why, .. }) if !broken => {
                            let why = Failure::from(why).message;
                            ui.note(&format!("{name}: connection lost ({why}); trying again"));
                            return Some(((index, Ok(Step::Broken)), (Some(follow), true)));
                        }
                        Ok(Event::Broken { .. }) => {}
                        Ok(Event::Ended) => return None,
                        Ok(Event::Restored) => {
                            broken = false;
                            ui.note(&format!("{name}: connected again"));
                        }
                        Err(status) => {
                            return Some(((index, Err(Failure::from(status).at(&name))), (None, broken)));
                        }
                    }
                }
            }
        })
        .boxed_local()
    };
    stream::select_all(nodes.into_iter().enumerate().map(one).collect::<Vec<_>>())
}
