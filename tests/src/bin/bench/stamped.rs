//! A call of apictl whose lines are stamped as they come: what `apictl::Following` looks at ten times a second is too coarse
//! for a figure.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tests::{apictl::Apictl, child, vm::BOOT};

/// A call that was started. It ends with this value.
pub(crate) struct Stamped {
    what: String,
    child: Child,
    said: tempfile::NamedTempFile,
    /// Closed at the end of its output.
    lines: Receiver<(Instant, Option<String>)>,
}

impl Stamped {
    /// Starts the call, with its answers as JSON.
    pub(crate) fn start(apictl: &Apictl, arguments: &[&str]) -> Result<Self> {
        let said = tempfile::NamedTempFile::new()?;
        let mut command = apictl.command(arguments);
        command.args(["--output", "json"]).stdout(Stdio::piped()).stderr(said.reopen()?);
        let mut child = child::spawn(command).context("starting apictl; run `make build`")?;
        let output = child.stdout.take().context("no stdout")?;
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Who asked may have what it wanted already.
                let _ = sender.send((Instant::now(), Some(line)));
            }
            let _ = sender.send((Instant::now(), None));
        });
        Ok(Self { what: arguments.join(" "), child, said, lines })
    }

    /// Its answer, once it has ended well, and when that was.
    pub(crate) fn answer(mut self) -> Result<(Instant, Value)> {
        let mut text = String::new();
        let ended = loop {
            match self.next("its end")? {
                (at, None) => break at,
                (_, Some(line)) => text.push_str(&line),
            }
        };
        let status = self.child.wait()?;
        if !status.success() {
            bail!("apictl {}: {status}: {}", self.what, self.said());
        }
        Ok((ended, serde_json::from_str(&text).with_context(|| format!("apictl {}: {text}", self.what))?))
    }

    /// When a watch first showed an object as `wanted`.
    pub(crate) fn shows(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Instant> {
        self.sees(what, wanted).map(|(at, _)| at)
    }

    /// The same, and the object.
    pub(crate) fn sees(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<(Instant, Value)> {
        loop {
            let (at, line) = self.next(what)?;
            let Some(line) = line else { bail!("apictl {} ended before {what}: {}", self.what, self.said()) };
            let object: Value = serde_json::from_str(&line).with_context(|| format!("no line of JSON: {line}"))?;
            if object["event"] == "put" && wanted(&object["value"]) {
                return Ok((at, object["value"].clone()));
            }
        }
    }

    fn next(&self, what: &str) -> Result<(Instant, Option<String>)> {
        self.lines
            .recv_timeout(BOOT)
            .with_context(|| format!("apictl {}: waiting for {what}: {}", self.what, self.said()))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.said.path()).unwrap_or_default()
    }
}

impl Drop for Stamped {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
