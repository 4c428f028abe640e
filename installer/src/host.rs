//! Programs of the build machine: the one place that starts them.

use std::ffi::OsStr;
use std::process::{Command, Output, Stdio};

/// A program that could not be started or failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not installed.
    #[error("{program} is not installed; `make setup` installs it (package {package})")]
    Missing {
        /// The program.
        program: String,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// Could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Ended with a failure.
    #[error("{program} failed ({status}):\n{stderr}")]
    Failed {
        /// The program and its arguments.
        program: String,
        /// Exit status.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
    },
}

/// A program of the build machine, to which arguments are added; `package` is named when it is missing.
#[must_use]
pub fn program(name: impl AsRef<OsStr>, package: &'static str) -> Program {
    #[expect(clippy::disallowed_methods, reason = "build machine, not a node")]
    let command = Command::new(name.as_ref());
    Program { command, package }
}

/// See [`program`].
pub struct Program {
    /// To be completed by the caller.
    pub command: Command,
    package: &'static str,
}

impl Program {
    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Runs it to its end; what it printed, or an error with what it complained about.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn run(mut self) -> Result<Output, Error> {
        let output = self.command.stdin(Stdio::null()).output().map_err(|cause| self.not_started(cause))?;
        if output.status.success() {
            return Ok(output);
        }
        let stderr = String::from_utf8_lossy(if output.stderr.is_empty() { &output.stdout } else { &output.stderr });
        Err(Error::Failed { program: self.line(), status: output.status, stderr: stderr.trim_end().into() })
    }

    /// Says why it did not start.
    #[must_use]
    pub fn not_started(&self, cause: std::io::Error) -> Error {
        let program = self.command.get_program().to_string_lossy().into_owned();
        if cause.kind() == std::io::ErrorKind::NotFound {
            return Error::Missing { program, package: self.package };
        }
        Error::Start { program, cause }
    }

    /// The command as one would type it, cut when long.
    #[must_use]
    pub fn line(&self) -> String {
        let words: Vec<_> = std::iter::once(self.command.get_program()).chain(self.command.get_args()).collect();
        let line = words.join(OsStr::new(" ")).to_string_lossy().into_owned();
        if line.len() > 300 { format!("{}…", line.chars().take(300).collect::<String>()) } else { line }
    }
}
