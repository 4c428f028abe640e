//! The records of a node as a stream that goes on over broken connections, and as they are shown.

use std::collections::VecDeque;

use api::{
    audit::Record,
    facts::moment,
    follow::Subject,
    v1::{EntriesRequest, EntriesResponse, audit_client::AuditClient},
};
use serde_json::{Value, json};
use tonic::{Code, Status, Streaming, transport::Channel};

/// Records from one on; it knows where it stopped.
#[derive(Clone, Debug)]
pub(super) struct Entries {
    pub(super) from: u64,
    pub(super) follow: bool,
}

impl Subject for Entries {
    type Message = EntriesResponse;
    type Item = EntriesResponse;

    async fn open(&mut self, channel: Channel) -> Result<Streaming<EntriesResponse>, Status> {
        let request = EntriesRequest { from: self.from, follow: self.follow };
        Ok(AuditClient::new(channel).entries(request).await?.into_inner())
    }

    fn is_endless(&self) -> bool {
        self.follow
    }

    fn take(&mut self, message: EntriesResponse, out: &mut VecDeque<EntriesResponse>) {
        self.from = message.sequence + 1;
        out.push_back(message);
    }
}

/// A record, or what is wrong with its bytes.
pub(crate) enum Shown {
    Record(Box<Record>),
    Unreadable(u64, String),
}

impl Shown {
    pub(crate) fn of(entry: &EntriesResponse) -> Self {
        match Record::parse(&entry.record) {
            Ok((record, _)) => Self::Record(Box::new(record)),
            Err(why) => Self::Unreadable(entry.sequence, why.to_string()),
        }
    }

    /// Under HEADERS.
    pub(super) fn cells(&self) -> Vec<String> {
        let record = match self {
            Self::Record(record) => record,
            Self::Unreadable(sequence, why) => return vec![sequence.to_string(), "unreadable".into(), why.clone()],
        };
        let who = if record.subject.is_empty() { "a stranger" } else { &record.subject };
        let role = if record.rescue { format!("{} RESCUE", record.role) } else { record.role.clone() };
        vec![
            record.sequence.to_string(),
            time(record),
            who.to_owned(),
            role,
            record.address.clone(),
            record.method.clone(),
            outcome(record),
            record.calls.to_string(),
            hex(&record.fingerprint),
            hex(&record.digest),
        ]
    }

    /// As JSON.
    pub(crate) fn document(&self, node: Option<&str>) -> Value {
        let mut value = match self {
            Self::Unreadable(sequence, why) => json!({ "sequence": sequence, "unreadable": why }),
            Self::Record(record) => json!({
                "sequence": record.sequence, "timeUnixMs": record.time_unix_ms, "subject": record.subject,
                "role": record.role, "address": record.address, "method": record.method, "outcome": outcome(record),
                "code": record.code, "calls": record.calls, "rescue": record.rescue, "change": record.change,
                "fingerprint": hex(&record.fingerprint), "requestDigest": hex(&record.digest),
                "requestBytes": record.request_bytes,
            }),
        };
        if let Some(node) = node {
            value["node"] = json!(node);
        }
        value
    }

    /// Whether it is about a change; what cannot be read may be.
    pub(super) fn is_change(&self) -> bool {
        match self {
            Self::Record(record) => record.change,
            Self::Unreadable(..) => true,
        }
    }
}

/// The columns; the last two are wide.
pub(super) const HEADERS: [&str; 10] =
    ["NUMBER", "TIME", "WHO", "ROLE", "FROM", "METHOD", "OUTCOME", "CALLS", "CERTIFICATE", "REQUEST"];

fn time(record: &Record) -> String {
    i64::try_from(record.time_unix_ms / 1000).map_or_else(|_| "-".into(), moment)
}

fn outcome(record: &Record) -> String {
    match record.code {
        0 => "ok".into(),
        code => i32::try_from(code).map_or_else(|_| code.to_string(), |code| format!("{:?}", Code::from_i32(code))),
    }
}

/// "" for zeros: there was none.
pub(super) fn hex(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| *byte == 0) {
        return String::new();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
