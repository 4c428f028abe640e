//! `kind: Gate`: what must hold before a new version of the system is kept.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::word;
use crate::{Check, Kind, Span};

/// What must hold: exactly one of `tcp`, `http`, `service`, `writable` and `confirm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Something listens there: host:port, which is connected to over TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// This URL is answered with a status of 200 to 299. With `https://` the certificate must be signed by an authority of
    /// `TrustedRoots`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The service of this name is healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// A file can be written in this folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writable: Option<String>,
    /// An operator says that it is well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub confirm: bool,
    /// How long after the start of the new version it must hold at the latest; else the machine goes back.
    #[serde(default = "deadline")]
    pub deadline: Span,
    /// How often it is tried.
    #[serde(default = "interval")]
    pub interval: Span,
}

/// Long enough for a service that pulls its image first.
fn deadline() -> Span {
    Span(Duration::from_secs(300))
}

fn interval() -> Span {
    Span(Duration::from_secs(5))
}

impl Default for Gate {
    fn default() -> Self {
        let (deadline, interval) = (deadline(), interval());
        Self { tcp: None, http: None, service: None, writable: None, confirm: false, deadline, interval }
    }
}

/// One of the things a gate may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Connect to host:port.
    Tcp(&'a str),
    /// Get this URL.
    Http(&'a str),
    /// This service is healthy.
    Service(&'a str),
    /// Write into this folder.
    Writable(&'a str),
    /// Somebody says so.
    Confirm,
}

impl Gate {
    /// What it asks for; none only in a gate that no parser has checked.
    pub fn ask(&self) -> Option<Ask<'_>> {
        let tcp = self.tcp.as_deref().map(Ask::Tcp);
        let http = self.http.as_deref().map(Ask::Http);
        let service = self.service.as_deref().map(Ask::Service);
        let writable = self.writable.as_deref().map(Ask::Writable);
        tcp.or(http).or(service).or(writable).or(self.confirm.then_some(Ask::Confirm))
    }
}

impl Kind for Gate {
    const KIND: &'static str = "Gate";
    const NAMED: bool = true;
    const NAME: &'static str = "Any name of yours.";
    const DOC: &'static str = "What must hold before a new version of the system is kept. A machine that was upgraded goes back \
                               by itself to the version before as soon as one of its gates is past its deadline.";
    const EXAMPLES: &'static [&'static str] = &[
        "apiVersion: stele/v1
kind: Gate
name: web
http: http://127.0.0.1:8080/healthz
deadline: 2m
interval: 2s
",
        "apiVersion: stele/v1
kind: Gate
name: database
tcp: db.example.com:5432
",
        "apiVersion: stele/v1
kind: Gate
name: somebody-looked
confirm: true
deadline: 1h
",
        "apiVersion: stele/v1
kind: Gate
name: disk
writable: /var
",
        "apiVersion: stele/v1
kind: Gate
name: gateway
service: gateway
",
    ];

    fn check(&self, name: Option<&str>, found: &mut Check<'_>) {
        found.need("name", name.is_none_or(word::is_name), word::NAME);
        let given = [
            ("tcp", self.tcp.is_some()),
            ("http", self.http.is_some()),
            ("service", self.service.is_some()),
            ("writable", self.writable.is_some()),
            ("confirm", self.confirm),
        ];
        let given: Vec<_> = given.iter().filter(|(_, given)| *given).map(|(field, _)| *field).collect();
        match given[..] {
            [_] => {}
            [] => found.problem("", "expected one of tcp, http, service, writable and confirm: true"),
            [_, second, ..] => {
                let message = format!(
                    "expected one of tcp, http, service, writable and confirm, here are {}: make a gate of each",
                    given.join(" and ")
                );
                found.problem(second, message);
            }
        }
        if let Some(tcp) = &self.tcp {
            found.need("tcp", word::is_endpoint(tcp), "expected host:port, such as 127.0.0.1:5432");
        }
        if let Some(url) = &self.http {
            let message = "expected a URL such as http://127.0.0.1:8080/healthz";
            found.need("http", is_url(url), message);
        }
        if let Some(service) = &self.service {
            found.need("service", word::is_name(service), "expected the name of a service, as in apictl services");
        }
        if let Some(path) = &self.writable {
            let right =
                path.starts_with('/') && !path.contains(char::is_control) && !path.split('/').any(|part| part == "..");
            found.need("writable", right, "expected the full path of a folder, such as /var");
        }
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        found.need("deadline", (least..=most).contains(&self.deadline.0), "expected 1s to 24h");
        let interval = (Duration::from_millis(100)..=Duration::from_secs(3600)).contains(&self.interval.0);
        found.need("interval", interval, "expected 100ms to 1h");
        found.need(
            "interval",
            self.interval.0 <= self.deadline.0,
            "expected less than deadline: it would be tried once only",
        );
    }
}

/// `http://host[:port]/path`, or https, without user and password.
fn is_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or(text.strip_prefix("https://")) else { return false };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    word::is_authority(host) && text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains('#')
}
