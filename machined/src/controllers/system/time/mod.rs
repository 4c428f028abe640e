//! The clock: servers that documents name are asked, or those that DHCP names; it is set once, and from then on only made to
//! run faster or slower.
//!
//! ```text
//!   no servers --+-- servers known --> asking every few seconds -- answer --> sure: asked every 1 to 17 minutes
//!                                        |  (waits at most WAIT)
//!                                        +-- then it goes on asking, less often, and says so
//! ```
//! Nothing in the boot waits for it; who needs to know whether the clock is right looks at [`Sure`].

pub(super) mod ask;
pub(super) mod keep;
mod pick;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::ask::{NoTime, Sample, Servers};
use self::pick::Change;
use crate::clock::Sure;
use crate::events::Events;
use crate::resources::resolver::TimeServer;
use crate::resources::time::{Asked, Source, Time, TimeSpec};
use crate::resources::wait::{self, For};
use crate::resources::{Condition, Wait};
use crate::{documents, uptime};

/// Between questions as long as nobody has answered; doubled each time.
const FIRST: Duration = Duration::from_secs(2);
/// The longest such pause, unless it was longer before: a server that comes back is heard within it.
const SOON: Duration = Duration::from_secs(64);
/// Between questions afterwards, doubled while the clock is good: what RFC 5905 has, and what public servers ask for.
const LEAST: Duration = Duration::from_secs(64);
const MOST: Duration = Duration::from_secs(1024);
/// A clock that is so near is asked less often.
const NEAR_US: i64 = 10_000;
/// More is not gained by running faster: that takes over a day.
const FAR_US: i64 = 60_000_000;

/// What is done to the clock of this machine.
pub(crate) trait Power: Send + 'static {
    /// Sets it.
    fn step(&mut self, offset_us: i64) -> io::Result<()>;
    /// Lets it gain.
    fn slew(&mut self, offset_us: i64) -> io::Result<()>;
}

/// The kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel;

impl Power for Kernel {
    fn step(&mut self, offset_us: i64) -> io::Result<()> {
        let (now, by) = (SystemTime::now(), Duration::from_micros(offset_us.unsigned_abs()));
        let time = if offset_us < 0 { now.checked_sub(by) } else { now.checked_add(by) };
        sys::clock::set(time.ok_or(io::ErrorKind::InvalidInput)?)?;
        sys::clock::is_right(0)
    }

    fn slew(&mut self, offset_us: i64) -> io::Result<()> {
        sys::clock::slew(offset_us)?;
        sys::clock::is_right(i64::try_from(offset_us.unsigned_abs()).unwrap_or(i64::MAX))
    }
}

/// Why the clock is not looked after.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the clock cannot be changed")]
    Change(#[source] io::Error),
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

/// `system/time`.
pub(super) struct Clock<S, P> {
    servers: S,
    power: P,
    sure: Sure,
    /// Says to the next machined of this boot that the clock was set.
    mark: PathBuf,
    events: Events,
    spec: TimeSpec,
    status: Time,
    asking: JoinSet<(String, Result<Sample, NoTime>)>,
    heard: Vec<(String, Result<Sample, NoTime>)>,
    /// Servers that want to be left alone, and until when.
    rests: BTreeMap<String, Instant>,
    /// When they are asked again.
    due: Instant,
    pause: Duration,
    /// Whether the machine has an address.
    connected: bool,
    /// When the first question was, of the servers there are now.
    since_ms: Option<u64>,
}

impl<S: Servers, P: Power> Clock<S, P> {
    pub(super) fn new(servers: S, power: P, sure: Sure, mark: PathBuf, events: Events) -> Self {
        if mark.exists() {
            sure.set();
        }
        let (asking, heard, due) = (JoinSet::new(), Vec::new(), Instant::now());
        let (spec, status) = (TimeSpec::default(), Time::default());
        Self {
            servers,
            power,
            sure,
            mark,
            events,
            spec,
            status,
            asking,
            heard,
            rests: BTreeMap::new(),
            due,
            pause: FIRST,
            connected: false,
            since_ms: None,
        }
    }

    /// Others are asked from now on.
    fn turn_to(&mut self, spec: TimeSpec) {
        if spec.servers != self.spec.servers {
            self.asking.abort_all();
            self.asking = JoinSet::new();
            self.heard.clear();
            self.rests.retain(|server, _| spec.servers.contains(server));
            (self.due, self.pause) = (Instant::now(), FIRST);
            self.since_ms = None;
            self.status.asked.clear();
        }
        self.status.origin.clone_from(&spec.origin);
        self.spec = spec;
    }

    fn ask(&mut self) {
        let now = Instant::now();
        self.since_ms.get_or_insert_with(uptime::now_ms);
        self.rests.retain(|_, until| *until > now);
        let servers: Vec<_> =
            self.spec.servers.iter().filter(|server| !self.rests.contains_key(*server)).cloned().collect();
        let first = self.rests.values().min().filter(|_| servers.is_empty());
        self.due = first.copied().unwrap_or(now + self.pause);
        for server in servers {
            let servers = self.servers.clone();
            self.asking.spawn(async move { (server.clone(), servers.ask(server).await) });
        }
    }

    /// All have answered, or had their time.
    fn judge(&mut self) -> Result<(), Error> {
        let heard = std::mem::take(&mut self.heard);
        let samples: Vec<Sample> = heard.iter().filter_map(|(_, result)| result.clone().ok()).collect();
        // Those that rest have said why.
        self.status.asked.retain(|asked| self.rests.contains_key(&asked.server));
        for (server, result) in heard {
            let (offset_us, problem) = match result {
                Ok(sample) => (Some(sample.offset_us), String::new()),
                Err(NoTime { why, rest: None }) => (None, why),
                Err(NoTime { why, rest: Some(rest) }) => {
                    self.rests.insert(server.clone(), Instant::now() + rest);
                    (None, format!("{why}: it is not asked for {} min", rest.as_secs() / 60))
                }
            };
            self.status.asked.push(Asked { server, offset_us, problem });
        }
        self.status.asked.sort_by(|a, b| a.server.cmp(&b.server));
        let Some(sample) = pick::pick(&samples).cloned() else {
            let why = self.status.asked.iter().map(|asked| format!("{}: {}", asked.server, asked.problem));
            self.status.problem = format!("no time server has answered: {}", why.collect::<Vec<_>>().join("; "));
            self.pause = (self.pause * 2).min(SOON.max(self.pause));
            self.due = Instant::now() + self.pause;
            return Ok(());
        };
        let before = self.sure.is();
        match pick::change(before, sample.offset_us) {
            Change::Step(by) => {
                self.power.step(by).map_err(Error::Change)?;
                self.events.info("clock", format!("set by {}: it was {} off", sample.server, span(by)));
            }
            Change::Slew(by) => self.power.slew(by).map_err(Error::Change)?,
        }
        if !before {
            // Without it the next machined sets the clock once more, no worse.
            if let Err(error) = crate::file::replace(&self.mark, b"", 0o644) {
                tracing::warn!("cannot write {}: {error}", self.mark.display());
            }
            self.sure.set();
        }
        self.status.problem = if before && sample.offset_us.abs() > FAR_US {
            let off = span(sample.offset_us);
            format!("the clock is {off} off since it was set, too far to be made up: reboot to have it set again")
        } else if pick::disagree(&samples) {
            "the time servers do not agree: see which of them is wrong".into()
        } else {
            String::new()
        };
        let near = before && sample.offset_us.abs() < NEAR_US;
        self.pause = if near { (self.pause.max(LEAST) * 2).min(MOST) } else { LEAST };
        self.due = Instant::now() + self.pause;
        let Sample { server, offset_us, delay_us, stratum } = sample;
        (self.status.server, self.status.offset_us, self.status.delay_us) = (server, offset_us, delay_us);
        (self.status.stratum, self.status.at_uptime_ms) = (stratum, uptime::now_ms());
        Ok(())
    }

    fn put(&self, cx: &mut Cycle<'_>) -> Result<Option<Duration>, CycleError> {
        cx.put(TimeSpec::ID, self.spec.clone())?;
        let sure = self.sure.is();
        let mut status = Time { sure, ..self.status.clone() };
        let mut left = None;
        if self.spec.servers.is_empty() {
            status.problem = match self.spec.source {
                Source::Document => "the document Time names no server: nobody is asked".into(),
                _ => "no server is known: neither a document Time nor DHCP names one".into(),
            };
        } else if let Some(since) = self.since_ms.filter(|_| !sure) {
            let over = Duration::from_millis(uptime::now_ms().saturating_sub(since));
            left = wait::TIME.checked_sub(over).filter(|left| !left.is_zero());
            if left.is_some() {
                let reason = if status.problem.is_empty() { "they were just asked" } else { &status.problem };
                cx.put::<Wait>(For::Time.id(), For::Time.wait(reason, since))?;
            }
        }
        let condition = match (sure, status.problem.as_str()) {
            (true, "") => Condition::met("a time server has set the clock"),
            (true, problem) => Condition::met(problem),
            (false, "") => Condition::unmet("time servers are asked"),
            (false, problem) => Condition::unmet(problem),
        };
        cx.put::<Condition>("time", condition.optional())?;
        cx.put(Time::ID, status)?;
        Ok(left)
    }
}

/// As people say it.
fn span(us: i64) -> String {
    let (seconds, rest) = (us.unsigned_abs() / 1_000_000, us.unsigned_abs() % 1_000_000 / 1000);
    match seconds {
        0..=119 => format!("{seconds}.{rest:03} s"),
        120..=172_799 => format!("{} min", seconds / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Who is to be asked: those of the document; without one those of DHCP.
fn spec(document: Option<documents::Configured<config::kinds::Time>>, offered: Vec<String>) -> TimeSpec {
    match document {
        Some(document) => {
            TimeSpec { servers: document.body.servers, source: Source::Document, origin: Some(document.origin) }
        }
        None if offered.is_empty() => TimeSpec::default(),
        None => TimeSpec { servers: offered, source: Source::Network, origin: None },
    }
}

impl<S: Servers, P: Power> Controller for Clock<S, P> {
    const NAME: &'static str = "system/time";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        documents::declare(ports);
        ports.watch::<TimeServer>().watch::<Condition>();
        ports.own::<TimeSpec>().own::<Time>().share::<Condition>().share::<Wait>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        let Some(documents) = documents::of::<config::kinds::Time>(cx)? else { return Ok(Next::Unready) };
        let offered = cx.list::<TimeServer>()?;
        let offered = offered.into_iter().map(|server| server.value.address.to_string()).collect();
        self.turn_to(spec(documents.into_iter().next(), offered));
        let connected = cx.get::<Condition>(Condition::NETWORK)?.is_some_and(|network| network.value.met);
        if connected && !std::mem::replace(&mut self.connected, connected) && !self.sure.is() {
            // What was asked without an address tells nothing.
            (self.due, self.pause) = (Instant::now(), FIRST);
        }
        self.connected = connected;
        let judged = if self.asking.is_empty() && !self.heard.is_empty() { self.judge() } else { Ok(()) };
        if judged.is_err() {
            self.due = Instant::now() + SOON;
        }
        if self.asking.is_empty() && !self.spec.servers.is_empty() && Instant::now() >= self.due {
            self.ask();
        }
        let left = self.put(cx)?;
        judged?;
        let due = (self.asking.is_empty() && !self.spec.servers.is_empty())
            .then(|| self.due.saturating_duration_since(Instant::now()));
        Ok(due.into_iter().chain(left).min().map_or(Next::OnChange, Next::After))
    }

    async fn wake(&mut self) {
        // Cancel-safe: what was heard is kept before anything is awaited. A question that was dropped is none.
        while let Some(heard) = self.asking.join_next().await {
            self.heard.extend(heard.ok());
            if self.asking.is_empty() {
                return;
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
