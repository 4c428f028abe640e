//! The status page on the screen and on the serial line.
//!
//! Consoles are those that the kernel itself writes to (/sys/class/tty/console/active). A screen (`tty0`) shows the page,
//! drawn in place; everything else gets lines. Nothing is read from any of them.

pub mod lines;
pub mod page;
pub mod tty;
pub mod view;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use api::facts::moment;
use reconcile::{Controller, Cycle, CycleError, Next, Ports, Runtime};

use crate::resources::address::{Address, AddressScope};
use crate::resources::boot_record::BootRecord;
use crate::resources::config_source::{self, ConfigSource};
use crate::resources::event::Severity;
use crate::resources::gate::Gate;
use crate::resources::time::Time;
use crate::resources::{Condition, Event, Machine, Wait};
use crate::uptime;

use self::tty::Console;
use self::view::{View, Waiting};

/// The consoles of the kernel, by name in one line.
const ACTIVE: &str = "/sys/class/tty/console/active";
/// How often a page that shows for how long something is waited is drawn.
const TICK: Duration = Duration::from_secs(1);
/// Smaller steps of the clock are not shown.
const STEP_S: u64 = 60;

/// Adds the console's controller.
pub fn register(runtime: &mut Runtime) {
    runtime.register(Consoles {
        active: ACTIVE.into(),
        dev: "/dev".into(),
        open: BTreeMap::new(),
        shown: View::default(),
        started: 0,
    });
}

/// `console/status`.
pub struct Consoles {
    active: PathBuf,
    dev: PathBuf,
    open: BTreeMap<String, Console>,
    shown: View,
    /// When the machine started, by its clock, in seconds since 1970.
    started: i64,
}

/// `tty0` is the screen that is in front, `tty1` and so on are others; `ttyS0` is a serial port.
fn is_screen(name: &str) -> bool {
    name.strip_prefix("tty")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Consoles {
    /// As a page has it: a clock that is stepped changes it, one that is slewed does not.
    fn clock(&mut self, sure: bool) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let started = i64::try_from(now.saturating_sub(uptime::now_ms() / 1000)).unwrap_or(i64::MAX);
        if started.abs_diff(self.started) > STEP_S {
            self.started = started;
        }
        let started = moment(self.started);
        if sure { started } else { format!("{started}, by a clock that no time server has set") }
    }

    fn ensure_open(&mut self) {
        // A machine without any console has no such file, or an empty one.
        let names = fs::read_to_string(&self.active).unwrap_or_default();
        for name in names.split_whitespace() {
            if !self.open.contains_key(name) {
                match start(&self.dev, name) {
                    Ok(console) => {
                        // What has been said already, for the one that comes late.
                        console.lines(&said(name, &View::default(), &self.shown));
                        self.open.insert(name.to_owned(), console);
                    }
                    Err(error) => tracing::warn!("console {name}: {error}"),
                }
            }
        }
        self.open.retain(|name, _| names.split_whitespace().any(|active| active == name));
    }

    fn show(&mut self, view: View) {
        if view == self.shown {
            return;
        }
        for (name, console) in &self.open {
            if is_screen(name) {
                console.page(view.clone());
            } else {
                console.lines(&said(name, &self.shown, &view));
            }
        }
        self.shown = view;
    }
}

fn start(dev: &Path, name: &str) -> io::Result<Console> {
    Console::start(dev.join(name))
}

fn said(name: &str, before: &View, now: &View) -> Vec<String> {
    if is_screen(name) { Vec::new() } else { lines::lines(before, now) }
}

impl Controller for Consoles {
    const NAME: &'static str = "console/status";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<Machine>();
        ports.watch::<Wait>();
        ports.watch::<Address>();
        ports.watch::<Event>();
        ports.watch::<ConfigSource>();
        ports.watch::<Time>();
        ports.watch::<BootRecord>();
        ports.watch::<Gate>();
        ports.watch::<Condition>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        let Some(machine) = cx.get::<Machine>(Machine::ID)? else { return Ok(Next::Unready) };
        let waits: Vec<Waiting> = cx.list::<Wait>()?.iter().map(|wait| waiting(&wait.value)).collect();
        let error = cx.list::<Event>()?.into_iter().rev().find(|event| event.value.severity == Severity::Error);
        let machine = &machine.value;
        let sure = cx.get::<Time>(Time::ID)?.is_some_and(|time| time.value.sure);
        let now_ms = if waits.is_empty() { 0 } else { uptime::now_ms() };
        let record = cx.get::<BootRecord>(BootRecord::ID)?.map(|record| record.value);
        let started = record.as_ref().map(|record| record.started.clone()).unwrap_or_default();
        let gates = cx.list::<Gate>()?;
        let shut = gates.iter().filter(|gate| !gate.value.open);
        let view = View {
            version: machine.version.clone(),
            machine_id: machine.machine_id.clone(),
            hostname: machine.hostname.clone(),
            clock: self.clock(sure),
            phase: machine.phase.name().to_owned(),
            chosen: if started.detour { started.why } else { String::new() },
            runs: if ["other", "unknown"].contains(&&*started.what) { String::new() } else { started.what },
            trial: started.trial,
            gates: shut.map(|gate| (gate.id.clone(), gate.value.asks.clone(), gate.value.reason.clone())).collect(),
            failed: record.and_then(|record| record.failed.as_ref().map(|one| (one.generation, one.reason.clone()))),
            reset: cx.get::<Condition>(Condition::RESET)?.map_or_else(String::new, |now| now.value.reason.clone()),
            cause: machine.cause.clone(),
            step: machine.step.clone(),
            unmet: machine.unmet.clone(),
            waits,
            addresses: addresses(cx.list::<Address>()?.iter().map(|address| &*address.value).collect()),
            fingerprint: machine.fingerprint.clone(),
            sources: cx.list::<ConfigSource>()?.iter().filter_map(|source| looked_at(&source.value)).collect(),
            error: error.map(|event| (event.id, format!("{}: {}", event.value.source, event.value.message))),
            now_ms,
        };
        self.ensure_open();
        self.show(view);
        Ok(if now_ms == 0 { Next::OnChange } else { Next::After(TICK) })
    }
}

/// What came of a source, once something did.
fn looked_at(source: &ConfigSource) -> Option<(String, String)> {
    use config_source::State::{Looking, Nothing, Skipped, Used, Waiting, Wrong};
    let text = match source.state {
        Waiting | Looking => return None,
        Used => format!("used {}", source.reason),
        Nothing | Skipped | Wrong => format!("{}: {}", source.state.name(), source.reason),
    };
    Some((source.source.clone(), text))
}

fn waiting(wait: &Wait) -> Waiting {
    Waiting { text: format!("{}: {}", wait.what, wait.reason), since_ms: wait.since_uptime_ms }
}

/// Those others can use; IPv4 first and link-local last, as a person would try them.
fn addresses(mut all: Vec<&Address>) -> Vec<(String, String)> {
    all.retain(|address| address.usable());
    all.sort_by_key(|address| {
        (address.scope == AddressScope::Link, address.address.addr().is_ipv6(), address.link.clone())
    });
    all.iter().map(|address| (address.link.clone(), address.address.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screens_and_serial_ports() {
        assert!(is_screen("tty0") && is_screen("tty1"));
        assert!(!is_screen("ttyS0") && !is_screen("ttyAMA0") && !is_screen("hvc0") && !is_screen("tty"));
    }
}
