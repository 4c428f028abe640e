//! What goes wrong between a client and a node, in words an operator can act on.
//!
//! Invariant: every message says what failed, where and why; `remedy` says what to do, where something can be done.

mod connect;
mod refusal;
mod untrusted;

use std::error::Error as StdError;

use tonic::{Code, Status};
use tonic_types::StatusExt;

pub use self::{connect::Connect, refusal::Refusal, untrusted::Untrusted};

/// The connection error behind a failed call, when there is one.
pub fn connect_cause(status: &Status) -> Option<&Connect> {
    let mut next: Option<&(dyn StdError + 'static)> = status.source();
    while let Some(error) = next {
        if let Some(connect) = error.downcast_ref::<Connect>() {
            return Some(connect);
        }
        next = error.source();
    }
    None
}

/// Whether the connection broke under the call: only what is made on this side has a cause, and only the connection
/// makes such.
pub fn is_broken(status: &Status) -> bool {
    status.source().is_some() && connect_cause(status).is_none()
}

/// A refusal or failure of a call as the node explains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The gRPC code.
    pub code: Code,
    /// One sentence.
    pub message: String,
    /// A word for programs, from ErrorInfo; "" when the node gave none.
    pub reason: String,
    /// What to do, from ErrorInfo's metadata; "" when the node gave none.
    pub remedy: String,
}

impl From<&Status> for Explained {
    fn from(status: &Status) -> Self {
        let info = status.get_details_error_info();
        let message = match connect_cause(status) {
            Some(connect) => connect.to_string(),
            // What h2 and hyper say of it means nothing to an operator.
            None if is_broken(status) => "the connection broke".to_owned(),
            None if status.message().is_empty() => status.code().description().to_owned(),
            None => status.message().to_owned(),
        };
        let remedy = info.as_ref().and_then(|info| info.metadata.get("remedy")).cloned();
        let remedy = remedy.or_else(|| connect_cause(status).map(|connect| connect.remedy().into_owned()));
        Self {
            code: status.code(),
            message,
            reason: info.map(|info| info.reason).unwrap_or_default(),
            remedy: remedy.unwrap_or_default(),
        }
    }
}

/// Whether the same call may succeed later without anybody doing something: the connection broke, or the node restarts.
pub fn is_transient(status: &Status) -> bool {
    if let Some(connect) = connect_cause(status) {
        return connect.is_transient();
    }
    match status.code() {
        // What hyper makes of a broken connection: Unknown or Internal ("h2 protocol error"), Cancelled, Unavailable.
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled | Code::Aborted => true,
        Code::ResourceExhausted | Code::DeadlineExceeded => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tonic_types::ErrorDetails;

    use super::*;
    use crate::endpoint::Endpoint;

    #[test]
    fn reason_and_remedy_come_from_error_info() {
        let details =
            ErrorDetails::with_error_info("UNKNOWN_TYPE", "stele", [("remedy".into(), "ask for links".into())]);
        let status = Status::with_error_details(Code::NotFound, "no type \"lnik\"", details);
        assert_eq!(
            Explained::from(&status),
            Explained {
                code: Code::NotFound,
                message: "no type \"lnik\"".into(),
                reason: "UNKNOWN_TYPE".into(),
                remedy: "ask for links".into()
            }
        );
    }

    #[test]
    fn a_connection_error_is_found_behind_a_status() {
        let endpoint: Endpoint = "a:1".parse().unwrap();
        let status = Status::from_error(Box::new(Connect::Refused { endpoint }));
        assert!(connect_cause(&status).is_some() && is_transient(&status));
        assert!(Explained::from(&status).message.contains("refused"));
        assert!(!is_broken(&status));
    }

    #[test]
    fn a_broken_connection_is_told_in_words() {
        let status = Status::from_error(Box::new(io::Error::other("h2 protocol error")));
        assert!(is_broken(&status) && is_transient(&status));
        assert_eq!(Explained::from(&status).message, "the connection broke");
        assert!(!is_broken(&Status::internal("from the node")));
    }

    fuzz::targets! {
        // What a node, or who says it is one, puts beside an error.
        error_details: |bytes| {
            let status = Status::with_details(Code::NotFound, String::from_utf8_lossy(bytes), bytes.to_vec().into());
            assert!(!Explained::from(&status).message.is_empty());
        },
    }
}
