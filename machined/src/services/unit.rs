//! One service: the task that owns its process, its descriptors and its record. It asks `plan` what to do, does it, and
//! waits for the next thing to happen.
//!
//! Invariant: what the next machined needs is with init and in the record before anybody is told.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::service::Service;
use sys::link::ExitStatus;
use sys::process;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::adopt::{self, Left};
use super::first::{Running, ended, signal};
use super::plan::{self, Act, Decision, End, Observed, Process};
use super::ready::Readiness;
use super::record::{self, Over, Record};
use super::{Context, Error, sockets};
use crate::cgroup::Group;
use crate::link::Kept;
use crate::logs;
use crate::resources::service as resource;
use crate::resources::service::State;
use crate::trace::chain;

/// How often its memory is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// Memory is shown in steps of this, so that a watch is not woken by every page.
const STEP: u64 = 256 * 1024;
/// How often needs that nobody announces (a path) are looked at.
const NEEDS: Duration = Duration::from_millis(500);
/// Before a log that could not be read is read again: the cause (memory, descriptors) needs time to pass.
const DRAIN_AGAIN: Duration = Duration::from_secs(2);

/// What others ask of a unit.
#[derive(Debug)]
pub(super) enum Command {
    /// Stop it, do not start it again, and say when it is gone.
    Stop(oneshot::Sender<()>),
    /// Stop it if it runs, start it, and say when the old process is gone.
    Restart(oneshot::Sender<()>),
}

/// One service.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) service: Service,
    context: Arc<Context>,
    group: Group,
    sockets: Arc<Vec<OwnedFd>>,
    log: Arc<OwnedFd>,
    process: Process,
    running: Option<Running>,
    readiness: Readiness,
    wanted: bool,
    /// Start again once it has stopped.
    again: bool,
    /// Why it was asked to end.
    asked: Option<End>,
    record: Record,
    shown: Option<(State, String)>,
    tell: Vec<oneshot::Sender<()>>,
    pipe: Arc<OwnedFd>,
    drains: JoinSet<io::Result<()>>,
}

impl Unit {
    /// Takes over what runs and what init kept; starts nothing.
    pub(super) async fn adopt(context: Arc<Context>, service: Service, kept: &mut Kept) -> Result<Self, Error> {
        let name = service.name.clone();
        let mut listening = Vec::new();
        for listen in &service.listen {
            listening.push(sockets::listen(&context.link, kept, &name, listen).await?);
        }
        let (read, write, dropped) = sockets::log(&context.link, kept, &name).await?;
        let log = context.logs.log(&name)?;
        let pipe = Arc::new(read);
        if dropped > 0 {
            sockets::told(&context.link, &name, &pipe, log.lost(dropped)).await;
        }
        let mut drains = JoinSet::new();
        drains.spawn(logs::drain(log, pipe.clone()));

        let record = record::load(&context.paths.run, &name).map_err(Error::Record)?.unwrap_or_default();
        let readiness = Readiness::adopt(&service.ready, kept.take(&format!("ready:{name}")))?;
        let (running, ended) = match adopt::process(&context.link, &name, &record, kept).await? {
            Left::Nothing => (None, None),
            Left::Running(running) => (Some(running), None),
            Left::Ended(pid, how) => (None, Some((pid, how))),
        };
        let now = Instant::now();
        let process = match (&running, record.over, record.ready) {
            (Some(_), _, true) => Process::Ready { since: now },
            (Some(_), _, false) => Process::Starting { since: now },
            (None, Some(Over::Well), _) => Process::Ended { how: End::Exit(ExitStatus::Exited(0)), at: now },
            (None, Some(Over::Badly), _) => Process::Ended { how: End::Unknown, at: now },
            (None, None, _) if record.pid.is_some() => {
                Process::Ended { how: End::Before(record.last_end.clone().unwrap_or_default()), at: now }
            }
            (None, None, _) => Process::New,
        };
        let group = Group(context.paths.cgroups.join(&name));
        let mut unit = Self {
            service,
            context,
            group,
            sockets: Arc::new(listening),
            log: Arc::new(write),
            process,
            running,
            readiness,
            wanted: true,
            again: false,
            asked: None,
            record,
            shown: None,
            tell: Vec::new(),
            pipe,
            drains,
        };
        if let Some(running) = &unit.running {
            tracing::info!("service {name}: adopted pid {}", running.pid);
        }
        if let Some((pid, how)) = ended {
            unit.end(how);
            adopt::release(&unit.context.link, &name, pid).await;
        }
        Ok(unit)
    }

    /// Keeps it as it should be, until nobody can ask any more.
    pub(super) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut changes = self.context.needs_changes();
        let mut look = tokio::time::interval(LOOK);
        loop {
            let decision = self.decide();
            self.show(&decision);
            if let Some(act) = decision.act {
                self.act(act, &decision).await;
                continue;
            }
            if self.settle() {
                continue;
            }
            let poll = (decision.state == State::Waiting).then(|| Instant::now() + NEEDS);
            let wake = [decision.wake, poll].into_iter().flatten().min();
            tokio::select! {
                how = ended(self.running.as_ref(), &self.context.link) => self.gone(how).await,
                () = self.readiness.wait(), if matches!(self.process, Process::Starting { .. }) => self.is_ready().await,
                () = sleep_until(wake) => {}
                () = changes.changed() => {}
                _ = look.tick() => {}
                Some(drained) = self.drains.join_next() => {
                    let why = match drained { Ok(Ok(())) => "its pipe ended".into(), Ok(Err(e)) => e.to_string(), Err(e) => e.to_string() };
                    self.context.events.error("services", format!("{}: its log could not be read: {why}", self.service.name));
                    self.drain_again();
                }
                command = commands.recv() => match command {
                    Some(Command::Stop(done)) => { self.wanted = false; self.again = false; self.tell.push(done); }
                    Some(Command::Restart(done)) => { self.wanted = false; self.again = true; self.tell.push(done); }
                    None => return,
                },
            }
        }
    }

    fn decide(&self) -> Decision {
        let unmet = self.context.unmet(&self.service.needs);
        let seen =
            Observed { wanted: self.wanted, unmet, process: self.process.clone(), failures: self.record.failures };
        plan::decide(&self.service, &seen, Instant::now())
    }

    /// Reads its log after a pause; without that its full pipe would stop it some day.
    fn drain_again(&mut self) {
        let (logs, name, pipe) = (self.context.logs.clone(), self.service.name.clone(), self.pipe.clone());
        self.drains.spawn(async move {
            tokio::time::sleep(DRAIN_AGAIN).await;
            logs::drain(logs.log(&name).map_err(io::Error::other)?, pipe).await
        });
    }

    /// Once it has stopped: answers who waits for that, and starts it again when that was asked.
    fn settle(&mut self) -> bool {
        if self.wanted || self.running.is_some() {
            return false;
        }
        for done in self.tell.drain(..) {
            // Who asked may have gone.
            let _ = done.send(());
        }
        if !std::mem::take(&mut self.again) {
            return false;
        }
        self.wanted = true;
        self.process = Process::New;
        self.record.over = None;
        self.record.failures = 0;
        true
    }

    async fn act(&mut self, act: Act, decision: &Decision) {
        match act {
            Act::Start => {
                if let Err(error) = self.start().await {
                    let why = chain(&error);
                    self.context.events.error("services", format!("{}: {why}", self.service.name));
                    self.end(End::NoStart(why));
                }
            }
            Act::Ask => {
                let late = matches!(self.process, Process::Starting { .. }) && self.wanted;
                if late {
                    self.context.events.warn("services", format!("{}: {}", self.service.name, decision.why));
                }
                self.asked = Some(if late { End::NotReady } else { End::Stopped });
                if let Some(running) = &self.running {
                    // Gone already: its end is about to be seen.
                    let _ = process::signal(running.pidfd.as_fd(), signal(self.service.stop.signal));
                }
                self.process = Process::Stopping { since: Instant::now(), killed: false };
            }
            Act::Kill => {
                let name = &self.service.name;
                let within = self.service.stop.within;
                self.context.events.warn("services", format!("{name}: did not stop within {within}, killed"));
                self.kill();
                if let Process::Stopping { killed, .. } = &mut self.process {
                    *killed = true;
                }
            }
        }
    }

    fn kill(&self) {
        if let Err(error) = self.group.kill() {
            tracing::warn!("service {}: {error}", self.service.name);
        }
        if let Some(running) = &self.running {
            let _ = process::signal(running.pidfd.as_fd(), process::Signal::KILL);
        }
    }

    async fn start(&mut self) -> Result<(), Error> {
        self.group.ensure(&self.service.limits).map_err(Error::Cgroup)?;
        let ready = self.readiness.renew(&self.service, &self.context.link).await?;
        let parts = super::spawn::Parts {
            service: self.service.clone(),
            sockets: self.sockets.clone(),
            log: self.log.clone(),
            ready,
            procs: self.group.procs().map_err(Error::Cgroup)?,
            link: self.context.link.clone(),
        };
        let child = super::spawn::spawn(parts).await?;
        let own = |pidfd: OwnedFd| -> Result<_, Error> {
            Ok((pidfd.try_clone().map_err(Error::Process)?, Running::new(child.pid, pidfd)?))
        };
        let (copy, running) = match own(child.pidfd) {
            Ok(both) => both,
            Err(error) => {
                // Nobody could see it end, so it must not run.
                let _ = process::discard(child.pid);
                self.context.link.forget(child.pid).await?;
                return Err(error);
            }
        };
        let pid = child.pid.as_raw_nonzero().get();
        if self.record.pid.is_some() {
            self.record.restarts += 1;
        }
        self.record.pid = Some(pid);
        self.record.start_time = record::start_time(pid).unwrap_or(0);
        (self.record.running, self.record.ready, self.record.over) = (true, false, None);
        self.save();
        self.running = Some(running);
        self.process = Process::Starting { since: Instant::now() };
        let name = format!("pid:{}", self.service.name);
        if let Err(error) = self.context.link.put(&name, sys::link::Kind::Plain, copy).await {
            // It runs, and the next machined finds it by its record.
            tracing::warn!("service {}: {}", self.service.name, chain(&error));
        }
        Ok(())
    }

    async fn is_ready(&mut self) {
        self.process = Process::Ready { since: Instant::now() };
        self.record.ready = true;
        self.save();
        self.readiness.done(&self.service.name, &self.context.link).await;
        let pid = self.record.pid.unwrap_or(0);
        self.context.events.info("services", format!("{} is ready (pid {pid})", self.service.name));
    }

    /// Its first process is gone: nothing of it may stay.
    async fn gone(&mut self, how: End) {
        self.kill();
        let how = self.asked.take().unwrap_or(how);
        if how != End::Stopped {
            let event = format!("{} {how}", self.service.name);
            match &how {
                End::Exit(status) if status.success() => self.context.events.info("services", &event),
                _ => self.context.events.warn("services", &event),
            }
        }
        let running = self.running.take();
        self.end(how);
        if let Some(running) = running {
            // Only now, written down, may its end be forgotten: by the kernel, and by init. Not our child: nothing to reap.
            let _ = process::try_wait(running.pidfd.as_fd());
            adopt::release(&self.context.link, &self.service.name, running.pid).await;
        }
    }

    /// Writes down and shows that it has ended.
    fn end(&mut self, how: End) {
        let proven = matches!(self.process, Process::Ready { since } if since.elapsed() >= plan::PROVEN);
        self.record.failures = match how {
            End::Stopped => 0,
            _ if proven => 1,
            _ => self.record.failures.saturating_add(1),
        };
        self.record.last_end = Some(how.to_string());
        (self.record.running, self.record.ready) = (false, false);
        self.process = Process::Ended { how, at: Instant::now() };
        // An end is news even when it looks like the one before.
        self.shown = None;
        let decision = self.decide();
        self.show(&decision);
    }

    /// Writes down and shows what changed.
    fn show(&mut self, decision: &Decision) {
        let now = (decision.state, decision.why.clone());
        if self.shown.as_ref() != Some(&now) {
            if self.shown.as_ref().map(|(state, _)| *state) != Some(decision.state) {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
                self.record.since_unix_ms = u64::try_from(since).unwrap_or(0);
            }
            self.record.over = match decision.state {
                State::Failed => Some(Over::Badly),
                State::Stopped if self.wanted => Some(Over::Well),
                _ => None,
            };
            self.save();
            self.shown = Some(now);
            self.context.announce(&self.service, decision);
        }
        let memory = self.running.is_some().then(|| self.group.memory()).flatten();
        let value = resource::Service {
            state: decision.state,
            why: decision.why.clone(),
            pid: self.running.as_ref().map(|r| r.pid.as_raw_nonzero().get()),
            since_unix_ms: self.record.since_unix_ms,
            restarts: self.record.restarts,
            last_end: self.record.last_end.clone(),
            memory: memory.map(|m| m.next_multiple_of(STEP)),
            run: self.service.run.clone(),
            needs: self.service.needs.clone(),
        };
        self.context.writer.put(&self.service.name, value);
    }

    fn save(&self) {
        if let Err(error) = record::save(&self.context.paths.run, &self.service.name, &self.record) {
            tracing::warn!("service {}: its record cannot be written: {error}", self.service.name);
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}
