//! The search through the sources, and what is shown of it.

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::FutureExt;
use futures_util::future::select_all;
use reconcile::{ClaimError, Writer};
use tokio::sync::watch;

use super::look::Look;
use super::sources::{self, Source};
use super::{Finding, Found, Verdict, Wanted, World};
use crate::events::Events;
use crate::file;
use crate::resources::config_source::{ConfigSource, State};
use crate::trace;

/// Before what cannot be taken is tried again: a disk may be in the way, or STATE not ready.
const AGAIN: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));
/// Of a reason, on a console and in the store.
const REASON_MAX: usize = 1000;
/// STATE itself, and the door of maintenance: where configuration comes from on a machine that has one, and on one where
/// nobody has said anything.
const FIRST: (&str, &str) = ("00-state", "state");
const LAST: (&str, &str) = ("90-maintenance", "maintenance");

pub(super) struct Search {
    look: Look,
    sources: Vec<Box<dyn Source>>,
    shown: Shown,
    wanted: watch::Receiver<Wanted>,
    verdict: watch::Sender<Verdict>,
    /// Remembers for the next machined of this boot that a source was wrong.
    mark: PathBuf,
}

/// How a round ended.
enum End {
    Nothing,
    Wrong(String),
    Found(usize, Found),
}

impl Search {
    pub(super) fn new(world: World) -> Result<Self, ClaimError> {
        Self::with(world, sources::all())
    }

    fn with(world: World, sources: Vec<Box<dyn Source>>) -> Result<Self, ClaimError> {
        let World { store, events, run, wanted, verdict } = world;
        let names = std::iter::once(FIRST).chain(sources.iter().map(|source| (source.id(), source.name())));
        let shown = Shown {
            writer: store.writer("platform")?,
            events,
            list: names
                .chain([LAST])
                .map(|(id, source)| (id, ConfigSource { source: source.into(), ..ConfigSource::default() }))
                .collect(),
        };
        let search =
            Self { look: Look::new(&store)?, sources, shown, wanted, verdict, mark: run.join("config-source-wrong") };
        if let Ok(why) = std::fs::read_to_string(&search.mark) {
            search.verdict.send_replace(Verdict::Wrong(why));
        }
        search.shown.put();
        Ok(search)
    }

    /// For ever.
    pub(super) async fn run<F>(mut self, take: impl Fn(super::Input) -> F + Send)
    where
        F: Future<Output = Result<(), String>> + Send,
    {
        let mut wanted = self.wanted.clone();
        let mut failures = ExponentialBuilder::default();
        failures = failures.with_min_delay(AGAIN.0).with_max_delay(AGAIN.1).with_jitter().without_max_times();
        let mut pauses = failures.build();
        loop {
            let now = wanted.borrow_and_update().clone();
            match now {
                Wanted::Unknown => {}
                Wanted::No(why) => self.configured(&why),
                Wanted::Yes => {
                    self.shown.set(FIRST.0, State::Nothing, "this machine was never configured");
                    let mut asked = wanted.clone();
                    let end = tokio::select! {
                        end = self.find() => end,
                        _ = asked.changed() => continue,
                    };
                    // Not given up halfway: the engine says that it has a configuration when it took this one.
                    let again = self.finish(end, &take).await;
                    let pause = again.then(|| pauses.next()).flatten();
                    let pause = async {
                        match pause {
                            Some(pause) => tokio::time::sleep(pause).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = any(&mut self.sources, &self.look) => {}
                        () = pause => {}
                        _ = asked.changed() => {}
                    }
                    continue;
                }
            }
            if wanted.changed().await.is_err() {
                // Cannot be: the engine holds the sender.
                return std::future::pending().await;
            }
        }
    }

    /// What follows from a look at all sources. True: what was found could not be taken, and is to be tried again.
    async fn finish<F>(&mut self, end: End, take: &(impl Fn(super::Input) -> F + Send)) -> bool
    where
        F: Future<Output = Result<(), String>> + Send,
    {
        let (at, found) = match end {
            End::Nothing => {
                let before = self.verdict.borrow().clone();
                if let Verdict::Wrong(why) = before {
                    self.shown.set(
                        LAST.0,
                        State::Skipped,
                        &format!("closed, since there was a source that was wrong: {why}"),
                    );
                } else {
                    self.shown.set(
                        LAST.0,
                        State::Waiting,
                        "nobody said what this machine should be: who reaches it may",
                    );
                    self.tell(Verdict::Nothing);
                }
                return false;
            }
            End::Wrong(why) => {
                self.wrong(why);
                return false;
            }
            End::Found(at, found) => (at, found),
        };
        let (id, from) = (self.sources[at].id(), found.input.from.clone());
        match take(found.input).await {
            Ok(()) => {
                self.shown.events.info("config", format!("configured from {from}"));
                self.shown.set_used(id, &from, found.instance_id);
                self.skip(at + 1, "the configuration is from elsewhere");
                self.forget();
                self.tell(Verdict::Taken(from));
                false
            }
            Err(why) => {
                let why = format!("{from}: it cannot be taken: {why}");
                self.shown.set(id, State::Wrong, &why);
                self.skip(at + 1, "an earlier source is wrong");
                self.wrong(why);
                true
            }
        }
    }

    /// The first that does not say "nothing". One that was passed and changes meanwhile is looked at again.
    async fn find(&mut self) -> End {
        let mut at = 0;
        while at < self.sources.len() {
            let (before, rest) = self.sources.split_at_mut(at);
            let Some(source) = rest.first_mut() else { break };
            self.shown.set_looking(source.id());
            let changed = any(before, &self.look);
            let finding = tokio::select! {
                biased;
                finding = source.look(&self.look) => finding,
                () = changed => {
                    at = 0;
                    continue;
                }
            };
            match finding {
                Finding::Nothing { why } => self.shown.set(source.id(), State::Nothing, &why),
                Finding::Wrong { why } => {
                    let why = trace::cut(why, REASON_MAX);
                    self.shown.set(source.id(), State::Wrong, &why);
                    let why = format!("{}: {why}", source.name());
                    self.skip(at + 1, "an earlier source is wrong");
                    return End::Wrong(why);
                }
                Finding::Found(found) => return End::Found(at, found),
            }
            at += 1;
        }
        End::Nothing
    }

    fn skip(&mut self, from: usize, why: &str) {
        let ids: Vec<_> = self.sources.iter().skip(from).map(|source| source.id()).chain([LAST.0]).collect();
        for id in ids {
            self.shown.set(id, State::Skipped, why);
        }
    }

    fn configured(&mut self, why: &str) {
        let taken = match &*self.verdict.borrow() {
            Verdict::Nothing => Some(LAST.0),
            // It was told which.
            Verdict::Taken(_) => return,
            _ => None,
        };
        if let Some(id) = taken {
            self.shown.set(id, State::Used, why);
        } else {
            self.shown.set(FIRST.0, State::Used, why);
            self.skip(0, "STATE has the configuration");
        }
        self.forget();
        self.tell(Verdict::Taken(why.into()));
    }

    fn wrong(&self, why: String) {
        let before = self.verdict.borrow().clone();
        let now = Verdict::Wrong(why.clone());
        if before == now {
            return;
        }
        let text = format!("{why}. Nobody is let in until this is right: somebody said what this machine should be");
        self.shown.events.error("config", text);
        if let Err(error) = file::replace(&self.mark, why.as_bytes(), 0o600) {
            // Closed all the same; the next machined looks again.
            tracing::warn!("cannot remember that a source is wrong: {error}");
        }
        self.tell(now);
    }

    fn forget(&self) {
        match std::fs::remove_file(&self.mark) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!("cannot forget that a source was wrong: {error}");
            }
            _ => {}
        }
    }

    fn tell(&self, verdict: Verdict) {
        self.verdict.send_if_modified(|now| {
            let changed = *now != verdict;
            *now = verdict;
            changed
        });
    }
}

/// Any of these has changed.
async fn any(sources: &mut [Box<dyn Source>], look: &Look) {
    if sources.is_empty() {
        return std::future::pending().await;
    }
    select_all(sources.iter_mut().map(|source| source.changed(look).boxed())).await;
}

/// What `config-source` says.
struct Shown {
    writer: Writer<ConfigSource>,
    events: Events,
    list: Vec<(&'static str, ConfigSource)>,
}

impl Shown {
    fn change(&mut self, id: &str, change: impl FnOnce(&mut ConfigSource)) {
        if let Some((_, source)) = self.list.iter_mut().find(|(known, _)| *known == id) {
            change(source);
        }
        self.put();
    }

    fn set(&mut self, id: &str, state: State, reason: &str) {
        self.change(id, |source| (source.state, source.reason) = (state, reason.into()));
    }

    fn set_used(&mut self, id: &str, from: &str, instance_id: String) {
        self.change(id, |source| {
            (source.state, source.reason, source.instance_id) = (State::Used, from.into(), instance_id)
        });
    }

    /// What was wrong is shown until something else is known.
    fn set_looking(&mut self, id: &str) {
        self.change(id, |source| {
            if source.state != State::Wrong {
                (source.state, source.reason) = (State::Looking, String::new());
            }
        });
    }

    fn put(&self) {
        self.writer.replace_all(self.list.iter().map(|(id, source)| (*id, source.clone())));
    }
}

#[cfg(test)]
mod tests;
