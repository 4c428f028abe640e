//! The built apictl against nodes in this process: what it prints, and how it ends.

#![allow(clippy::unwrap_used, reason = "tests")]

mod auditing;
mod certificates;
mod configured;
mod configuring;
mod connecting;
mod fake;
mod following;
mod installing;
mod printing;
mod service;
mod stopping;
mod upgrading;

use std::{path::Path, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use fake::Fake;

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);

/// An operator with settings of their own.
struct Operator {
    home: tempfile::TempDir,
}

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Operator {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> &Path {
        self.home.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_apictl"));
        for name in ["APICTL_ENDPOINT", "APICTL_FINGERPRINT", "APICTL_CONTEXT"] {
            command.env_remove(name);
        }
        command.env("XDG_CONFIG_HOME", self.home.path()).args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        end(self.command(arguments).spawn().unwrap()).await
    }

    /// With one node, pinned.
    async fn ask(&self, node: &Fake, arguments: &[&str]) -> Ended {
        self.run(&[&pinned(node).iter().map(String::as_str).collect::<Vec<_>>()[..], arguments].concat()).await
    }

    /// As `ask`, still running.
    fn start(&self, node: &Fake, arguments: &[&str]) -> Child {
        self.command(arguments).args(pinned(node)).spawn().unwrap()
    }
}

fn pinned(node: &Fake) -> Vec<String> {
    vec!["--endpoint".into(), node.address.to_string(), "--fingerprint".into(), node.fingerprint.clone()]
}

async fn end(child: Child) -> Ended {
    let output = timeout(LIMIT, child.wait_with_output()).await.expect("apictl ends").unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().unwrap()).lines()
}

async fn line(lines: &mut Lines<BufReader<ChildStdout>>) -> String {
    timeout(LIMIT, lines.next_line()).await.expect("a line").unwrap().expect("a line")
}
