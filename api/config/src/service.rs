//! `kind: Service`: a program that machined keeps running. Declared by files in the image, one document each.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::yaml::{self, Problem, Problems};
use crate::{Bytes, Range, Span};

/// A program that machined keeps running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// `stele/v1`.
    pub api_version: String,
    /// `Service`.
    pub kind: String,
    /// Names its cgroup, its log and its resource: at most 32 of a-z, 0-9 and `-`.
    pub name: String,
    /// Program (absolute path) and arguments.
    pub run: Vec<String>,
    /// The whole environment, beside what machined adds.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Numeric user and group; 0 is root.
    #[serde(default = "nobody")]
    pub user: u32,
    /// Sockets that outlive the service: passed as descriptors from 3 on, named in LISTEN_FDNAMES.
    #[serde(default)]
    pub listen: Vec<Listen>,
    /// Capabilities it keeps: `CAP_NET_ADMIN`. None by default.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// What it may use at most.
    #[serde(default)]
    pub limits: Limits,
    /// When it counts as ready; absent: as soon as it runs.
    #[serde(default)]
    pub ready: Ready,
    /// What happens when it ends by itself.
    #[serde(default)]
    pub restart: Restart,
    /// How it is ended.
    #[serde(default)]
    pub stop: Stop,
    /// What must be there before it starts: another service (ready), `network` (an address), `path:/dev/…` (exists).
    #[serde(default)]
    pub needs: Vec<String>,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listen {
    /// Its name in LISTEN_FDNAMES.
    pub name: String,
    /// Address and port; `[::]:port` takes IPv4 as well.
    pub tcp: std::net::SocketAddr,
}

/// What a service may use at most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
pub struct Limits {
    /// Memory of the whole cgroup; absent: what the machine has.
    pub memory: Option<Bytes>,
    /// Processes and threads.
    pub pids: u32,
    /// Open files of one process.
    pub files: u64,
    /// Share of the processor against other services, 1 to 10000.
    pub cpu_weight: u32,
}

/// When a service counts as ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Ready {
    /// It writes a byte to the descriptor named in STELE_READY_FD.
    pub notify: bool,
    /// Something accepts connections there.
    pub tcp: Option<std::net::SocketAddr>,
    /// Not ready by then counts as a failed start.
    pub within: Span,
}

/// What happens when a service ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Restart {
    /// Whether it is started again.
    pub when: When,
    /// The first and the longest pause before that; doubled each time, back to the first after a minute of being ready.
    pub backoff: Range,
}

/// Whether a service that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// However it ended.
    #[default]
    Always,
    /// Unless it ended with code zero.
    OnFailure,
    /// It ran once.
    Never,
}

/// How a service is ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Stop {
    /// Sent to its first process.
    pub signal: Signal,
    /// Then all its processes are killed.
    pub within: Span,
}

/// Signals that ask a program to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the kernel's own names")]
pub enum Signal {
    #[default]
    Term,
    Int,
    Hup,
    Quit,
    Usr1,
    Usr2,
    Kill,
}

fn nobody() -> u32 {
    65534
}

impl Default for Limits {
    fn default() -> Self {
        Self { memory: None, pids: 1024, files: 1024, cpu_weight: 100 }
    }
}

impl Default for Ready {
    fn default() -> Self {
        Self { notify: false, tcp: None, within: Span(Duration::from_secs(60)) }
    }
}

impl Default for Restart {
    fn default() -> Self {
        let backoff = Range { from: Duration::from_millis(200), to: Duration::from_secs(30) };
        Self { when: When::Always, backoff }
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: Signal::Term, within: Span(Duration::from_secs(10)) }
    }
}

/// Parses a file with one service.
pub fn parse(text: &str) -> Result<Service, Problems> {
    let mut services: Vec<Service> = yaml::parse(text)?;
    let mut problems = Vec::new();
    if services.len() != 1 {
        problems.push(problem("", "a service file holds exactly one document"));
    }
    if let Some(service) = services.last() {
        check(service, &mut problems);
    }
    match services.pop() {
        Some(service) if problems.is_empty() => Ok(service),
        _ => Err(Problems(problems)),
    }
}

fn check(service: &Service, problems: &mut Vec<Problem>) {
    let mut need = |path: &str, holds: bool, message: &str| {
        if !holds {
            problems.push(problem(path, message));
        }
    };
    need("apiVersion", service.api_version == "stele/v1", "expected stele/v1");
    need("kind", service.kind == "Service", "expected Service");
    need("name", is_name(&service.name, 32), "expected 1 to 32 of a-z, 0-9 and -, not - first");
    // machined's own log has this name.
    need("name", service.name != "machined", "machined is no service");
    let program = service.run.first().is_some_and(|p| p.starts_with('/'));
    need("run", program, "expected the program's absolute path, then its arguments");
    need("limits.cpuWeight", (1..=10_000).contains(&service.limits.cpu_weight), "expected 1 to 10000");
    need("limits.pids", service.limits.pids > 0, "expected at least 1");
    need("ready", !(service.ready.notify && service.ready.tcp.is_some()), "expected notify or tcp, not both");
    need("needs", !service.needs.contains(&service.name), "a service cannot need itself");
    for (i, listen) in service.listen.iter().enumerate() {
        need(
            &format!("listen[{i}].name"),
            is_name(&listen.name, 16),
            "expected 1 to 16 of a-z, 0-9 and -, not - first",
        );
        let twice = service.listen[..i].iter().any(|l| l.name == listen.name);
        need(&format!("listen[{i}].name"), !twice, "expected another name than those before");
    }
}

fn is_name(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

fn problem(path: &str, message: &str) -> Problem {
    Problem { document: 1, ..Problem::of(path, message) }
}
