//! From a declaration to a process: who it is, what it may, what it is given. The only place that starts processes.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use config::service::Service;
use sys::process::{Capabilities, Child, Gid, Resource, Rlimit, Spawn, Uid, User};

use super::Error;
use crate::blocking;
use crate::link::Link;

/// The first descriptor after stdin, stdout and stderr.
const FIRST: usize = 3;

/// What a start takes.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) service: Service,
    pub(super) sockets: Arc<Vec<OwnedFd>>,
    pub(super) log: Arc<OwnedFd>,
    pub(super) ready: Option<OwnedFd>,
    pub(super) procs: File,
    pub(super) link: Link,
}

/// Starts the service's first process. On a thread of its own: the kernel may take seconds over it, and machined's heart
/// beats on.
pub(super) async fn spawn(parts: Parts) -> Result<Child, Error> {
    blocking::run(move || start(&parts)).await
}

fn start(parts: &Parts) -> Result<Child, Error> {
    let service = &parts.service;
    let mut descriptors: Vec<_> = parts.sockets.iter().map(AsFd::as_fd).collect();
    descriptors.extend(parts.ready.as_ref().map(AsFd::as_fd));
    let user = (service.user != 0).then(|| User {
        uid: Uid::from_raw(service.user),
        gid: Gid::from_raw(service.user),
        groups: Vec::new(),
    });
    let files = Rlimit { current: Some(service.limits.files), maximum: Some(service.limits.files) };
    let start = Spawn {
        program: service.run[0].clone().into(),
        argv: service.run.iter().map(Into::into).collect(),
        env: environment(service, parts.ready.is_some()),
        user,
        limits: vec![(Resource::Nofile, files)],
        cgroup: Some(parts.procs.as_fd()),
        capabilities: capabilities(service)?,
        no_new_privs: service.user != 0,
        descriptors,
        stdout: Some(parts.log.as_fd()),
        stderr: Some(parts.log.as_fd()),
        // machined's own score is one that is spared; its services are like everybody else.
        oom_score_adj: Some(0),
        session: true,
        register: Some(parts.link.client()),
        ..Spawn::default()
    };
    Ok(start.start()?)
}

/// sd_listen_fds(3) without LISTEN_PID, which nobody can know before the fork; and where to say "ready".
fn environment(service: &Service, ready: bool) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = vec![("PATH".into(), "/usr/bin:/usr/sbin".into())];
    if !service.listen.is_empty() {
        let names: Vec<_> = service.listen.iter().map(|l| l.name.as_str()).collect();
        env.push(("LISTEN_FDS".into(), names.len().to_string().into()));
        env.push(("LISTEN_FDNAMES".into(), names.join(":").into()));
    }
    if ready {
        env.push(("STELE_READY_FD".into(), (FIRST + service.listen.len()).to_string().into()));
    }
    env.extend(service.env.iter().map(|(name, value)| (name.into(), value.into())));
    env
}

/// None: all are kept, which only `ALL` asks for.
fn capabilities(service: &Service) -> Result<Option<Capabilities>, Error> {
    if service.capabilities == ["ALL"] {
        return Ok(None);
    }
    let mut keep = Capabilities::empty();
    for name in &service.capabilities {
        keep |= sys::process::capability(name).ok_or_else(|| Error::Capability(name.clone()))?;
    }
    Ok(Some(keep))
}
