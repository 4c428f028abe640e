//! The real `apictl`, run as an operator would run it, against one machine.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{
    artifacts, child,
    vm::{BOOT, Vm},
    wait,
};

/// How long one call may take on a machine that is busy with other things.
const CALL: Duration = Duration::from_secs(120);

/// `apictl` with an endpoint and a pinned fingerprint; its settings are a folder of its own.
pub struct Apictl {
    /// Empty: as the current context says.
    endpoint: String,
    /// Empty: whatever answers is trusted.
    fingerprint: String,
    config: PathBuf,
}

impl Apictl {
    /// Waits for the machine's fingerprint on its console and pins it.
    pub fn of(vm: &Vm) -> Result<Self> {
        let line = vm.wait_line("stele: fingerprint ", BOOT)?;
        let fingerprint = line.split_whitespace().next_back().unwrap_or_default().to_owned();
        Ok(Self { endpoint: vm.api.to_string(), fingerprint, config: vm.folder().join("apictl") })
    }

    /// Trusts whatever answers, for a machine whose console nobody sees.
    pub fn insecure(vm: &Vm) -> Self {
        Self { endpoint: vm.api.to_string(), fingerprint: String::new(), config: vm.folder().join("apictl") }
    }

    /// Of a workstation whose settings are in this folder: the current context says which node it is.
    pub fn of_workstation(folder: &Path) -> Self {
        Self { endpoint: String::new(), fingerprint: String::new(), config: folder.join("apictl") }
    }

    /// The pinned fingerprint.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// From now on the current context says which node it is and who asks.
    pub fn use_context(&mut self) {
        self.endpoint.clear();
    }

    /// Pins another fingerprint.
    pub fn pin(&mut self, fingerprint: &str) {
        fingerprint.clone_into(&mut self.fingerprint);
    }

    /// A command ready to be started with [`child::spawn`]; its output is inherited unless changed.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = child::bound(artifacts::apictl());
        command.env("XDG_CONFIG_HOME", &self.config).env("NO_COLOR", "1").args(arguments).stdin(Stdio::null());
        if !self.endpoint.is_empty() {
            command.args(["--endpoint", &self.endpoint]);
            match self.fingerprint.as_str() {
                "" => command.arg("--insecure"),
                fingerprint => command.args(["--fingerprint", fingerprint]),
            };
        }
        command
    }

    /// Runs a call, whatever its exit code.
    pub fn run(&self, arguments: &[&str]) -> Result<Output> {
        self.run_within(CALL, arguments)
    }

    /// The same with one that may take this long.
    pub fn run_within(&self, limit: Duration, arguments: &[&str]) -> Result<Output> {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child::spawn(command).context("starting apictl; run `make build`")?;
        output_within(child, &format!("apictl {}", arguments.join(" ")), limit)
    }

    /// Runs a call that must succeed, and returns what it printed.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        let output = self.run(arguments)?;
        ensure!(
            output.status.success(),
            "apictl {}: {}\n{}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs a call with `--output json` that must succeed, and returns the parsed value.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ok(&[arguments, &["--output", "json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("apictl {} printed no JSON: {text}", arguments.join(" ")))
    }

    /// Starts a call that goes on until it is dropped, such as a followed log; what it prints is collected.
    pub fn follow(&self, arguments: &[&str]) -> Result<Following> {
        let out = tempfile::NamedTempFile::new()?;
        let err = tempfile::NamedTempFile::new()?;
        let mut command = self.command(arguments);
        command.stdout(out.reopen()?).stderr(err.reopen()?);
        let child = child::spawn(command).context("starting apictl; run `make build`")?;
        Ok(Following { child, out, err })
    }

    /// All resources of a type.
    pub fn list(&self, kind: &str) -> Result<Vec<Value>> {
        match self.json(&["get", kind])? {
            Value::Array(all) => Ok(all),
            other => bail!("apictl get {kind} -o json printed no list: {other}"),
        }
    }

    /// One resource.
    pub fn get(&self, kind: &str, id: &str) -> Result<Value> {
        self.json(&["get", kind, id])
    }

    /// Waits until a resource is as `wanted` says; a call that fails meanwhile is tried again.
    pub fn wait_for(&self, kind: &str, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let mut last = String::from("no answer");
        let found = wait::until(what, BOOT, || match self.get(kind, id) {
            Ok(object) if wanted(&object) => Some(object),
            Ok(object) => {
                last = object.to_string();
                None
            }
            Err(error) => {
                last = format!("{error:#}");
                None
            }
        });
        found.with_context(|| format!("last seen: {last}"))
    }

    /// Waits until the machine answers and has nothing left to do on the way to maintenance.
    pub fn wait_maintenance(&self) -> Result<()> {
        self.wait_for("machine", "machine", "the machine to be in maintenance", |machine| {
            machine["value"]["phase"] == "maintenance"
        })
        .map(drop)
    }
}

/// A call that goes on; it ends with this value.
pub struct Following {
    child: Child,
    out: tempfile::NamedTempFile,
    err: tempfile::NamedTempFile,
}

impl Following {
    /// The complete lines it printed so far.
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8_lossy(&std::fs::read(&self.out).unwrap_or_default()).into_owned();
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect()
    }

    /// What it said besides.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.err).unwrap_or_default()).into_owned()
    }

    /// Waits until it printed a line that is `wanted`, and returns it.
    pub fn wait_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let found = wait::until(what, BOOT, || {
            let line = self.lines().into_iter().find(|line| wanted(line)).map(Some);
            line.or_else(|| matches!(self.child.try_wait(), Ok(Some(_))).then_some(None))
        });
        match found {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!("apictl ended before {what}: {}", self.said()),
            Err(timed_out) => bail!("{timed_out}; apictl said: {}", self.said()),
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a child with both pipes read to their ends; kills it at the deadline.
fn output_within(mut child: Child, what: &str, limit: Duration) -> Result<Output> {
    // Its output is small: read it in threads so that a full pipe never blocks the child.
    let mut stdout = child.stdout.take().context("no stdout")?;
    let mut stderr = child.stderr.take().context("no stderr")?;
    let out = std::thread::spawn(move || read_all(&mut stdout));
    let err = std::thread::spawn(move || read_all(&mut stderr));
    let status = match wait::until(what, limit, || child.try_wait().transpose()) {
        Ok(status) => status?,
        Err(timed_out) => {
            child.kill()?;
            child.wait()?;
            let said = err.join().unwrap_or_default();
            bail!("{timed_out}: {}", String::from_utf8_lossy(&said));
        }
    };
    Ok(Output { status, stdout: out.join().unwrap_or_default(), stderr: err.join().unwrap_or_default() })
}

fn read_all(from: &mut impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A broken pipe ends the output like its end does.
    let _ = from.read_to_end(&mut bytes);
    bytes
}
