//! A program of a job: it reads its order from standard input, and answers in lines, which are handed on as they come.
//!
//! Invariant: what it is told is never in its arguments, where everybody could read it; how much it may say, how long it may run
//! and what it may use is bounded; when its first process has ended nothing of it is left.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::Bytes;
use config::service::Limits;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Ended, Error, GONE, Programs, Said, Start};
use crate::blocking;
use crate::cgroup::Group;

/// Bytes of a line: what was pulled is the longest there is, some hundred for each part.
const LINE: u64 = 64 * 1024;
/// Lines: two in a second for half a day.
const LINES: usize = 100_000;
/// Bytes of a program that is run out of memory: the installer is a tenth of it.
const LARGEST: u64 = 64 << 20;
/// Against services: a job may take its time.
const SHARE: u32 = 50;
/// Until a cgroup that is being emptied is looked at again.
const LOOK: Duration = Duration::from_millis(20);

/// Which program.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// One of the image, by its path.
    Image(&'a str),
    /// One that was pulled. It is read once, checked, and run as it was read: who may write the file changes nothing, and the
    /// file system need not allow programs.
    Part {
        /// Where it is.
        path: &'a Path,
        /// SHA-256, 64 hexadecimal digits.
        digest: &'a str,
        /// What it is called.
        name: &'a str,
    },
}

/// A program, what it is told, and what it may use.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Which.
    pub program: Program<'a>,
    /// Arguments after its name; no secrets.
    pub arguments: &'a [&'a str],
    /// What it reads; may hold secrets.
    pub input: &'a [u8],
    /// Whom it becomes, without any capability or the way to one; none: it is root.
    pub confined: Option<u32>,
    /// Bytes of memory for all of it.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u32,
    /// After that it is killed.
    pub within: Duration,
}

/// The name of the cgroup: two errands of one program may run beside each other, one errand twice may not.
fn group_of(name: &str, arguments: &[&str]) -> String {
    arguments.first().map_or_else(|| name.to_owned(), |errand| format!("{name}-{errand}"))
}

impl Programs {
    /// Runs a program, hands on each line of its standard output, and waits for its end. What it writes to standard error is
    /// logged. Dropped meanwhile, it is killed with everything that it started. One call at a time of a program with the same first
    /// argument.
    ///
    /// # Errors
    /// It could not be run, took too long or too much memory, or said too much.
    pub async fn call(&self, call: &Call<'_>, mut each: impl FnMut(&str)) -> Result<Ended, Error> {
        let (path, name) = match call.program {
            Program::Image(path) => (PathBuf::from(path), path.rsplit('/').next().unwrap_or(path)),
            Program::Part { path, name, .. } => (path.to_owned(), name),
        };
        let shown = path.display().to_string();
        let failed = |source| Error::Run { program: shown.clone(), source };
        let deadline = Instant::now() + call.within;
        let image = match call.program {
            Program::Image(_) => None,
            Program::Part { path, digest, .. } => Some(sealed(path, digest).await?),
        };
        let group = match &self.jobs {
            Some(jobs) => Some(self.own_group(jobs.join(group_of(name, call.arguments)), call).await.map_err(failed)?),
            None => None,
        };
        let (stdin, to_stdin) = pair().map_err(failed)?;
        let (stdout, stderr) = (pair().map_err(failed)?, pair().map_err(failed)?);
        tracing::info!("running {shown} {}", call.arguments.join(" "));
        let start = Start {
            program: if image.is_some() { "/proc/self/fd/3".into() } else { path.clone() },
            argv: [name].iter().chain(call.arguments).map(Into::into).collect(),
            stdin: Some(stdin),
            stdout: stdout.1,
            stderr: stderr.1,
            group: group.clone(),
            image,
            confined: call.confined,
        };
        let running = self.start(start).await?;
        let mut to_stdin = pipe::Sender::from_owned_fd(to_stdin).map_err(failed)?;
        let stdout = pipe::Receiver::from_owned_fd(stdout.0).map_err(failed)?;
        let mut stderr = pipe::Receiver::from_owned_fd(stderr.0).map_err(failed)?;
        let mut said = Said { program: &shown, bytes: Vec::new(), logged: 0 };
        let tell = async move {
            match to_stdin.write_all(call.input).await {
                // It knows enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                told => told.map_err(failed),
            }
        };
        let end = async {
            let status = running.ended().await.map_err(failed)?;
            // What it started is no use without it, and holds the pipes.
            running.guard.kill();
            Ok(status)
        };
        let hear = lines(stdout, &shown, &mut each);
        let read = async { said.read(&mut stderr).await.map_err(failed) };
        let ended = timeout_at(deadline, async { tokio::try_join!(end, hear, read, tell) }).await;
        let over = group.as_ref().is_some_and(Group::over_memory);
        let status = match ended {
            _ if over => {
                running.killed().await;
                return Err(Error::Memory { program: shown, limit: call.memory });
            }
            Ok(Ok((status, (), (), ()))) => status,
            Ok(Err(error)) => {
                running.killed().await;
                return Err(error);
            }
            Err(_) => {
                running.killed().await;
                return Err(Error::Late { program: shown, within: call.within });
            }
        };
        let ended = Ended { status, said: said.text() };
        match group.as_ref().and_then(Group::memory_peak) {
            Some(peak) => tracing::info!("{shown} {}; its memory was {} KiB at most", ended.told(), peak >> 10),
            None => tracing::info!("{shown} {}", ended.told()),
        }
        Ok(ended)
    }

    /// Its cgroup, empty.
    async fn own_group(&self, path: PathBuf, call: &Call<'_>) -> io::Result<Group> {
        let group = Group(path);
        let limits =
            Limits { memory: Some(Bytes(call.memory)), pids: call.pids, cpu_weight: SHARE, ..Limits::default() };
        group.ensure(&limits)?;
        let until = Instant::now() + GONE;
        while !group.is_empty() {
            if Instant::now() > until {
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, "an earlier one does not end"));
            }
            sleep(LOOK).await;
        }
        // A new one counts from nothing what it was killed for.
        fs::remove_dir(&group.0)?;
        group.ensure(&limits)?;
        Ok(group)
    }
}

/// A pipe: the end to read from, and the one to write to.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    io::pipe().map(|(read, write)| (read.into(), write.into()))
}

/// Hands on each line, to the end.
async fn lines(output: pipe::Receiver, program: &str, each: &mut impl FnMut(&str)) -> Result<(), Error> {
    let speech = |what: String| Error::Speech { program: program.into(), what };
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    for _ in 0..LINES {
        line.clear();
        let read = (&mut output).take(LINE).read_until(b'\n', &mut line).await;
        if read.map_err(|source| Error::Run { program: program.into(), source })? == 0 {
            return Ok(());
        }
        match str::from_utf8(&line) {
            _ if line.len() as u64 == LINE && line.last() != Some(&b'\n') => {
                return Err(speech(format!("wrote a line of more than {LINE} bytes")));
            }
            Ok(text) => each(text.trim_end()),
            Err(_) => return Err(speech("wrote what is no text".into())),
        }
    }
    Err(speech(format!("wrote more than {LINES} lines")))
}

/// The program in memory that nobody can change, when it is the one that is meant.
async fn sealed(path: &Path, digest: &str) -> Result<OwnedFd, Error> {
    let (path, digest) = (path.to_owned(), digest.to_owned());
    blocking::run(move || {
        let program = path.display().to_string();
        let failed = |source| Error::Run { program: program.clone(), source };
        let mut file = fs::File::open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > LARGEST {
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, "no program is that large")));
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::EXEC;
        let copy = match memfd_create("program", flags) {
            // Kernels before 6.3 do not know the flag, and allow it anyway.
            Err(rustix::io::Errno::INVAL) => memfd_create("program", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING),
            made => made,
        };
        let mut copy = fs::File::from(copy.map_err(|error| failed(error.into()))?);
        io::copy(&mut io::Read::take(&mut file, LARGEST), &mut copy).map_err(failed)?;
        let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        fcntl_add_seals(&copy, seals).map_err(|error| failed(error.into()))?;
        // What was written is what counts, not what the file says now.
        let mut hash = Sha256::new();
        io::Seek::rewind(&mut copy).map_err(failed)?;
        io::copy(&mut copy, &mut hash).map_err(failed)?;
        if hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>() != digest {
            return Err(Error::Other { program, expected: digest });
        }
        Ok(copy.into())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::tests::{gone, programs};

    fn call<'a>(program: Program<'a>, arguments: &'a [&'a str], input: &'a [u8]) -> Call<'a> {
        let within = Duration::from_secs(60);
        Call { program, arguments, input, confined: None, memory: 64 << 20, pids: 16, within }
    }

    const SH: Program<'static> = Program::Image("/bin/sh");

    #[tokio::test]
    async fn it_is_told_and_its_lines_come_one_by_one() {
        let (programs, _tasks) = programs();
        let order = vec![b'x'; 1 << 20];
        let mut heard = Vec::new();
        let script = "echo begun; wc -c; echo aside >&2; printf end; exit 3";
        let ended =
            programs.call(&call(SH, &["-c", script], &order), |line| heard.push(line.to_owned())).await.unwrap();
        assert_eq!(ended.code(), Some(3));
        assert_eq!(ended.said.trim(), "aside");
        assert_eq!(heard, ["begun", "1048576", "end"]);
        // One that does not listen.
        let ended = programs.call(&call(SH, &["-c", "exit 0"], &order), |_| {}).await.unwrap();
        assert_eq!(ended.code(), Some(0));
    }

    #[tokio::test]
    async fn who_says_too_much_is_killed() {
        let (programs, _tasks) = programs();
        for (script, what) in [
            ("yes x | head -c 200000 | tr -d '\\n'; sleep 1000", "a line of more than"),
            ("yes", "more than 100000 lines"),
            ("printf '\\377\\n'; sleep 1000", "what is no text"),
        ] {
            let error = programs.call(&call(SH, &["-c", script], b""), |_| {}).await.unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }

    #[tokio::test]
    async fn it_ends_at_its_deadline_and_when_nobody_waits() {
        let (programs, _tasks) = programs();
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!("echo $$ > {}; exec sleep 1000", mark.display());
        let arguments = ["-c", script.as_str()];
        let short = Call { within: Duration::from_millis(500), ..call(SH, &arguments, b"") };
        let late = programs.call(&short, |_| {}).await.unwrap_err();
        assert!(late.to_string().contains("did not end"), "{late}");
        assert!(gone(&mark).await, "it runs on");

        let script = format!("echo $$ > {}; echo begun; exec sleep 1000", mark.display());
        let (begun, mut begins) = tokio::sync::mpsc::unbounded_channel();
        let arguments = ["-c", script.as_str()];
        let long = call(SH, &arguments, b"");
        tokio::select! {
            ended = programs.call(&long, |_| begun.send(()).unwrap()) => panic!("{ended:?}"),
            _ = begins.recv() => {}
        }
        assert!(gone(&mark).await, "it runs on");
    }

    #[tokio::test]
    async fn a_part_runs_as_it_was_checked_or_not_at_all() {
        let (programs, _tasks) = programs();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        // Not executable where it lies.
        let bytes = fs::read("/bin/echo").unwrap();
        fs::write(&path, &bytes).unwrap();
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let part = |digest| Program::Part { path: &path, digest, name: "part" };
        let mut heard = String::new();
        let ended = programs.call(&call(part(&digest), &["well"], b""), |line| heard.push_str(line)).await.unwrap();
        assert_eq!((ended.code(), heard.as_str()), (Some(0), "well"));
        let other = "0".repeat(64);
        let error = programs.call(&call(part(&other), &[], b""), |_| {}).await.unwrap_err();
        assert!(matches!(error, Error::Other { .. }), "{error}");
    }
}
