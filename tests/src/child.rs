//! Programs that the harness starts. They end with it, however it ends: by Ctrl-C, SIGTERM or SIGKILL.
//!
//! The kernel kills such a child when the thread that started it is gone (prctl(2), PR_SET_PDEATHSIG). So one thread, which
//! lives as long as this program, starts them all; and `setpriv` asks the kernel for it, because between fork and exec
//! nothing of ours may run.

use std::{
    ffi::OsStr,
    io,
    process::{Child, Command},
    sync::{
        LazyLock,
        mpsc::{Sender, channel},
    },
};

type Job = (Command, Sender<io::Result<Child>>);

static STARTER: LazyLock<Sender<Job>> = LazyLock::new(|| {
    let (sender, jobs) = channel::<Job>();
    std::thread::spawn(move || {
        for (mut command, answer) in jobs {
            // Who asked waits for it.
            let _ = answer.send(command.spawn());
        }
    });
    sender
});

/// A program that may outlive this one.
#[expect(clippy::disallowed_methods, reason = "the harness starts processes on the workstation, not on a node")]
pub fn free(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// A program that is killed when this one ends; to be started with [`spawn`]. One that is not there says so on its stderr.
pub fn bound(program: impl AsRef<OsStr>) -> Command {
    let mut command = free("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

/// Starts it.
pub fn spawn(command: Command) -> io::Result<Child> {
    let (answer, started) = channel();
    STARTER.send((command, answer)).map_err(io::Error::other)?;
    started.recv().map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::Stdio,
        time::Duration,
    };

    use super::*;
    use crate::wait;

    const INNER: &str = "STELE_TEST_OF_CHILD";

    /// The other test's program: starts a child from a thread that ends, says its number, and waits to be killed.
    #[test]
    fn inner() {
        if std::env::var_os(INNER).is_none() {
            return;
        }
        let start = || {
            let mut command = bound("sleep");
            command.arg("600");
            spawn(command).unwrap().id()
        };
        let number = std::thread::spawn(start).join().unwrap();
        // Before that it is setpriv, which may not have asked the kernel yet.
        let name = || std::fs::read_to_string(format!("/proc/{number}/comm")).ok();
        let started = || (name()?.trim_end() == "sleep").then_some(());
        wait::until("the child to start", Duration::from_secs(60), started).unwrap();
        println!("child {number}");
        wait::pause(Duration::from_secs(600));
    }

    #[test]
    fn a_bound_child_ends_with_a_killed_parent() {
        let mut parent = free(std::env::current_exe().unwrap())
            .args(["--exact", "child::tests::inner", "--nocapture"])
            .env(INNER, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(parent.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.into_iter().find(|line| line.contains("child ")).unwrap();
        let number = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(runs(number));
        parent.kill().unwrap();
        parent.wait().unwrap();
        wait::until("the child to end", Duration::from_secs(30), || (!runs(number)).then_some(())).unwrap();
    }

    /// Whether it is there and no zombie.
    fn runs(number: u32) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
    }
}
