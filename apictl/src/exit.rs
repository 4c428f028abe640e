//! How apictl ends: the exit codes scripts rely on, and the one place where errors get theirs.
//!
//! Invariant: a code never changes its meaning. They are listed in `--help` and in docs/apictl.md.

use std::{io, process::ExitCode};

use api::error::{Connect, Explained, connect_cause, is_broken};
use tonic::{Code as Grpc, Status};

use crate::text;

/// Shown below the main help.
pub(crate) const HELP: &str = "\
Exit codes:
  0    done
  1    failed otherwise
  2    wrong use: arguments, settings, no endpoint or fingerprint given, wrong documents
  3    node not reachable
  4    the node refused: not let in, not permitted, not in its present state, changed meanwhile, an image
       that a check refused
  5    not found: no such type, id, service, context, revision, job or kind
  6    out of time: --timeout, or what the command allows without it
  7    the node answers and is not healthy (`health`), has not proven what is in effect, came back from a
       version that was not proven, or came back as something else than was asked for
  8    another node: its certificate is not the pinned one, or not signed by the context's authority
  130  interrupted (Ctrl-C)

With several nodes it is the code of the first one that failed, in the order given.";

/// Exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
    Refused = 4,
    NotFound = 5,
    Deadline = 6,
    Unhealthy = 7,
    OtherNode = 8,
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    /// Which node, where it is about one.
    pub(crate) node: Option<String>,
    pub(crate) message: String,
    /// What to do, or "".
    pub(crate) remedy: String,
    /// The reader of the output went away (`| head`): not worth a word.
    pub(crate) quiet: bool,
    /// It was shown already, when it happened: only its code is left to give.
    pub(crate) said: bool,
    /// What went wrong with further nodes.
    pub(crate) others: Vec<Failure>,
}

/// What commands return.
pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (message, remedy) = (message.into(), remedy.into());
        Self { code, node: None, message, remedy, quiet: false, said: false, others: Vec::new() }
    }

    pub(crate) fn usage(message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Code::Usage, message, remedy)
    }

    /// Says which node it is about.
    pub(crate) fn at(mut self, node: &str) -> Self {
        self.node.get_or_insert_with(|| node.to_owned());
        self
    }

    /// One failure out of several; `Ok` when there are none.
    pub(crate) fn all(failures: Vec<Self>) -> Result {
        let mut failures = failures.into_iter();
        match failures.next() {
            None => Ok(()),
            Some(mut first) => {
                first.others = failures.collect();
                Err(first)
            }
        }
    }
}

impl From<Connect> for Failure {
    fn from(error: Connect) -> Self {
        Self::new(unconnected(&error), error.to_string(), error.remedy())
    }
}

fn unconnected(error: &Connect) -> Code {
    match error {
        Connect::Fingerprint { .. } | Connect::Untrusted { .. } => Code::OtherNode,
        Connect::NotLetIn { .. } => Code::Refused,
        _ => Code::Unreachable,
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let Explained { message, remedy, .. } = Explained::from(&status);
        let code = match (connect_cause(&status), status.code()) {
            (Some(connect), _) => unconnected(connect),
            (None, Grpc::Unavailable) => Code::Unreachable,
            (None, _) if is_broken(&status) => Code::Unreachable,
            (None, Grpc::PermissionDenied | Grpc::Unauthenticated | Grpc::FailedPrecondition | Grpc::Aborted) => {
                Code::Refused
            }
            (None, Grpc::NotFound) => Code::NotFound,
            (None, Grpc::DeadlineExceeded) => Code::Deadline,
            (None, Grpc::InvalidArgument) => Code::Usage,
            (None, _) => Code::Failed,
        };
        if connect_cause(&status).is_some() {
            return Self::new(code, message, remedy);
        }
        // A node's words stay on their line: a new one could look like ours.
        Self::new(code, text::plain(&message), text::plain(&remedy))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let mut failure = Self::new(Code::Failed, format!("writing the output: {error}"), "");
        failure.quiet = error.kind() == io::ErrorKind::BrokenPipe;
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_cannot_write_lines_of_its_own() {
        let failure = Failure::from(Status::not_found("no such thing\nerror: forged"));
        assert_eq!(failure.message, "no such thing\\nerror: forged");
    }
}
