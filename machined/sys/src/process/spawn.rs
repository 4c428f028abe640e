//! The description of a process to start, and the parent's half of starting it.
//!
//! Everything is allocated and opened before the fork; the child only makes system calls. It reports the step that failed
//! over a pipe that a successful exec closes.

use super::{Capabilities, Gid, Pid, Resource, Rlimit, Uid, child, wait};
use crate::link::{Client, Request};
use std::ffi::{CString, NulError, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// For the child to execute its program: milliseconds, unless the kernel holds it (a frozen cgroup, a disk that does not
/// answer). Below what init grants machined without a heartbeat, and below the watchdog's time.
const PATIENCE: Duration = Duration::from_secs(10);

/// What to start and as whom. `Default` is: our own identity, an empty environment, /dev/null thrice.
#[derive(Debug, Default, Clone)]
pub struct Spawn<'fd> {
    /// The program's absolute path; there is no search.
    pub program: PathBuf,
    /// All arguments, the program's name first; empty means the path alone.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Whom to become; none: stay.
    pub user: Option<User>,
    /// Resource limits.
    pub limits: Vec<(Resource, Rlimit)>,
    /// An open `cgroup.procs` to join.
    pub cgroup: Option<BorrowedFd<'fd>>,
    /// Bounding, permitted, inheritable and ambient set; none: left as they are.
    pub capabilities: Option<Capabilities>,
    /// Forbid gaining privileges by exec.
    pub no_new_privs: bool,
    /// Passed on as descriptors 3, 4, …; no others are.
    pub descriptors: Vec<BorrowedFd<'fd>>,
    /// Standard input; none: /dev/null.
    pub stdin: Option<BorrowedFd<'fd>>,
    /// Standard output; none: /dev/null.
    pub stdout: Option<BorrowedFd<'fd>>,
    /// Standard error; none: /dev/null.
    pub stderr: Option<BorrowedFd<'fd>>,
    /// Working directory; none: `/`.
    pub directory: Option<PathBuf>,
    /// File mode mask; none: 0o022.
    pub umask: Option<u32>,
    /// -1000 (never) to 1000 (first).
    pub oom_score_adj: Option<i16>,
    /// -20 to 19.
    pub nice: Option<i32>,
    /// Start a session of its own.
    pub session: bool,
    /// The link over which the child registers itself with init before exec.
    pub register: Option<&'fd Client>,
}

/// An identity.
#[derive(Debug, Clone)]
pub struct User {
    /// User.
    pub uid: Uid,
    /// Group.
    pub gid: Gid,
    /// Supplementary groups.
    pub groups: Vec<Gid>,
}

/// A started process. Dropping it does not end it.
#[derive(Debug)]
pub struct Child {
    /// Its id.
    pub pid: Pid,
    /// Readable (poll) when it has ended; refers to this very process even when the id is used again.
    pub pidfd: OwnedFd,
}

/// Where starting failed in the child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names say it; `Display` says it in words")]
pub enum Step {
    Session = 1,
    Register,
    Cgroup,
    Limits,
    Nice,
    OomScore,
    Descriptors,
    Directory,
    BoundingSet,
    Identity,
    Capabilities,
    NoNewPrivs,
    Exec,
}

impl Step {
    const ALL: [(Self, &'static str); 13] = [
        (Self::Session, "starting a session"),
        (Self::Register, "registering with init"),
        (Self::Cgroup, "joining the cgroup"),
        (Self::Limits, "setting resource limits"),
        (Self::Nice, "setting the priority"),
        (Self::OomScore, "setting the OOM score"),
        (Self::Descriptors, "arranging descriptors"),
        (Self::Directory, "entering the working directory"),
        (Self::BoundingSet, "dropping capabilities from the bounding set"),
        (Self::Identity, "changing user and groups"),
        (Self::Capabilities, "setting capabilities"),
        (Self::NoNewPrivs, "setting no_new_privs"),
        (Self::Exec, "executing the program"),
    ];
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(Self::ALL.iter().find(|(step, _)| step == self).map_or("?", |(_, words)| words))
    }
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument, variable or path that no program can receive.
    #[error("an argument, environment variable or path of {0} holds a NUL byte")]
    Nul(PathBuf, #[source] NulError),
    /// The parent's half failed.
    #[error("cannot start {0}: no {1}")]
    Resources(PathBuf, &'static str, #[source] io::Error),
    /// The child's half hangs; it has been killed, and is gone as soon as the kernel lets it go.
    #[error("cannot start {0}: the kernel holds it before it executes")]
    Late(PathBuf),
    /// The child's half failed; it has been reaped and forgotten.
    #[error("cannot start {program}: {step} failed")]
    Child {
        /// The program.
        program: PathBuf,
        /// Where.
        step: Step,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl Spawn<'_> {
    /// Starts the process; blocks until it has executed its program (milliseconds) or failed to, some ten seconds at most.
    pub fn start(&self) -> Result<Child, Error> {
        self.start_within(PATIENCE)
    }

    pub(super) fn start_within(&self, patience: Duration) -> Result<Child, Error> {
        let deadline = Instant::now() + patience;
        let lacks = |what| move |e: io::Error| Error::Resources(self.program.clone(), what, e);
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").map_err(lacks("/dev/null"))?;
        let (mut reports, report) = io::pipe().map_err(lacks("pipe"))?;
        let mut sources: Vec<RawFd> = vec![self.stdin.unwrap_or(null.as_fd()).as_raw_fd()];
        sources.push(self.stdout.unwrap_or(null.as_fd()).as_raw_fd());
        sources.push(self.stderr.unwrap_or(null.as_fd()).as_raw_fd());
        sources.extend(self.descriptors.iter().map(AsRawFd::as_raw_fd));
        let plan = self.plan(sources, report.as_raw_fd()).map_err(|e| Error::Nul(self.program.clone(), e))?;

        let pid = child::fork(plan).map_err(lacks("process"))?;
        drop(report);
        // From here on there is a child, which must not outlive an error: nobody would know of it.
        // Nobody else reaps our children, so the pid still is this child, alive or a zombie.
        let pidfd = wait::open(pid).map_err(|e| self.discard(pid, lacks("pidfd")(e)))?;
        let mut words = [0; 5];
        let mut got = 0;
        while got < words.len() {
            match wait::readable(reports.as_fd(), deadline) {
                Ok(true) => {}
                Ok(false) => return Err(self.discard(pid, Error::Late(self.program.clone()))),
                Err(e) => return Err(self.discard(pid, lacks("report")(e))),
            }
            match reports.read(&mut words[got..]) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.discard(pid, lacks("report")(e))),
            }
        }
        let failure = Step::ALL.iter().find(|(step, _)| got == words.len() && *step as u8 == words[0]);
        match failure {
            // Executed; or killed from outside before that, which the caller sees like any other early end.
            None => Ok(Child { pid, pidfd }),
            Some((step, _)) => {
                // It has said its last word and ends by itself.
                let _ = wait::discard(pid);
                self.forget(pid);
                let cause = io::Error::from_raw_os_error(i32::from_le_bytes([words[1], words[2], words[3], words[4]]));
                Err(Error::Child { program: self.program.clone(), step: *step, cause })
            }
        }
    }

    /// Ends a child that cannot be handed over.
    fn discard(&self, pid: Pid, why: Error) -> Error {
        // What the kernel holds is reaped by init: at once in PID 1, when we are gone in machined.
        let _ = wait::discard(pid);
        self.forget(pid);
        why
    }

    fn forget(&self, pid: Pid) {
        if let Some(link) = self.register {
            let _ = link.try_send(&Request::Forget { pid }, None);
        }
    }

    fn plan(&self, sources: Vec<RawFd>, report: RawFd) -> Result<child::Plan, NulError> {
        let program = CString::new(self.program.clone().into_os_string().into_vec())?;
        let argv = if self.argv.is_empty() {
            vec![program.clone()]
        } else {
            self.argv.iter().map(|a| CString::new(a.clone().into_vec())).collect::<Result<_, _>>()?
        };
        let pair = |(name, value): &(OsString, OsString)| {
            let mut text = name.clone();
            text.push("=");
            text.push(value);
            CString::new(text.into_vec())
        };
        let env = self.env.iter().map(pair).collect::<Result<_, _>>()?;
        let directory = self.directory.clone().unwrap_or_else(|| PathBuf::from("/"));
        Ok(child::Plan {
            argv: child::Strings::new(argv),
            env: child::Strings::new(env),
            program,
            directory: CString::new(directory.into_os_string().into_vec())?,
            user: self.user.clone(),
            limits: self.limits.clone(),
            cgroup: self.cgroup.map(|fd| fd.as_raw_fd()),
            capabilities: self.capabilities,
            no_new_privs: self.no_new_privs,
            sources,
            report,
            umask: self.umask.unwrap_or(0o022),
            oom_score_adj: self.oom_score_adj.map(|score| score.to_string()),
            nice: self.nice,
            session: self.session,
            register: self.register.map(AsRawFd::as_raw_fd),
        })
    }
}
