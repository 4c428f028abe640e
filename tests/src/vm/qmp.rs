//! The emulator's monitor (QMP): one JSON object a line over a unix socket.

use std::{
    cell::RefCell,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::wait;

/// How long the emulator may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A connection to the monitor.
pub struct Qmp {
    stream: RefCell<BufReader<UnixStream>>,
}

impl Qmp {
    /// Connects as soon as the socket is there; gives up at once when `ended` says that the emulator is gone.
    pub(super) fn connect(path: &Path, mut ended: impl FnMut() -> bool) -> Result<Self> {
        let stream = wait::until("the emulator's monitor", ANSWER, || match UnixStream::connect(path) {
            Ok(stream) => Some(Some(stream)),
            Err(_) if ended() => Some(None),
            Err(_) => None,
        })?
        .context("the emulator ended at once")?;
        stream.set_read_timeout(Some(ANSWER))?;
        let qmp = Self { stream: RefCell::new(BufReader::new(stream)) };
        qmp.read()?; // its greeting
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Runs a command and returns what it answers.
    pub fn execute(&self, command: &str, arguments: Value) -> Result<Value> {
        let line = json!({ "execute": command, "arguments": arguments }).to_string();
        self.stream
            .borrow_mut()
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .context("writing to the monitor")?;
        loop {
            let answer = self.read()?;
            if let Some(value) = answer.get("return") {
                return Ok(value.clone());
            }
            if let Some(error) = answer.get("error") {
                bail!("the emulator refused {command}: {error}");
            }
            // Anything else is an event.
        }
    }

    /// Runs a command of the human monitor and returns its text.
    pub fn human(&self, line: &str) -> Result<String> {
        let text = self.execute("human-monitor-command", json!({ "command-line": line }))?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Presses the power button.
    pub fn power_button(&self) -> Result<()> {
        self.execute("system_powerdown", json!({})).map(drop)
    }

    /// Presses Ctrl-Alt-Del.
    pub fn ctrl_alt_del(&self) -> Result<()> {
        self.human("sendkey ctrl-alt-delete").map(drop)
    }

    /// Presses the reset button.
    pub fn reset(&self) -> Result<()> {
        self.execute("system_reset", json!({})).map(drop)
    }

    /// Plugs a network cable in or pulls it out.
    pub fn set_link(&self, nic: &str, up: bool) -> Result<()> {
        self.execute("set_link", json!({ "name": nic, "up": up })).map(drop)
    }

    fn read(&self) -> Result<Value> {
        let mut line = String::new();
        let read = self.stream.borrow_mut().read_line(&mut line).context("reading from the monitor")?;
        if read == 0 {
            bail!("the emulator closed its monitor");
        }
        serde_json::from_str(&line).context("parsing the monitor's answer")
    }
}
