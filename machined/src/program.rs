//! Runs a program once: mkfs, fsck and the like ([`Programs::run`]), and the long ones of a job, which are spoken with
//! ([`Programs::call`]). Services are the supervisor's business (`services`).
//!
//! Invariant: a program gets what it is given here and nothing else (no environment), and never outlives its deadline, whoever
//! waits for it, or machined: each runs in the cgroup `programs` or in one of its own below `jobs`, which a new machined empties
//! before it starts one. It is not in machined's own cgroup, whose cap a check of a large file system would break. What it
//! writes is logged, and the end of it is kept for the error.

mod call;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sys::Pid;
use sys::link::{ExitStatus, Request};
use sys::process::{self, Capabilities, Gid, Spawn, Uid, User};
use tokio::io::AsyncReadExt;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout, timeout_at};

use crate::cgroup::Group;
use crate::link::Link;
use crate::{blocking, poll};

pub use call::{Call, Program};

/// Kept of what a program writes: its last words say what is wrong.
const KEPT: usize = 4096;
/// Logged of it at most.
const LOGGED: usize = 64 * 1024;
/// For a killed program to be gone: longer takes only one whose disk does not answer.
const GONE: Duration = Duration::from_secs(5);
/// When memory is short, these go first: they are run again.
const OOM_SCORE: i16 = 500;

/// Why a program came to nothing; its own failure is an [`Ended`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not started.
    #[error(transparent)]
    Start(#[from] process::Error),
    /// Pipes, the cgroup.
    #[error("cannot run {program}")]
    Run {
        /// Its path.
        program: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not the one that was meant.
    #[error("{program} is not what it was when it was checked: expected SHA-256 {expected}")]
    Other {
        /// Its path.
        program: String,
        /// What it should be.
        expected: String,
    },
    /// It says what it should not: too much, or no lines of text.
    #[error("{program} {what}, and was killed")]
    Speech {
        /// Its path.
        program: String,
        /// What it did.
        what: String,
    },
    /// It needs more memory than it is given.
    #[error("{program} needs more than {} MiB of memory, and was killed", limit >> 20)]
    Memory {
        /// Its path.
        program: String,
        /// Bytes.
        limit: u64,
    },
    /// It took too long and was killed.
    #[error("{program} did not end within {} s and was killed", within.as_secs())]
    Late {
        /// Its path.
        program: String,
        /// How long it was granted.
        within: Duration,
    },
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The kernel's word.
    pub status: ExitStatus,
    /// The end of what it wrote, at most 4 KiB.
    pub said: String,
}

impl Ended {
    /// Its exit code; none when it was killed.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self.status {
            ExitStatus::Exited(code) => Some(code),
            ExitStatus::Signaled { .. } => None,
        }
    }

    /// How it ended and its last lines, for an error.
    #[must_use]
    pub fn told(&self) -> String {
        let lines: Vec<_> = self.said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = lines[lines.len().saturating_sub(3)..].join("; ");
        if last.is_empty() {
            format!("ended with {}", self.status)
        } else {
            format!("ended with {}: {last}", self.status)
        }
    }
}

/// Runs programs; cheap to clone.
#[derive(Clone, Debug)]
pub struct Programs {
    link: Link,
    /// The cgroup; none in tests.
    group: Option<Group>,
    /// The parent of those that programs of jobs have for themselves; none in tests.
    jobs: Option<PathBuf>,
}

impl Programs {
    /// Programs in the cgroups `programs` and `jobs` under `root`; what an earlier machined left running there is killed.
    /// Without cgroups (see the log) they run in machined's place, whose cap there is none of then.
    pub fn new(link: Link, root: &Path) -> Self {
        let ensure = |name: &str| {
            let group = root.join(name);
            let made = fs::create_dir_all(&group).and_then(|()| fs::write(group.join("cgroup.kill"), "1"));
            made.inspect_err(|error| tracing::warn!("no cgroup {name}: {error}")).ok().map(|()| group)
        };
        Self { link, group: ensure("programs").map(Group), jobs: ensure("jobs") }
    }

    /// Without a cgroup.
    #[cfg(test)]
    pub fn free(link: Link) -> Self {
        Self { link, group: None, jobs: None }
    }

    /// Runs `program`, by its path, and waits for its end. Dropped meanwhile, the program is killed.
    ///
    /// # Errors
    /// It could not be run, or took too long.
    pub async fn run(&self, program: &str, arguments: &[&str], within: Duration) -> Result<Ended, Error> {
        let failed = |source| Error::Run { program: program.into(), source };
        let deadline = Instant::now() + within;
        let (read, write) = io::pipe().map_err(failed)?;
        let (read, write) = (OwnedFd::from(read), OwnedFd::from(write));
        tracing::info!("running {program} {}", arguments.join(" "));
        let name = program.rsplit('/').next().unwrap_or(program);
        let start = Start {
            program: program.into(),
            argv: [name].iter().chain(arguments).map(Into::into).collect(),
            stdin: None,
            stderr: write.try_clone().map_err(failed)?,
            stdout: write,
            group: self.group.clone(),
            image: None,
            confined: None,
        };
        let running = self.start(start).await?;
        let mut output = tokio::net::unix::pipe::Receiver::from_owned_fd(read).map_err(failed)?;
        let mut said = Said { program, bytes: Vec::new(), logged: 0 };
        let ended = async {
            said.read(&mut output).await?;
            running.ended().await
        };
        let status = match timeout_at(deadline, ended).await {
            Ok(status) => status.map_err(failed)?,
            Err(_) => {
                running.killed().await;
                return Err(Error::Late { program: program.into(), within });
            }
        };
        let ended = Ended { status, said: said.text() };
        tracing::info!("{program} {}", ended.told());
        Ok(ended)
    }

    async fn start(&self, start: Start) -> Result<Running, Error> {
        let program = start.program.display().to_string();
        let failed = |source| Error::Run { program: program.clone(), source };
        let procs = start.group.as_ref().map(Group::procs).transpose().map_err(failed)?;
        let link = self.link.clone();
        // The guard is made beside the process, so that none is left alone when the waiting side goes away.
        let started = blocking::run(move || {
            let user =
                start.confined.map(|uid| User { uid: Uid::from_raw(uid), gid: Gid::from_raw(uid), groups: Vec::new() });
            let spawn = Spawn {
                program: start.program,
                argv: start.argv,
                cgroup: procs.as_ref().map(AsFd::as_fd),
                capabilities: user.as_ref().map(|_| Capabilities::empty()),
                no_new_privs: user.is_some(),
                user,
                descriptors: start.image.iter().map(AsFd::as_fd).collect(),
                stdin: start.stdin.as_ref().map(AsFd::as_fd),
                stdout: Some(start.stdout.as_fd()),
                stderr: Some(start.stderr.as_fd()),
                oom_score_adj: Some(OOM_SCORE),
                session: true,
                register: Some(link.client()),
                ..Spawn::default()
            };
            let child = spawn.start()?;
            let group = start.group.clone();
            Ok::<_, process::Error>(Guard { pid: child.pid, pidfd: child.pidfd, link: link.clone(), group })
        });
        let guard = started.await?;
        let pidfd = guard.pidfd.try_clone().and_then(poll::readable).map_err(failed)?;
        Ok(Running { pidfd, guard })
    }
}

/// What a program is started with.
#[derive(Debug)]
struct Start {
    program: PathBuf,
    argv: Vec<OsString>,
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    group: Option<Group>,
    /// Passed on as the first descriptor after these: the program itself, where it is none of the file system's.
    image: Option<OwnedFd>,
    /// Whom it becomes, without any power.
    confined: Option<u32>,
}

/// A program that runs.
#[derive(Debug)]
struct Running {
    pidfd: AsyncFd<OwnedFd>,
    guard: Guard,
}

/// Kills the program when nobody waits for it any more.
#[derive(Debug)]
struct Guard {
    pid: Pid,
    pidfd: OwnedFd,
    link: Link,
    group: Option<Group>,
}

impl Running {
    /// Waits for its end and reaps it.
    async fn ended(&self) -> io::Result<ExitStatus> {
        loop {
            let mut readable = self.pidfd.readable().await?;
            match process::try_wait(self.pidfd.as_fd())? {
                Some(status) => return Ok(status),
                None => readable.clear_ready(),
            }
        }
    }

    /// Kills it, and waits until it is gone.
    async fn killed(&self) {
        self.guard.kill();
        // One that the kernel does not let go is reaped by init when machined ends.
        let _ = timeout(GONE, self.ended()).await;
    }
}

impl Guard {
    fn kill(&self) {
        if let Some(group) = &self.group {
            // With whatever it started.
            let _ = group.kill();
        }
        // Gone already: nothing to kill.
        let _ = process::signal(self.pidfd.as_fd(), process::Signal::KILL);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // ECHILD: it was reaped, so there is nothing left to kill, and its pid may be another's.
        if let Ok(None) = process::try_wait(self.pidfd.as_fd()) {
            self.kill();
            let _ = process::wait_for(self.pidfd.as_fd(), Duration::from_millis(200));
        }
        // init's queue is full for moments only; a status that is kept in vain costs it one entry.
        let _ = self.link.client().try_send(&Request::Forget { pid: self.pid }, None);
    }
}

/// What a program writes.
struct Said<'a> {
    program: &'a str,
    bytes: Vec<u8>,
    logged: usize,
}

impl Said<'_> {
    /// Reads to the end of the output.
    async fn read(&mut self, output: &mut tokio::net::unix::pipe::Receiver) -> io::Result<()> {
        let mut chunk = [0; 1024];
        loop {
            let read = output.read(&mut chunk).await?;
            if read == 0 {
                return Ok(());
            }
            if self.logged < LOGGED {
                let text = String::from_utf8_lossy(&chunk[..read]);
                for line in text.lines().filter(|line| !line.trim().is_empty()) {
                    tracing::info!("{}: {}", self.program, line.trim_end());
                }
                self.logged += read;
            }
            self.bytes.extend_from_slice(&chunk[..read]);
            let over = self.bytes.len().saturating_sub(KEPT);
            self.bytes.drain(..over);
        }
    }

    /// Without control characters: it goes into errors and onto consoles.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        // A progress bar goes back over itself.
        text.chars()
            .map(|c| if c == '\r' || c == '\u{8}' { '\n' } else { c })
            .filter(|c| *c == '\n' || !c.is_control())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    pub(super) fn programs() -> (Programs, tokio::task::JoinSet<()>) {
        let (link, tasks) = crate::link::tests::connect(&Arc::default(), &crate::stop::Handle::new());
        (Programs::free(link), tasks)
    }

    #[tokio::test]
    async fn says_how_it_ended_and_keeps_its_last_words() {
        let (programs, _tasks) = programs();
        let minute = Duration::from_secs(60);
        for (script, code, said) in [
            ("echo fine", Some(0), "ended with exit code 0: fine"),
            ("echo one; echo 'two' >&2; exit 4", Some(4), "one; two"),
            ("kill -9 $$", None, "signal 9"),
            ("env | grep -v -e PWD -e SHLVL -e _=; cat; exit 3", Some(3), "ended with exit code 3"),
        ] {
            let ended = programs.run("/bin/sh", &["-c", script], minute).await.unwrap();
            assert_eq!(ended.code(), code, "{script}: {ended:?}");
            assert!(ended.told().contains(said), "{script}: {}", ended.told());
        }
        let much =
            programs.run("/bin/sh", &["-c", "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"], minute);
        let much = much.await.unwrap().said;
        assert!(much.len() <= KEPT && much.ends_with("line 2999\n"), "{} bytes", much.len());
        assert!(matches!(programs.run("/nothing", &[], minute).await, Err(Error::Start(_))));
    }

    #[tokio::test]
    async fn is_killed_at_its_deadline_and_when_nobody_waits() {
        let (programs, _tasks) = programs();
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("echo $$ > {}; exec sleep 1000", mark.display());
        let late = programs.run("/bin/sh", &["-c", &script], Duration::from_millis(500)).await.unwrap_err();
        assert!(late.to_string().contains("did not end"), "{late}");
        assert!(gone(&mark).await, "it runs on");

        fs::remove_file(&mark).unwrap();
        let within = Duration::from_secs(60);
        let arguments = ["-c", script.as_str()];
        let run = programs.run("/bin/sh", &arguments, within);
        let begun = async {
            while !fs::read_to_string(&mark).is_ok_and(|pid| pid.ends_with('\n')) {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            ended = run => panic!("{ended:?}"),
            () = begun => {}
        }
        assert!(gone(&mark).await, "it runs on");
    }

    /// Whether the process whose id is in the file ends: a kill takes effect when the kernel gets to it.
    pub(super) async fn gone(mark: &Path) -> bool {
        let pid: i32 = fs::read_to_string(mark).unwrap().trim().parse().unwrap();
        let pid = Pid::from_raw(pid).unwrap();
        let ended = async {
            while process::alive(pid) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ended).await.is_ok()
    }
}
