//! What an API call may fail with, and the one place where that becomes a gRPC status.
//!
//! Invariant: every status carries a `google.rpc.ErrorInfo` (domain `stele`) with a reason that programs may compare and,
//! in its metadata, the remedy that people are shown. The reasons are listed in `errors.proto`. It is sent in headers, which
//! h2 queues without counting them: whatever a client asked for, they stay under 4 KiB.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::{access::Who, flights::Full};
use crate::{
    audit, configuration, generations, jobs, logs, meta,
    pki::node,
    stop,
    trace::{chain, cut},
};

/// The domain of our reasons.
pub const DOMAIN: &str = "stele";

/// Bytes of a message: it is sent twice, percent-encoded (three bytes for one at worst) and in the details as base64.
const MESSAGE: usize = 768;

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not in the table of methods.
    #[error("there is no method {method}")]
    UnknownMethod {
        /// Its path.
        method: String,
    },
    /// The client is not one of those who may.
    #[error("{method} needs {}", names(needs))]
    Denied {
        /// Its path.
        method: String,
        /// Any of these.
        needs: &'static [Who],
    },
    /// A request that did not come through `serve`: cannot happen.
    #[error("the request's origin is not known")]
    NoPeer,
    /// Calls under way.
    #[error("too many calls are under way: {0}")]
    Busy(#[from] Full),
    /// A call that answers once took too long.
    #[error("no answer within {} s", .0.as_secs())]
    Slow(Duration),
    /// No such resource type.
    #[error("there is no resource type {asked:?}{}", did_you_mean(near))]
    UnknownType {
        /// What was asked for.
        asked: String,
        /// Names like it.
        near: Vec<String>,
    },
    /// No such resource.
    #[error("there is no {type_name} {id:?}; there {}", known_ids(known, *more))]
    UnknownResource {
        /// The type's singular name.
        type_name: &'static str,
        /// What was asked for.
        id: String,
        /// Some that there are.
        known: Vec<String>,
        /// How many more there are.
        more: usize,
    },
    /// A field of the request.
    #[error("{field}: {why}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The machine is on its way to something else.
    #[error("the machine is already stopping: {} ({})", request.cause, request.action.verb())]
    Stopping {
        /// What counts.
        request: std::sync::Arc<stop::Request>,
    },
    /// machined is about to end, and cannot promise anything.
    #[error("machined is ending, and is started again at once")]
    Ending,
    /// The stop is meant for a boot that is over.
    #[error("the boot that was to be ended is over; this is boot {running}")]
    OtherBoot {
        /// The boot id.
        running: String,
    },
    /// The configuration.
    #[error(transparent)]
    Config(#[from] configuration::Error),
    /// Jobs.
    #[error(transparent)]
    Job(#[from] jobs::Error),
    /// What there is to start.
    #[error(transparent)]
    Generation(#[from] generations::Error),
    /// The machine has no configuration.
    #[error("this machine is not configured: there is nothing to reset")]
    NothingToReset,
    /// Something else is under way.
    #[error("job {id} ({kind}) is under way: {step}")]
    ResetUnderJob {
        /// Its number.
        id: String,
        /// `upgrade`, `install`.
        kind: String,
        /// What it does now.
        step: String,
    },
    /// The machine may not be what it is by itself.
    #[error("generation {0} is on trial: a reset would cost it starts, and its gates their configuration")]
    ResetUnderTrial(u32),
    /// There is nowhere to write a reset down.
    #[error("a reset cannot be written down: {0}")]
    NoMeta(String),
    /// It is not known yet.
    #[error("the system disk is looked for")]
    MetaLater,
    /// META.
    #[error(transparent)]
    Meta(meta::Error),
    /// A call that this version knows and cannot do.
    #[error("this version of Stele has no {0}")]
    Unsupported(&'static str),
    /// This machine signs for nobody.
    #[error("this machine has no Authority: it signs no certificates")]
    NoAuthority,
    /// It should, and cannot.
    #[error("this machine's Authority cannot sign: {0}")]
    BadAuthority(String),
    /// A certificate that is not renewed.
    #[error("{0}")]
    NotRenewed(&'static str),
    /// A request that is not signed as it is.
    #[error("the request is not signed")]
    Unsigned(#[from] api::pki::Error),
    /// The log of calls.
    #[error(transparent)]
    Audit(#[from] audit::Error),
    /// The node's own certificate.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// A type that is read on demand.
    #[error(transparent)]
    SlowRead(#[from] reconcile::Slow),
    /// A log.
    #[error(transparent)]
    Log(#[from] logs::Error),
}

impl Error {
    /// Code, reason and remedy: the whole mapping.
    fn meaning(&self) -> (Code, &'static str, &'static str) {
        match self {
            Self::UnknownMethod { .. } => {
                (Code::Unimplemented, "UNKNOWN_METHOD", "compare the versions of client and node: apictl version")
            }
            Self::Denied { .. } => {
                (Code::PermissionDenied, "ROLE_MISSING", "use a client certificate with one of these Organizations")
            }
            Self::NoPeer => (Code::Unauthenticated, "NO_PEER", "connect through the gateway"),
            Self::Busy(_) => (Code::ResourceExhausted, "TOO_MANY_CALLS", "end some of the calls, or try again later"),
            Self::Slow(_) => {
                (Code::DeadlineExceeded, "SLOW", "try again; see machined's own log: apictl logs machined")
            }
            Self::UnknownType { .. } => (Code::NotFound, "UNKNOWN_TYPE", "list the types: apictl get"),
            Self::UnknownResource { .. } => (Code::NotFound, "UNKNOWN_RESOURCE", "list what there is: apictl get TYPE"),
            Self::Invalid { .. } => {
                (Code::InvalidArgument, "INVALID_ARGUMENT", "correct the named field of the request")
            }
            Self::Stopping { .. } => (Code::FailedPrecondition, "STOPPING", "wait until the machine is back"),
            Self::Ending => (Code::Unavailable, "ENDING", "try again in a second"),
            Self::OtherBoot { .. } => (
                Code::FailedPrecondition,
                "OTHER_BOOT",
                "the machine has started anew; ask again if it is still wanted",
            ),
            Self::Config(error) => config(error),
            Self::Job(error) => job(error),
            Self::Generation(error) => generation(error),
            Self::NothingToReset => (
                Code::FailedPrecondition,
                "UNCONFIGURED",
                "configure it (apictl apply-config -f FILE --secrets FILE), or install anew: apictl install --wipe",
            ),
            Self::ResetUnderJob { .. } => (
                Code::FailedPrecondition,
                "JOB_RUNNING",
                "wait for it (apictl jobs -w), cancel it (apictl jobs cancel ID), or give --force",
            ),
            Self::ResetUnderTrial(_) => (
                Code::FailedPrecondition,
                "GENERATION_ON_TRIAL",
                "wait until it is proven (apictl get generations -w), go back first (apictl rollback), or give --force",
            ),
            Self::NoMeta(_) => {
                (Code::FailedPrecondition, "NO_META", "boot from the disk that is to be reset; apictl get system-disk")
            }
            Self::MetaLater => (Code::Unavailable, "CONFIG_UNKNOWN", "try again in some seconds"),
            Self::Meta(_) => (Code::Internal, "META_FAILS", "apictl get conditions; the system disk may be failing"),
            Self::Unsupported(_) => unsupported(),
            Self::NoAuthority => (
                Code::FailedPrecondition,
                "NO_AUTHORITY",
                "ask a machine that has the document Authority, or sign with the secrets bundle: apictl cert new \
                 --secrets FILE",
            ),
            Self::BadAuthority(_) => {
                (Code::FailedPrecondition, "BAD_AUTHORITY", "correct the document Authority and its secret")
            }
            Self::NotRenewed(_) => (
                Code::PermissionDenied,
                "NOT_RENEWED",
                "sign a new one with the secrets bundle: apictl cert new --secrets FILE",
            ),
            Self::Unsigned(_) => {
                (Code::InvalidArgument, "BAD_REQUEST", "make a new request for an ECDSA P-256 key: apictl cert renew")
            }
            Self::Node(node::Error::State { .. } | node::Error::Damaged { .. }) => {
                (Code::FailedPrecondition, "NO_STATE", "apictl get volumes; apictl get system-disk")
            }
            Self::Node(_) => (Code::InvalidArgument, "BAD_CERTIFICATE", "sign the node's present request: apictl does"),
            Self::Audit(audit::Error::NoState) => {
                (Code::FailedPrecondition, "NO_STATE", "apictl get volumes; apictl get system-disk")
            }
            Self::Audit(_) => (Code::Unavailable, "NO_AUDIT", "ask again; apictl get volumes; apictl get system-disk"),
            Self::SlowRead(_) => {
                (Code::DeadlineExceeded, "SLOW_READ", "find what hangs in the kernel's log: apictl dmesg")
            }
            Self::Log(logs::Error::Unknown { .. }) => {
                (Code::NotFound, "UNKNOWN_LOG", "list the services: apictl services")
            }
            Self::Log(logs::Error::Cursor(_)) => (Code::InvalidArgument, "BAD_CURSOR", "start again without a cursor"),
            Self::Log(_) => (Code::Internal, "LOG_UNREADABLE", "see machined's own log: apictl logs machined"),
        }
    }
}

fn unsupported() -> (Code, &'static str, &'static str) {
    (Code::Unimplemented, "UNSUPPORTED", "use a release that has it: apictl version")
}

/// The part of jobs.
fn job(error: &jobs::Error) -> (Code, &'static str, &'static str) {
    use jobs::Error as E;
    match error {
        E::Looking(_) => (Code::Unavailable, "JOBS_UNKNOWN", "try again in some seconds"),
        E::Busy { .. } => (
            Code::FailedPrecondition,
            "JOB_RUNNING",
            "wait for it (apictl jobs -w), or cancel it: apictl jobs cancel ID",
        ),
        E::Unsupported(_) => unsupported(),
        E::TooLong(_) => (Code::InvalidArgument, "INVALID_ARGUMENT", "shorten the named field of the request"),
        E::Unknown(_) => (Code::NotFound, "UNKNOWN_JOB", "list them: apictl jobs"),
        E::Over(_) => (Code::FailedPrecondition, "JOB_OVER", "see what came of it: apictl jobs"),
        E::Committed { .. } => (Code::FailedPrecondition, "JOB_COMMITTED", "wait for it: apictl jobs -w"),
        E::Stopping => (Code::FailedPrecondition, "STOPPING", "wait until the machine is back"),
        E::Meta(_) => (Code::Internal, "META_FAILS", "apictl get conditions; the system disk may be failing"),
        E::Ending => (Code::Unavailable, "ENDING", "try again in a second"),
    }
}

/// The part of generations.
fn generation(error: &generations::Error) -> (Code, &'static str, &'static str) {
    use ::boot::change::Refusal as R;
    use generations::Error as E;
    match error {
        E::Unknown => (Code::Unavailable, "GENERATIONS_UNKNOWN", "try again in some seconds"),
        E::Foreign(_) | E::NoState => (
            Code::FailedPrecondition,
            "NO_GENERATIONS",
            "start the machine from its own disk; apictl get boot-record says how it was started",
        ),
        E::Refused(R::Unknown(_)) => (Code::NotFound, "UNKNOWN_GENERATION", "list them: apictl generations"),
        E::Runs(_) => (Code::FailedPrecondition, "GENERATION_RUNS", "list them: apictl generations"),
        E::Refused(_) | E::NoOther | E::Moved(_) => {
            (Code::FailedPrecondition, "GENERATION_UNPROVEN", "list them: apictl generations")
        }
        E::NoTrial => (Code::FailedPrecondition, "NO_TRIAL", "apictl generations"),
        E::NoRecovery => (Code::FailedPrecondition, "NO_RECOVERY", "upgrade to an image that has one"),
        E::Recovery => (Code::FailedPrecondition, "RECOVERY", "reboot first: apictl reboot"),
        E::Meta(_) => (Code::Internal, "META_FAILS", "apictl get conditions; the system disk may be failing"),
    }
}

/// The configuration's part of it.
fn config(error: &configuration::Error) -> (Code, &'static str, &'static str) {
    use configuration::Error as E;
    use configuration::revisions::Error as R;
    match error {
        E::Ending => (Code::Unavailable, "ENDING", "try again in a second"),
        E::Looking(_) => {
            (Code::Unavailable, "CONFIG_UNKNOWN", "try again in some seconds; apictl get waits says what is waited for")
        }
        E::Configured => {
            (Code::FailedPrecondition, "CONFIGURED", "use a client certificate that its configuration accepts")
        }
        E::Unconfigured => {
            (Code::FailedPrecondition, "UNCONFIGURED", "give it one: apictl apply-config -f FILE --secrets FILE")
        }
        E::Unreadable(_) => {
            (Code::FailedPrecondition, "CONFIG_UNREADABLE", "apictl get conditions says what is wrong with STATE")
        }
        E::NoMeta(_) => {
            (Code::FailedPrecondition, "NO_META", "boot from a disk with the image of Stele; apictl get system-disk")
        }
        E::State(_) => (Code::FailedPrecondition, "NO_STATE", "apictl get volumes; apictl get system-disk"),
        E::Meta(_) => (Code::Internal, "META_FAILS", "apictl get conditions; the system disk may be failing"),
        E::Certificate(_) => (Code::InvalidArgument, "BAD_CERTIFICATE", "sign the node's present request: apictl does"),
        E::Conflict { .. } => {
            (Code::Aborted, "CONFLICT", "look at what changed (apictl config diff), and make the change again")
        }
        E::Staged(_) => (
            Code::Aborted,
            "CONFLICT",
            "reboot into it and change it then, or apply whole documents (apictl apply-config), which take its place",
        ),
        E::Trial(_) => (Code::FailedPrecondition, "ON_TRIAL", "apictl config confirm, or apictl config revert"),
        E::NoTrial | E::OtherTrial { .. } => (Code::FailedPrecondition, "NO_TRIAL", "apictl config history"),
        E::NothingBefore => (Code::FailedPrecondition, "NOTHING_BEFORE", "name a revision: apictl config history"),
        E::NothingToGoBackTo => {
            (Code::FailedPrecondition, "NOTHING_BEFORE", "apply the first configuration with --mode auto")
        }
        E::Generation(_) => (
            Code::FailedPrecondition,
            "GENERATION_ON_TRIAL",
            "wait until it is proven or goes back (apictl get generations -w), or give --force",
        ),
        E::Recovery => (
            Code::FailedPrecondition,
            "RECOVERY",
            "roll back or install (apictl generations), or reboot: apictl reboot",
        ),
        E::Stopping => (Code::FailedPrecondition, "STOPPING", "wait until the machine is back"),
        E::Revisions(R::Full { .. }) => {
            (Code::ResourceExhausted, "STATE_FULL", "apictl config revert needs no space; apictl get volumes")
        }
        E::Revisions(R::Unknown(_)) => (Code::NotFound, "UNKNOWN_REVISION", "list them: apictl config history"),
        E::Revisions(R::Damaged { .. }) => {
            (Code::DataLoss, "REVISION_DAMAGED", "choose another: apictl config history")
        }
        E::Revisions(_) => (Code::Internal, "STATE_FAILS", "apictl get conditions; the system disk may be failing"),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let (code, reason, remedy) = error.meaning();
        let metadata = HashMap::from([("remedy".to_owned(), remedy.to_owned())]);
        let details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
        Self::with_error_details(code, cut(chain(&error), MESSAGE), details)
    }
}

fn names(needs: &[Who]) -> String {
    let names: Vec<_> = needs.iter().map(Who::to_string).collect();
    names.join(" or ")
}

fn did_you_mean(near: &[String]) -> String {
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

fn known_ids(known: &[String], more: usize) -> String {
    match (known, more) {
        ([], _) => "are none".into(),
        ([one], 0) => format!("is {one}"),
        (some, 0) => format!("are {}", some.join(", ")),
        (some, more) => format!("are {} and {more} more", some.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_why_and_what_to_do() {
        let error = Error::UnknownType { asked: "linsk".into(), near: vec!["links".into()] };
        let status = Status::from(error);
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), "there is no resource type \"linsk\"; did you mean links?");
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("UNKNOWN_TYPE", "stele"));
        assert!(info.metadata["remedy"].contains("apictl get"));
    }

    #[test]
    fn commands_in_remedies_have_what_they_require() {
        for error in [Error::NoAuthority, Error::Config(configuration::Error::Unconfigured)] {
            let info = Status::from(error).get_details_error_info().unwrap();
            assert!(info.metadata["remedy"].contains(" --secrets FILE"), "{:?}", info.metadata);
        }
    }

    fn header_bytes(error: Error) -> usize {
        let response = Status::from(error).into_http::<()>();
        response.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
    }

    #[test]
    fn whatever_was_asked_for_the_headers_stay_small() {
        let folder = tempfile::tempdir().unwrap();
        let logs = logs::Logs::new(folder.path(), "11111111");
        logs.log("gateway").unwrap();
        for text in ["x", "\u{1}", "é", "\u{1f980}"] {
            let long = text.repeat(64 * 1024 / text.len());
            let cursor = logs::Start::Cursor(long.clone());
            let errors = [
                logs.open(&long, &logs::Start::Oldest, false).map(drop).map_err(Error::from),
                logs.open("gateway", &cursor, false).map(drop).map_err(Error::from),
                Err(Error::Invalid { field: "reason", why: long.clone() }),
            ];
            for error in errors {
                let bytes = header_bytes(error.unwrap_err());
                assert!(bytes < 4096, "{bytes} bytes of headers for {text:?}");
            }
        }
    }

    #[test]
    fn every_reason_is_in_the_contract() {
        let contract = include_str!("../../../api/proto/stele/v1/errors.proto");
        let code = include_str!("error.rs").split("#[cfg(test)]").next().unwrap();
        let reasons: Vec<_> = code.split("(Code::").skip(1).filter_map(|arm| arm.split('"').nth(1)).collect();
        assert!(reasons.len() > 10);
        for reason in reasons {
            assert!(contract.contains(&format!("//   {reason} ")), "{reason} is not in errors.proto");
        }
    }

    #[test]
    fn a_denial_says_what_is_needed() {
        let error = Error::Denied { method: "/a/B".into(), needs: &[Who::Stranger, Who::Is(api::roles::Role::Admin)] };
        assert_eq!(error.to_string(), "/a/B needs no certificate (in maintenance) or stele:admin");
    }

    #[test]
    fn known_ids_read_well() {
        let some = |n: usize| (0..n).map(|n| format!("eth{n}")).collect::<Vec<_>>();
        let cases =
            [(0, 0, "are none"), (1, 0, "is eth0"), (2, 0, "are eth0, eth1"), (2, 5, "are eth0, eth1 and 5 more")];
        for (known, more, text) in cases {
            assert_eq!(known_ids(&some(known), more), text);
        }
    }
}
