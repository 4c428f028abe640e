//! The service Machine: what this machine is, how far it has come, stopping it, and jobs.
//!
//! Invariant: a stop that was answered happens: init has heard of it before, and finishes it should machined die. Nothing is
//! stopped before the answer has left.

use std::sync::Arc;

use config::kinds::DiskSelector;
use futures_util::{StreamExt, stream, stream::BoxStream};
use reconcile::{Changes, Store};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::{Request, Response, Status};

use super::{
    About,
    audit::Witness,
    error::Error,
    peer::Caller,
    reset::{self, Resets},
};
use crate::{
    answered::Answered,
    generations, identity,
    jobs::{self, Install, Upgrade},
    link::Link,
    meta,
    resources::machine::{Machine as Overall, Phase},
    stop,
    trace::chain,
};
use api::v1::{self, machine_server::Machine};

/// A stop that somebody asked for, and where to say whether it happens.
#[derive(Debug)]
pub(super) struct Wish {
    request: stop::Request,
    answered: Answered,
    answer: oneshot::Sender<Result<(), Error>>,
}

/// Longest reason that is kept for the next boot.
const REASON: usize = 200;

/// Serves what `about` says and what the store and the stop handle show.
#[derive(Clone, Debug)]
pub(super) struct Machines {
    about: Arc<About>,
    names: watch::Receiver<identity::Machine>,
    store: Store,
    stop: stop::Handle,
    wishes: mpsc::Sender<Wish>,
    jobs: jobs::Handle,
    generations: generations::Handle,
    resets: Resets,
}

impl Machines {
    /// The service, and the wishes for `stopper`.
    pub(super) fn new(
        about: About,
        names: watch::Receiver<identity::Machine>,
        store: Store,
        stop: stop::Handle,
        jobs: jobs::Handle,
        generations: generations::Handle,
        meta: meta::Handle,
    ) -> (Self, mpsc::Receiver<Wish>) {
        let resets = Resets { meta, store: store.clone(), generations: generations.clone() };
        // One after the other: the first counts, the rest are told.
        let (wishes, wished) = mpsc::channel(1);
        (Self { about: Arc::new(about), names, store, stop, wishes, jobs, generations, resets }, wished)
    }

    fn boot_id(&self) -> String {
        self.names.borrow().boot_id.clone()
    }

    /// Whether this boot is meant, and may still be stopped this way: asked before anything is changed for the next one.
    fn may(&self, action: stop::Action, expected_boot: &str) -> Result<String, Error> {
        let running = self.boot_id();
        if !expected_boot.is_empty() && expected_boot != running {
            return Err(Error::OtherBoot { running });
        }
        match &*self.stop.watch().borrow() {
            stop::State::Stopping { request, .. } if request.action != action => {
                Err(Error::Stopping { request: request.clone() })
            }
            _ => Ok(running),
        }
    }

    /// Which disk an install would take.
    async fn choice(&self, selector: &DiskSelector, wipe: bool) -> v1::InstallDiskResponse {
        let failed = |failed: jobs::Failed| v1::InstallDiskResponse {
            reason: failed.reason,
            remedy: failed.remedy,
            ..Default::default()
        };
        let choice = match jobs::install::choice(&self.store, selector, wipe).await {
            Ok(choice) => choice,
            Err(why) => return failed(why),
        };
        let disks = choice.disks.into_iter().map(|disk| v1::DiskChoice {
            disk: disk.id,
            what: disk.what,
            holds: disk.holds,
            why_not: disk.why_not.unwrap_or_default(),
        });
        let mut response = v1::InstallDiskResponse { disks: disks.collect(), ..Default::default() };
        match choice.chosen {
            Ok(chosen) => response.chosen = chosen,
            Err((reason, remedy)) => (response.reason, response.remedy) = (reason, remedy),
        }
        response
    }

    async fn wish(
        &self,
        action: stop::Action,
        caller: Caller,
        reason: &str,
        expected_boot: &str,
    ) -> Result<v1::StopResponse, Error> {
        let cause = told(&format!("{} by {}", action.verb(), caller.peer), &plain(reason));
        self.stop(stop::Request::new(action, cause), caller, expected_boot).await
    }

    async fn stop(
        &self,
        request: stop::Request,
        Caller { answered, .. }: Caller,
        expected_boot: &str,
    ) -> Result<v1::StopResponse, Error> {
        let running = self.may(request.action, expected_boot)?;
        let (answer, granted) = oneshot::channel();
        let wish = Wish { request, answered, answer };
        self.wishes.send(wish).await.map_err(|_| Error::Ending)?;
        granted.await.map_err(|_| Error::Ending)??;
        Ok(v1::StopResponse { boot_id: running })
    }
}

/// Grants wishes: tells init, answers, and lets the answer leave before the stop begins. Run by `server::run`.
pub(super) async fn stopper(mut wished: mpsc::Receiver<Wish>, stop: stop::Handle, init: Link) {
    while let Some(Wish { request, answered, answer }) = wished.recv().await {
        let under_way = match &*stop.watch().borrow() {
            stop::State::Stopping { request, .. } => Some(request.clone()),
            stop::State::Running => None,
        };
        if let Some(counts) = under_way {
            // Asked again for what happens anyway: yes. Who asked may have gone.
            let granted =
                if counts.action == request.action { Ok(()) } else { Err(Error::Stopping { request: counts }) };
            let _ = answer.send(granted);
            continue;
        }
        tracing::warn!(cause = request.cause, "stop asked for by the API");
        match init.stopping(request.action.into()).await {
            Ok(stands) if stop::Action::from(stands) == request.action => {}
            // A signal to init that is not known here yet; its word is on the way.
            Ok(stands) => {
                let counts = stop::Request::new(stands.into(), "asked of init");
                let _ = answer.send(Err(Error::Stopping { request: Arc::new(counts) }));
                continue;
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "init cannot be told of the stop");
                let _ = answer.send(Err(Error::Ending));
                continue;
            }
        }
        // From here on it happens, whoever has gone.
        let _ = answer.send(Ok(()));
        answered.wait().await;
        stop.request(request);
    }
}

#[tonic::async_trait]
impl Machine for Machines {
    async fn version(&self, _: Request<v1::VersionRequest>) -> Result<Response<v1::VersionResponse>, Status> {
        Ok(Response::new(self.about.message(&self.names.borrow())))
    }

    type WatchPhaseStream = BoxStream<'static, Result<v1::PhaseStatus, Status>>;

    async fn watch_phase(
        &self,
        request: Request<v1::WatchPhaseRequest>,
    ) -> Result<Response<Self::WatchPhaseStream>, Status> {
        let until = request.into_inner().until;
        let until = v1::Phase::try_from(until).map_err(|_| Error::Invalid {
            field: "until",
            why: format!("{until} is not a phase this version knows"),
        })?;
        let watch = PhaseWatch {
            boot_id: self.boot_id(),
            changes: self.store.watch::<Overall>(),
            store: self.store.clone(),
            stop: self.stop.watch(),
            until,
            last: None,
        };
        Ok(Response::new(stream::unfold(watch, PhaseWatch::next).map(Ok).boxed()))
    }

    async fn reboot(&self, request: Request<v1::RebootRequest>) -> Result<Response<v1::StopResponse>, Status> {
        let caller = Caller::of(&request)?;
        let v1::RebootRequest { reason, expected_boot_id, recovery } = request.into_inner();
        if !recovery {
            return Ok(Response::new(self.wish(stop::Action::Reboot, caller, &reason, &expected_boot_id).await?));
        }
        self.may(stop::Action::Reboot, &expected_boot_id)?;
        self.jobs.undisturbed().await.map_err(Error::from)?;
        self.generations.recover(true).await.map_err(Error::from)?;
        let reason = told("into the recovery system", &reason);
        let stopped = self.wish(stop::Action::Reboot, caller, &reason, &expected_boot_id).await;
        if stopped.is_err()
            && let Err(error) = self.generations.recover(false).await
        {
            tracing::warn!("the next start is recovery, though this boot goes on: {}", chain(&error));
        }
        Ok(Response::new(stopped?))
    }

    async fn shutdown(&self, request: Request<v1::ShutdownRequest>) -> Result<Response<v1::StopResponse>, Status> {
        let caller = Caller::of(&request)?;
        let v1::ShutdownRequest { reason, expected_boot_id } = request.into_inner();
        Ok(Response::new(self.wish(stop::Action::PowerOff, caller, &reason, &expected_boot_id).await?))
    }

    async fn upgrade(&self, request: Request<v1::UpgradeRequest>) -> Result<Response<v1::UpgradeResponse>, Status> {
        let Caller { peer, .. } = Caller::of(&request)?;
        for (asked, what) in [
            (request.get_ref().allow_downgrade, "--allow-downgrade"),
            (request.get_ref().retry_failed, "--retry-failed"),
        ] {
            if asked {
                Witness::allows(&request, what);
            }
        }
        let v1::UpgradeRequest { image: name, allow_downgrade, retry_failed } = request.into_inner();
        let upgrade = Upgrade { image: image(&name)?, allow_downgrade, retry_failed };
        let job = self.jobs.start(jobs::Request::Upgrade(upgrade), peer.to_string()).await.map_err(Error::from)?;
        Ok(Response::new(v1::UpgradeResponse { job }))
    }

    async fn install(
        &self,
        request: Request<v1::InstallDiskRequest>,
    ) -> Result<Response<v1::InstallDiskResponse>, Status> {
        let Caller { peer, .. } = Caller::of(&request)?;
        let v1::InstallDiskRequest { disk, image: name, wipe, dry_run } = request.into_inner();
        let selector: DiskSelector = disk.parse().map_err(|why| Error::Invalid { field: "disk", why })?;
        let name = if name.is_empty() { name } else { image(&name)? };
        if dry_run {
            return Ok(Response::new(self.choice(&selector, wipe).await));
        }
        let install = Install { disk: selector.to_string(), image: name, wipe, document: String::new() };
        let job = self.jobs.start(jobs::Request::Install(install), peer.to_string()).await.map_err(Error::from)?;
        Ok(Response::new(v1::InstallDiskResponse { job, ..Default::default() }))
    }

    async fn rollback(&self, request: Request<v1::RollbackRequest>) -> Result<Response<v1::RollbackResponse>, Status> {
        let caller = Caller::of(&request)?;
        let v1::RollbackRequest { generation, reason, expected_boot_id } = request.into_inner();
        self.may(stop::Action::Reboot, &expected_boot_id)?;
        let why = told(&format!("rolled back by {}", caller.peer), &reason);
        self.jobs.undisturbed().await.map_err(Error::from)?;
        let to = (generation > 0).then_some(generation);
        let before = self.generations.view().state;
        let generation = self.generations.roll_back(to, &plain(&why)).await.map_err(Error::from)?;
        let reason = told(&format!("rollback to generation {generation}"), &reason);
        let stopped = self.wish(stop::Action::Reboot, caller, &reason, &expected_boot_id).await;
        if stopped.is_err()
            && let Some(before) = before
            && let Err(error) = self.generations.take_back(before, generation).await
        {
            tracing::warn!("the next start is generation {generation}, though this boot goes on: {}", chain(&error));
        }
        Ok(Response::new(v1::RollbackResponse { boot_id: stopped?.boot_id, generation }))
    }

    async fn confirm_upgrade(
        &self,
        _: Request<v1::ConfirmUpgradeRequest>,
    ) -> Result<Response<v1::ConfirmUpgradeResponse>, Status> {
        let generation = self.generations.confirm().await.map_err(Error::from)?;
        Ok(Response::new(v1::ConfirmUpgradeResponse { generation }))
    }

    async fn reset(&self, request: Request<v1::ResetRequest>) -> Result<Response<v1::StopResponse>, Status> {
        let caller = Caller::of(&request)?;
        let scope = reset::scope(request.get_ref().scope())?;
        Witness::allows(&request, scope.name());
        if request.get_ref().force {
            Witness::allows(&request, "--force");
        }
        let request = request.into_inner();
        let v1::ResetRequest { force, power_off, reason, expected_boot_id, .. } = request;
        // Whoever switches the machine off: it starts once more, and wipes.
        self.may(stop::Action::Reboot, &expected_boot_id)?;
        self.resets.may(force)?;
        let cause = told(&format!("reset of {} by {}", scope.name(), caller.peer), &plain(&reason));
        tracing::warn!(cause, "a reset is asked for by the API");
        self.resets.wish(scope, power_off, &cause).await?;
        let stop = stop::Request { at_once: force, ..stop::Request::new(stop::Action::Reboot, cause) };
        let stopped = self.stop(stop, caller, &expected_boot_id).await;
        if stopped.is_err() {
            self.resets.take_back().await;
        }
        Ok(Response::new(stopped?))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let Caller { peer, .. } = Caller::of(&request)?;
        self.jobs.cancel(request.into_inner().job, peer.to_string()).await.map_err(Error::from)?;
        Ok(Response::new(v1::CancelJobResponse {}))
    }
}

/// What is done, with a reason if there is one.
fn told(what: &str, reason: &str) -> String {
    let colon = if reason.is_empty() { "" } else { ": " };
    format!("{what}{colon}{reason}")
}

/// On one line, and not too long.
fn plain(reason: &str) -> String {
    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON).collect()
}

/// A reference of an image, as it is written back; that it is one is seen before a job begins.
fn image(text: &str) -> Result<String, Error> {
    let parsed: Result<config::image::Reference, String> = text.parse();
    parsed.map(|reference| reference.to_string()).map_err(|why| Error::Invalid { field: "image", why })
}

/// The state of one phase stream.
struct PhaseWatch {
    boot_id: String,
    store: Store,
    changes: Changes,
    stop: watch::Receiver<stop::State>,
    until: v1::Phase,
    last: Option<v1::PhaseStatus>,
}

impl PhaseWatch {
    /// The next status that differs from the last one; `None` after the phase that is waited for.
    async fn next(mut self) -> Option<(v1::PhaseStatus, Self)> {
        if self.until != v1::Phase::Unspecified && self.last.as_ref().is_some_and(|last| last.phase() == self.until) {
            return None;
        }
        loop {
            self.changes.mark_seen();
            let now = self.now();
            if self.last.as_ref() != Some(&now) {
                self.last = Some(now.clone());
                return Some((now, self));
            }
            tokio::select! {
                () = self.changes.changed() => {}
                // An error means that nobody can stop the machine any more: machined is ending.
                changed = self.stop.changed() => changed.ok()?,
            }
        }
    }

    fn now(&mut self) -> v1::PhaseStatus {
        let condition = self.store.get::<Overall>(Overall::ID);
        let mut status = v1::PhaseStatus { boot_id: self.boot_id.clone(), ..Default::default() };
        status.set_phase(condition.as_ref().map_or(v1::Phase::Booting, |object| phase(object.value.phase)));
        if let Some(object) = condition {
            status.unmet = object.value.unmet.clone();
        }
        // The stop handle is ahead of the resource that a controller makes of it.
        if let stop::State::Stopping { step, .. } = &*self.stop.borrow_and_update() {
            status.set_phase(v1::Phase::Stopping);
            status.step = step.clone();
            status.unmet = Vec::new();
        }
        status
    }
}

fn phase(phase: Phase) -> v1::Phase {
    match phase {
        Phase::Booting => v1::Phase::Booting,
        Phase::Maintenance => v1::Phase::Maintenance,
        Phase::Running => v1::Phase::Running,
        Phase::Recovery => v1::Phase::Recovery,
        Phase::Stopping => v1::Phase::Stopping,
    }
}
