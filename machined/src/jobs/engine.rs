//! The task that runs jobs: one after the other, each to its end, over restarts and reboots.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use reconcile::{ClaimError, Store, Writer};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::Error;
use super::handle::{Command, Handle};
use super::history::Keeper;
use super::record::{Record, Request};
use super::work::{Failed, Job, Work};
use crate::events::Events;
use crate::resources::job::{Job as Shown, Phase};
use crate::{clock, meta, state, stop};

/// Starts of one job: an upgrade needs two. One that ends machined each time is not begun for ever.
const STARTS: u32 = 20;
/// For what a job leaves to be removed.
const TIDY: Duration = Duration::from_secs(30);

/// What each kind of job does; none: this release does not know how.
#[derive(Clone, Default)]
#[expect(missing_docs, reason = "the names of the kinds")]
pub struct Works {
    pub upgrade: Option<Arc<dyn Work>>,
    pub install: Option<Arc<dyn Work>>,
}

impl Works {
    fn of(&self, request: &Request) -> Option<Arc<dyn Work>> {
        match request {
            Request::Upgrade(_) => self.upgrade.clone(),
            Request::Install(_) => self.install.clone(),
        }
    }
}

impl std::fmt::Debug for Works {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = (self.upgrade.is_some(), self.install.is_some());
        f.debug_struct("Works").field("upgrade", &known.0).field("install", &known.1).finish()
    }
}

/// What the engine works with.
#[derive(Debug)]
pub struct Parts {
    /// Where jobs are shown.
    pub store: Store,
    /// The log for people.
    pub events: Events,
    /// Where the last job is kept.
    pub meta: meta::Handle,
    /// Where those before it are kept.
    pub state: state::Handle,
    /// machined's folder in /run.
    pub run: PathBuf,
    /// A machine that stops begins nothing, and goes on when it is back.
    pub stop: stop::Handle,
    /// What is done.
    pub works: Works,
}

/// Runs until it is dropped.
pub struct Engine {
    commands: mpsc::Receiver<Command>,
    keeper: Keeper,
    store: Store,
    writer: Writer<Shown>,
    shown: BTreeSet<u64>,
    events: Events,
    meta: meta::Handle,
    state: state::Handle,
    stop: stop::Handle,
    works: Works,
    current: Option<Current>,
}

/// The job that runs.
struct Current {
    job: Job,
    work: Arc<dyn Work>,
    running: BoxFuture<'static, Result<String, Failed>>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("works", &self.works).finish_non_exhaustive()
    }
}

/// Puts the parts together.
///
/// # Errors
/// Somebody else writes the type.
pub fn build(parts: Parts) -> Result<(Handle, Engine), ClaimError> {
    let Parts { store, events, meta, state, run, stop, works } = parts;
    let writer = store.writer::<Shown>("jobs")?;
    let keeper = Keeper::new(meta.clone(), state.clone(), run);
    let (sender, commands) = mpsc::channel(8);
    let shown = BTreeSet::new();
    let mut engine = Engine { commands, keeper, store, writer, shown, events, meta, state, stop, works, current: None };
    engine.show();
    Ok((Handle { commands: sender }, engine))
}

impl Engine {
    /// For ever.
    pub async fn run(mut self) {
        let (mut meta, mut state) = (self.meta.watch(), self.state.watch());
        // Until META is there, or is known not to be, nobody knows whether a job is under way.
        while *meta.borrow_and_update() == meta::State::Waiting {
            tokio::select! {
                Some(command) = self.commands.recv() => refuse(command),
                Ok(()) = meta.changed() => {}
            }
        }
        self.look().await;
        let stop = self.stop.clone();
        let mut stopping = std::pin::pin!(stop.requested());
        loop {
            tokio::select! {
                biased;
                _ = &mut stopping => break,
                ended = ended(&mut self.current) => self.end(ended).await,
                Some(command) = self.commands.recv() => self.obey(command).await,
                Ok(()) = meta.changed() => self.look().await,
                Ok(()) = state.changed() => self.keep_history().await,
            }
        }
        // What it started ends with it, and it begins again after the next start.
        self.current = None;
        while let Some(command) = self.commands.recv().await {
            match command {
                Command::Start(_, _, reply) => drop(reply.send(Err(Error::Stopping))),
                Command::Cancel(_, _, reply) => drop(reply.send(Err(Error::Stopping))),
                Command::Undisturbed(reply) => drop(reply.send(self.undisturbed())),
            }
        }
        std::future::pending().await
    }

    /// Shows all that are known; those that were forgotten go.
    fn show(&mut self) {
        let kept = self.keeper.kept();
        let current = self.current.as_ref().map(|current| current.job.record().id);
        for job in kept.jobs.iter().filter(|job| Some(job.id) != current) {
            // How many bytes its last step moved is shown as long as this machined lives.
            let known = self.store.get::<Shown>(&job.id.to_string());
            let bytes = known.map_or((0, 0), |known| (known.value.done_bytes, known.value.total_bytes));
            self.writer.put(job.id.to_string(), job.shown(bytes));
        }
        let ids: BTreeSet<u64> = kept.jobs.iter().map(|job| job.id).collect();
        for gone in self.shown.difference(&ids) {
            self.writer.remove(gone.to_string());
        }
        self.shown = ids;
    }

    async fn keep_history(&mut self) {
        self.keeper.keep_history().await;
        self.show();
    }

    /// Reads what is kept; one that was under way goes on.
    async fn look(&mut self) {
        self.keeper.read_meta();
        self.keep_history().await;
        if self.current.is_none()
            && let Some(record) = self.keeper.kept().running().cloned()
        {
            self.go_on(record).await;
        }
    }

    async fn go_on(&mut self, record: Record) {
        let (id, starts) = (record.id, record.starts);
        let work = self.works.of(&record.request);
        let kind = record.request.kind();
        let job = self.job(record);
        match work {
            Some(work) if starts < STARTS => {
                self.events.info("jobs", format!("job {id} ({kind}) goes on"));
                self.begin(job, work).await;
            }
            Some(work) => {
                tidy(&*work, &job).await;
                let why = format!("it was begun {starts} times, and machined or the machine ended each time");
                self.over(&job, Phase::Failed, &why, "apictl logs machined").await;
            }
            None => self.over(&job, Phase::Failed, "this version does not know how to go on", "").await,
        }
    }

    fn job(&self, record: Record) -> Job {
        Job::new(record, self.keeper.clone(), self.writer.clone(), self.events.clone())
    }

    /// Written down once more before it begins. One that cannot be was written when it was asked for.
    async fn begin(&mut self, job: Job, work: Arc<dyn Work>) {
        job.begin();
        if let Err(error) = job.save().await {
            tracing::warn!("a job goes on and cannot be counted: {}", crate::trace::chain(&error));
        }
        let (doing, of) = (work.clone(), job.clone());
        let running = async move {
            let done = AssertUnwindSafe(doing.run(&of)).catch_unwind().await;
            done.unwrap_or_else(|panic| {
                let what = panic.downcast_ref::<&str>().map(ToString::to_string);
                let what = what.or(panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                Err(Failed::because(format!("a fault of machined: {what}"), "report it: apictl support"))
            })
        };
        self.current = Some(Current { job, work, running: running.boxed() });
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Start(request, by, reply) => {
                let answer = self.start(request, &by).await;
                let _ = reply.send(answer);
            }
            Command::Cancel(id, by, reply) => {
                let answer = self.cancel(id, &by).await;
                let _ = reply.send(answer);
            }
            Command::Undisturbed(reply) => drop(reply.send(self.undisturbed())),
        }
    }

    fn undisturbed(&self) -> Result<(), Error> {
        let kept = self.keeper.kept();
        kept.running().filter(|job| !job.is_proving()).map_or(Ok(()), |job| Err(Error::busy(job)))
    }

    async fn start(&mut self, request: Request, by: &str) -> Result<u64, Error> {
        if let Some(field) = request.too_long() {
            return Err(Error::TooLong(field));
        }
        if let Some(current) = &self.current {
            let record = current.job.record();
            return if record.request == request { Ok(record.id) } else { Err(Error::busy(&record)) };
        }
        let work = self.works.of(&request).ok_or(Error::Unsupported(request.kind()))?;
        let id = self.keeper.kept().last + 1;
        let what = format!("job {id}: {} {}, asked for by {by}", request.kind(), request.what());
        let record = Record::new(id, request, by, clock::now_unix_ms());
        let written = record.clone();
        if let Err(error) = self.keeper.save(|kept| kept.put(written)).await {
            // Nobody was told of it.
            let _ = self.keeper.save(|kept| kept.jobs.retain(|job| job.id != id)).await;
            return Err(error);
        }
        self.events.info("jobs", what);
        let job = self.job(record);
        self.begin(job, work).await;
        self.show();
        Ok(id)
    }

    async fn cancel(&mut self, id: u64, by: &str) -> Result<(), Error> {
        let kept = self.keeper.kept();
        let known = kept.jobs.iter().find(|job| job.id == id).ok_or(Error::Unknown(id))?;
        let Some(current) = self.current.take_if(|current| current.job.record().id == id) else {
            return Err(if known.phase.is_over() { Error::Over(id) } else { Error::Stopping });
        };
        if !current.job.cancel() {
            let step = current.job.record().step;
            self.current = Some(current);
            return Err(Error::Committed { id, step });
        }
        // With everything that it started.
        drop(current.running);
        tidy(&*current.work, &current.job).await;
        self.over(&current.job, Phase::Cancelled, &format!("cancelled by {by}"), "").await;
        Ok(())
    }

    async fn end(&mut self, done: Result<String, Failed>) {
        let Some(current) = self.current.take() else { return };
        let (phase, reason, remedy) = match done {
            Ok(what) => (Phase::Done, what, String::new()),
            Err(Failed { phase, reason, remedy }) => (phase, reason, remedy),
        };
        // Tidied first: a job that is over is not begun again for it.
        tidy(&*current.work, &current.job).await;
        if phase == Phase::Done {
            current.work.before(&current.job).await;
        }
        self.over(&current.job, phase, &reason, &remedy).await;
        if phase == Phase::Done {
            current.work.after(&current.job).await;
        }
    }

    async fn over(&mut self, job: &Job, phase: Phase, reason: &str, remedy: &str) {
        job.end(phase, reason, remedy);
        let Record { id, request, .. } = job.record();
        let text = format!("job {id} ({}): {reason}", request.kind());
        match phase {
            Phase::Running | Phase::Done | Phase::Cancelled => self.events.info("jobs", text),
            Phase::Refused | Phase::Failed | Phase::Returned => self.events.error("jobs", text),
        }
        if let Err(error) = job.save().await {
            tracing::error!("the end of a job cannot be written down: {}", crate::trace::chain(&error));
        }
        self.keep_history().await;
    }
}

async fn tidy(work: &dyn Work, job: &Job) {
    if timeout(TIDY, work.tidy(job)).await.is_err() {
        tracing::warn!("what a job left cannot be removed");
    }
}

/// Waits for the end of the job that runs, for ever without one. Cancel-safe.
async fn ended(current: &mut Option<Current>) -> Result<String, Failed> {
    match current {
        Some(current) => (&mut current.running).await,
        None => std::future::pending().await,
    }
}

fn refuse(command: Command) {
    let why = || Error::Looking("the system disk is looked for".into());
    match command {
        Command::Start(_, _, reply) => drop(reply.send(Err(why()))),
        Command::Cancel(_, _, reply) => drop(reply.send(Err(why()))),
        Command::Undisturbed(reply) => drop(reply.send(Err(why()))),
    }
}
