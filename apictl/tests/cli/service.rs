//! The services of the fake node.

use std::{pin::Pin, sync::Arc};

use api::v1::{
    CancelJobRequest, CancelJobResponse, ConfirmUpgradeRequest, ConfirmUpgradeResponse, Controller, ControllersRequest,
    ControllersResponse, DiskChoice, GetRequest, InstallDiskRequest, InstallDiskResponse, KernelLogRequest,
    ListRequest, LogChunk, LogLine, Object, Phase, PhaseStatus, RebootRequest, ResetRequest, RollbackRequest,
    RollbackResponse, ServiceLogRequest, ShutdownRequest, StopResponse, TypesRequest, TypesResponse, UpgradeRequest,
    UpgradeResponse, VersionRequest, VersionResponse, WatchEvent, WatchPhaseRequest, WatchRequest,
    diagnostics_server::Diagnostics, log_server::Log, machine_server::Machine, resource_server::Resource,
    watch_event::Kind,
};
use futures_util::{Stream, StreamExt, stream};
use tonic::{Code, Request, Response, Result, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::fake::{Node, State};

#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<Node>);

pub(crate) type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T>> + Send>>;

/// A refusal as nodes write it.
pub(crate) fn refusal(code: Code, message: &str, remedy: &str) -> Status {
    let details = ErrorDetails::with_error_info("TEST", "stele", [("remedy".to_owned(), remedy.to_owned())]);
    Status::with_error_details(code, message, details)
}

impl Service {
    fn stop(&self, action: &str, reason: &str, boot: &str) -> Result<Response<StopResponse>> {
        self.0.change(|state| {
            if state.boot != boot {
                return Err(refusal(Code::FailedPrecondition, "another boot runs", ""));
            }
            if state.busy {
                return Err(refusal(Code::FailedPrecondition, "an installation is under way", "wait for its end"));
            }
            state.asked.push(format!("{action}: {reason}"));
            state.enter(Phase::Stopping, "stopping services");
            Ok(Response::new(StopResponse { boot_id: state.boot.clone() }))
        })
    }

    fn known(&self, kind: &str) -> Result<()> {
        let known = ["thing", "job", "generation"].contains(&kind) && !self.0.state.lock().unwrap().starting;
        known.then_some(()).ok_or_else(|| refusal(Code::NotFound, &format!("no type {kind:?}"), "ask for things"))
    }

    fn log(&self, follow: bool, tail: Option<u32>, cursor: &str) -> Streamed<LogChunk> {
        let count = self.0.change(|state| {
            state.cursors.push(cursor.to_owned());
            state.log.len()
        });
        let begin = tail.map_or(0, |tail| count.saturating_sub(tail as usize));
        let mut at = cursor.parse().unwrap_or(begin);
        let place = (follow && tail.is_some() && cursor.is_empty())
            .then(|| LogChunk { cursor: begin.to_string(), ..LogChunk::default() });
        let chunk = |(index, line): (usize, &Vec<u8>)| LogChunk {
            lines: vec![LogLine { text: line.clone(), time_unix_ns: 1_000_000_000, ..LogLine::default() }],
            cursor: (index + 1).to_string(),
            ..LogChunk::default()
        };
        let lines = self.0.stream(move |state| {
            let chunks: Vec<_> = state.log.iter().enumerate().skip(at).map(chunk).collect();
            at = state.log.len();
            (follow || !chunks.is_empty()).then_some(chunks)
        });
        Box::pin(stream::iter(place.map(Ok)).chain(lines))
    }
}

#[tonic::async_trait]
impl Machine for Service {
    async fn version(&self, _: Request<VersionRequest>) -> Result<Response<VersionResponse>> {
        let boot_id = self.0.state.lock().unwrap().boot.clone();
        Ok(Response::new(VersionResponse { version: "9.9.9".into(), boot_id, ..VersionResponse::default() }))
    }

    type WatchPhaseStream = Streamed<PhaseStatus>;

    async fn watch_phase(&self, _: Request<WatchPhaseRequest>) -> Result<Response<Self::WatchPhaseStream>> {
        let mut last = None;
        Ok(Response::new(Box::pin(self.0.stream(move |state| {
            let now = Some(state.phase.clone());
            let news = if last == now { vec![] } else { vec![state.phase.clone()] };
            last = now;
            Some(news)
        }))))
    }

    async fn reboot(&self, request: Request<RebootRequest>) -> Result<Response<StopResponse>> {
        let request = request.into_inner();
        let slow = self.0.state.lock().unwrap().slow;
        tokio::time::sleep(slow).await;
        let action = if request.recovery { "recovery" } else { "reboot" };
        self.stop(action, &request.reason, &request.expected_boot_id)
    }

    async fn shutdown(&self, request: Request<ShutdownRequest>) -> Result<Response<StopResponse>> {
        let request = request.into_inner();
        self.stop("shutdown", &request.reason, &request.expected_boot_id)
    }

    async fn upgrade(&self, request: Request<UpgradeRequest>) -> Result<Response<UpgradeResponse>> {
        let UpgradeRequest { image, allow_downgrade, retry_failed } = request.into_inner();
        self.0.change(|state| {
            if state.busy {
                return Err(refusal(Code::FailedPrecondition, "job 3 is under way", "wait for its end"));
            }
            state.asked.push(format!("upgrade: {image} {allow_downgrade} {retry_failed}"));
            Ok(Response::new(UpgradeResponse { job: 7 }))
        })
    }

    async fn cancel_job(&self, request: Request<CancelJobRequest>) -> Result<Response<CancelJobResponse>> {
        let job = request.into_inner().job;
        let known = job == 7;
        self.0.change(|state| state.asked.push(format!("cancel: {job}")));
        known
            .then(|| Response::new(CancelJobResponse {}))
            .ok_or_else(|| refusal(Code::NotFound, &format!("there is no job {job}"), "list them: apictl jobs"))
    }

    async fn install(&self, request: Request<InstallDiskRequest>) -> Result<Response<InstallDiskResponse>> {
        let InstallDiskRequest { disk, image, wipe, dry_run } = request.into_inner();
        self.0.change(|state| state.asked.push(format!("install: {disk} {image} {wipe} {dry_run}")));
        if !dry_run {
            return Ok(Response::new(InstallDiskResponse { job: 7, ..Default::default() }));
        }
        let other = DiskChoice { disk: "vda".into(), why_not: "serial is not b".into(), ..Default::default() };
        let meant = DiskChoice { disk: "vdb".into(), holds: "luks".into(), ..Default::default() };
        let (chosen, reason) = if wipe { ("vdb", "") } else { ("", "vdb holds luks") };
        Ok(Response::new(InstallDiskResponse {
            disks: vec![other, meant],
            chosen: chosen.into(),
            reason: reason.into(),
            remedy: "give --wipe".into(),
            job: 0,
        }))
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<RollbackResponse>> {
        let RollbackRequest { generation, reason, expected_boot_id } = request.into_inner();
        if generation > 2 {
            return Err(refusal(Code::NotFound, &format!("there is no generation {generation}"), "apictl generations"));
        }
        let answer = self.stop(&format!("rollback {generation}"), &reason, &expected_boot_id)?.into_inner();
        let generation = if generation == 0 { 1 } else { generation };
        Ok(Response::new(RollbackResponse { boot_id: answer.boot_id, generation }))
    }

    async fn confirm_upgrade(&self, _: Request<ConfirmUpgradeRequest>) -> Result<Response<ConfirmUpgradeResponse>> {
        self.0.change(|state| {
            if state.busy {
                return Err(refusal(Code::FailedPrecondition, "what runs is not on trial", "apictl generations"));
            }
            state.asked.push("confirm".to_owned());
            Ok(Response::new(ConfirmUpgradeResponse { generation: 3 }))
        })
    }

    async fn reset(&self, request: Request<ResetRequest>) -> Result<Response<StopResponse>> {
        let request = request.into_inner();
        let scope = request.scope().as_str_name().trim_start_matches("RESET_SCOPE_").to_lowercase();
        let ResetRequest { force, power_off, reason, expected_boot_id, .. } = request;
        self.stop(&format!("reset {scope} {force} {power_off}"), &reason, &expected_boot_id)
    }
}

#[tonic::async_trait]
impl Resource for Service {
    async fn types(&self, _: Request<TypesRequest>) -> Result<Response<TypesResponse>> {
        Ok(Response::new(TypesResponse { types: State::types() }))
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Object>> {
        let GetRequest { r#type, id } = request.into_inner();
        if r#type == "config-status" {
            return Ok(Response::new(self.0.state.lock().unwrap().configured.object()));
        }
        self.known(&r#type)?;
        let found = self.0.state.lock().unwrap().objects.get(&id).cloned();
        found.map(Response::new).ok_or_else(|| refusal(Code::NotFound, &format!("no thing {id:?}"), "there are: a, b"))
    }

    type ListStream = Streamed<Object>;

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<Self::ListStream>> {
        self.known(&request.into_inner().r#type)?;
        let all: Vec<_> = self.0.state.lock().unwrap().objects.values().cloned().map(Ok).collect();
        Ok(Response::new(Box::pin(stream::iter(all))))
    }

    type WatchStream = Streamed<WatchEvent>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>> {
        let WatchRequest { r#type, bookmark, .. } = request.into_inner();
        if r#type == "config-status" {
            let mut last = None;
            return Ok(Response::new(Box::pin(self.0.stream(move |state| {
                let object = Some(state.configured.object());
                if last == object {
                    return Some(vec![]);
                }
                last = object.clone();
                Some(vec![WatchEvent { kind: Kind::Put.into(), object, bookmark: String::new() }])
            }))));
        }
        self.known(&r#type)?;
        let mut at = None;
        Ok(Response::new(Box::pin(self.0.stream(move |state| {
            let events = match at {
                None => state.open(&bookmark),
                Some(at) => state.history.get(at..)?.to_vec(),
            };
            at = Some(state.history.len());
            Some(events)
        }))))
    }
}

#[tonic::async_trait]
impl Log for Service {
    type ServiceStream = Streamed<LogChunk>;

    async fn service(&self, request: Request<ServiceLogRequest>) -> Result<Response<Self::ServiceStream>> {
        let request = request.into_inner();
        if request.service != "gateway" {
            return Err(refusal(Code::NotFound, "no such service", "there is: gateway"));
        }
        Ok(Response::new(self.log(request.follow, request.tail, &request.cursor)))
    }

    type KernelStream = Streamed<LogChunk>;

    async fn kernel(&self, request: Request<KernelLogRequest>) -> Result<Response<Self::KernelStream>> {
        let request = request.into_inner();
        Ok(Response::new(self.log(request.follow, request.tail, &request.cursor)))
    }
}

#[tonic::async_trait]
impl Diagnostics for Service {
    async fn controllers(&self, _: Request<ControllersRequest>) -> Result<Response<ControllersResponse>> {
        let one = Controller {
            name: "network/link".into(),
            state: api::v1::controller::State::Idle.into(),
            cycles: 3,
            ..Controller::default()
        };
        Ok(Response::new(ControllersResponse { controllers: vec![one], dot: "digraph {}".into() }))
    }
}
