//! The host's end of the wire to the `chaos` service of the test image: what nobody can do to a product's machine.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::{vm::Vm, wait};

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(60);

/// A connection to `chaos`.
pub struct Chaos(BufReader<UnixStream>);

impl Chaos {
    /// Connects, and waits until the service is there to answer.
    pub fn of(vm: &Vm) -> Result<Self> {
        let stream = vm.chaos()?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        let mut chaos = Self(BufReader::new(stream));
        // What is sent before the service opens its port may be lost: greeted until it answers.
        let mut greetings = 0;
        wait::until("the chaos service", ANSWER, || {
            greetings += 1;
            chaos.greet(greetings).ok()
        })?;
        chaos.0.get_mut().set_read_timeout(Some(ANSWER))?;
        Ok(chaos)
    }

    /// Runs a command and returns the lines of its answer.
    pub fn call(&mut self, command: &str) -> Result<Vec<String>> {
        self.last_words(command)?;
        self.answer(command)
    }

    /// A number comes back as it is. Answers to earlier greetings, which came too late, are passed over.
    fn greet(&mut self, number: u32) -> Result<()> {
        self.last_words(&format!("pids {number}"))?;
        while self.answer("pids")? != [number.to_string()] {}
        Ok(())
    }

    fn answer(&mut self, command: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.0.read_line(&mut line).with_context(|| format!("waiting for the answer to '{command}'"))?;
            match line.trim_end() {
                _ if read == 0 => bail!("the machine ended before it answered '{command}'"),
                "ok" => return Ok(lines),
                error if error.starts_with("error: ") => bail!("{command}: {error}"),
                text => lines.push(text.to_owned()),
            }
        }
    }

    /// Sends a signal to every process of that name, and returns their pids.
    pub fn kill(&mut self, name: &str, signal: &str) -> Result<Vec<u32>> {
        pids(&self.call(&format!("kill {name} {signal}"))?)
    }

    /// The pids of the processes of that name.
    pub fn pids(&mut self, name: &str) -> Result<Vec<u32>> {
        pids(&self.call(&format!("pids {name}"))?)
    }

    /// Sends a command that the machine does not live to answer.
    pub fn last_words(&mut self, command: &str) -> Result<()> {
        Ok(self.0.get_mut().write_all(format!("{command}\n").as_bytes())?)
    }
}

fn pids(lines: &[String]) -> Result<Vec<u32>> {
    lines.iter().map(|line| line.parse().with_context(|| format!("'{line}' is no pid"))).collect()
}
