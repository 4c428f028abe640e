//! The trial of a generation: it is blessed once every gate is open, and given up as soon as one is past its deadline.
//!
//! ```text
//! started on trial --every gate open for SETTLE--> blessed
//!                  \--a deadline over, or the configuration cannot be used--> failed --> reboot into what was proven
//! ```
//! Built in are three gates: the configuration is in effect and proven (the machine has reached its own API through the gateway, on
//! its own address), the services are well, and the machine counts as booted. Declared ones (`kind: Gate`) come besides. Invariant:
//! deadlines count from the start of the machine, so a restart of machined prolongs nothing but the last half minute.

use std::collections::BTreeMap;
use std::time::Duration;

use config::kinds::Gate as Document;
use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::probe::{self, Ask};
use crate::documents;
use crate::events::Events;
use crate::generations::{Handle, View};
use crate::resources::Condition;
use crate::resources::config_status::{self, ConfigStatus};
use crate::resources::gate::Gate;
use crate::resources::service::{self, Service};
use crate::resources::trusted_roots::TrustedRoots;
use crate::resources::volume::{self, Volume};
use crate::stop;
use crate::trace::chain;
use crate::uptime;

/// For what every machine must be: a slow disk, a slow network and a service that is started anew fit into it.
const BASE: Duration = Duration::from_secs(600);
/// All gates have to hold for so long: what comes up only to crash is not well.
const SETTLE: Duration = Duration::from_secs(5);
/// Past its deadline a gate must be shut for so long: one answer that is missed, a service that is started anew, is no failure.
const GRACE: Duration = Duration::from_secs(30);

/// `boot/gates`.
#[derive(Debug)]
pub(super) struct Gates {
    handle: Handle,
    view: watch::Receiver<std::sync::Arc<View>>,
    stop: stop::Handle,
    events: Events,
    /// What the declared ones answered last.
    answers: BTreeMap<String, Result<(), String>>,
    probes: BTreeMap<String, Probe>,
    heard: mpsc::Receiver<(String, Result<(), String>)>,
    tell: mpsc::Sender<(String, Result<(), String>)>,
    /// Since when all hold.
    open: Option<Instant>,
    /// Since when each that is shut is.
    shut: BTreeMap<String, Instant>,
    over: bool,
}

/// One that is asked again and again, until it is dropped.
#[derive(Debug)]
struct Probe {
    body: Document,
    _task: JoinSet<()>,
}

impl Gates {
    pub(super) fn new(handle: Handle, stop: stop::Handle, events: Events) -> Self {
        let (tell, heard) = mpsc::channel(16);
        let (view, answers, probes) = (handle.watch(), BTreeMap::new(), BTreeMap::new());
        let shut = BTreeMap::new();
        Self { handle, view, stop, events, answers, probes, heard, tell, open: None, shut, over: false }
    }

    /// Starts to ask what is declared, and stops to ask what is not any more.
    fn ask(&mut self, declared: &[(String, Document)]) {
        self.probes.retain(|name, probe| declared.iter().any(|(known, body)| known == name && *body == probe.body));
        for (name, body) in declared {
            let Some(ask) = Ask::of(body) else { continue };
            if self.probes.contains_key(name) {
                continue;
            }
            self.answers.remove(name);
            let (tell, every, id) = (self.tell.clone(), body.interval.0, name.clone());
            let mut task = JoinSet::new();
            task.spawn(async move {
                loop {
                    if tell.send((id.clone(), probe::once(&ask).await)).await.is_err() {
                        return;
                    }
                    tokio::time::sleep(every).await;
                }
            });
            self.probes.insert(name.clone(), Probe { body: body.clone(), _task: task });
        }
    }

    /// Every gate as it stands.
    fn stand(&mut self, cx: &mut Cycle<'_>) -> Result<Option<BTreeMap<String, Gate>>, CycleError> {
        let status = cx.get::<ConfigStatus>(ConfigStatus::ID)?.map(|found| found.value);
        let services: Vec<_> = cx.list::<Service>()?.into_iter().map(|found| (found.id, found.value)).collect();
        let conditions: Vec<_> = cx.list::<Condition>()?.into_iter().map(|found| (found.id, found.value)).collect();
        let _ = cx.list::<TrustedRoots>()?;
        let api = conditions.iter().any(|(id, one)| id == Condition::API && one.met);
        let mut gates = BTreeMap::new();
        let base = BASE.as_secs();
        let built_in = |asks: &str, unmet: Vec<String>| Gate {
            open: unmet.is_empty(),
            asks: asks.to_owned(),
            reason: unmet.join("; "),
            deadline_s: base,
        };
        let configuration = match &status {
            Some(status) if status.state == config_status::State::Blessed => Vec::new(),
            Some(status) if status.state == config_status::State::Unconfigured && api => Vec::new(),
            Some(status) if !status.reason.is_empty() => vec![status.reason.clone()],
            _ => vec!["it is not known yet".to_owned()],
        };
        gates.insert("configuration".to_owned(), built_in("the configuration is in effect and proven", configuration));
        let unwell = services.iter().filter(|(_, one)| !well(one.state));
        let unwell = unwell.map(|(id, one)| format!("{id}: {}", one.why)).collect();
        gates.insert("services".to_owned(), built_in("every service is well", unwell));
        let unmet = conditions.iter().filter(|(_, one)| one.required && !one.met);
        let unmet = unmet.map(|(_, one)| one.reason.clone()).collect();
        gates.insert("booted".to_owned(), built_in("the machine counts as booted", unmet));

        let Some(declared) = documents::of::<Document>(cx)? else { return Ok(Some(gates)) };
        let declared: Vec<_> = declared.into_iter().map(|one| (format!("gate/{}", one.name), one.body)).collect();
        self.ask(&declared);
        for (name, body) in declared {
            let answer = match body.ask() {
                Some(config::kinds::Ask::Service(wanted)) => {
                    let found = services.iter().find(|(id, _)| id == wanted);
                    match found {
                        Some((_, one)) if one.state == service::State::Ready => Ok(()),
                        Some((_, one)) => Err(one.why.clone()),
                        None => Err(format!("there is no service {wanted}")),
                    }
                }
                Some(config::kinds::Ask::Confirm) if self.handle.confirmed() => Ok(()),
                Some(config::kinds::Ask::Confirm) => {
                    Err("nobody has confirmed it: apictl upgrade --confirm".to_owned())
                }
                _ => self.answers.get(&name).cloned().unwrap_or_else(|| Err("not asked yet".to_owned())),
            };
            let gate = Gate {
                open: answer.is_ok(),
                asks: probe::words(&body),
                reason: answer.err().unwrap_or_default(),
                deadline_s: body.deadline.0.as_secs(),
            };
            gates.insert(name, gate);
        }
        Ok(Some(gates))
    }

    /// When each gate that is shut is too late, from now; zero: it is.
    fn late(&mut self, gates: &BTreeMap<String, Gate>, up: Duration) -> BTreeMap<String, Duration> {
        let now = Instant::now();
        self.shut.retain(|name, _| gates.get(name).is_some_and(|gate| !gate.open));
        let shut = gates.iter().filter(|(_, gate)| !gate.open);
        shut.map(|(name, gate)| {
            let since = *self.shut.entry(name.clone()).or_insert(now);
            (name.clone(), left(gate, now - since, up))
        })
        .collect()
    }

    async fn bless(&mut self, revision: u64) {
        match self.handle.bless(revision).await {
            Ok(()) => {
                self.over = true;
                let number = self.handle.view().generation().map_or(0, |one| one.number);
                self.events.info("generation", format!("generation {number} is proven"));
            }
            Err(error) => {
                self.events.error("generation", format!("the trial cannot be recorded as proven: {}", chain(&error)));
                self.open = None;
            }
        }
    }

    async fn fail(&mut self, number: u32, why: String, phase: &str) {
        self.over = true;
        let why = format!("generation {number} is given up: {why}");
        self.events.error("generation", &why);
        if let Err(error) = self.handle.fail(&why, phase).await {
            self.events.error("generation", format!("META does not keep that: {}", chain(&error)));
        }
        self.stop.request(stop::Request::new(stop::Action::Reboot, why));
    }
}

fn well(state: service::State) -> bool {
    matches!(state, service::State::Ready | service::State::Stopped)
}

/// How long a gate may stay shut, when it has been for this long.
fn left(gate: &Gate, shut: Duration, up: Duration) -> Duration {
    let deadline = Duration::from_secs(gate.deadline_s);
    // One that never opened has had its time.
    deadline.saturating_sub(up).max(GRACE.min(deadline).saturating_sub(shut))
}

/// Why the trial is over, if it is.
fn verdict(
    gates: &BTreeMap<String, Gate>,
    late: &BTreeMap<String, Duration>,
    unusable: Option<&str>,
) -> Option<String> {
    if let Some(why) = unusable {
        return Some(format!("this version cannot use the machine's configuration: {why}"));
    }
    let late: Vec<_> = gates
        .iter()
        .filter(|(name, _)| late.get(*name).is_some_and(Duration::is_zero))
        .map(|(name, gate)| format!("{name} ({}): {}", gate.asks, gate.reason))
        .collect();
    (!late.is_empty()).then(|| format!("not in time: {}", late.join("; ")))
}

impl Controller for Gates {
    const NAME: &'static str = "boot/gates";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        documents::declare(ports);
        ports.watch::<Condition>().watch::<Service>().watch::<TrustedRoots>().watch::<Volume>().own::<Gate>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        let Some(number) = self.handle.view().trial() else {
            self.probes.clear();
            return Ok(Next::OnChange);
        };
        let stopping = *self.stop.watch().borrow() != stop::State::Running;
        if self.over || stopping {
            return Ok(Next::OnChange);
        }
        let Some(gates) = self.stand(cx)? else { return Ok(Next::Unready) };
        for (name, gate) in &gates {
            cx.put(name, gate.clone())?;
        }
        let status = cx.get::<ConfigStatus>(ConfigStatus::ID)?.map(|found| found.value);
        // A STATE that is late may still come.
        let state = cx.get::<Volume>("STATE")?.is_some_and(|state| state.value.phase == volume::Phase::Mounted);
        let unusable = status.as_ref().filter(|one| one.state == config_status::State::Unreadable && state);
        let up = Duration::from_millis(uptime::now_ms());
        self.handle.keep_until(longest(&gates));
        let late = self.late(&gates, up);
        if let Some(why) = verdict(&gates, &late, unusable.map(|one| one.reason.as_str())) {
            self.fail(number, why, "gates").await;
            return Ok(Next::OnChange);
        }
        if gates.values().any(|gate| !gate.open) {
            self.open = None;
            let next = late.values().min();
            return Ok(next.map_or(Next::OnChange, |left| Next::After((*left).max(Duration::from_millis(100)))));
        }
        let held = self.open.get_or_insert_with(Instant::now).elapsed();
        if held < SETTLE {
            return Ok(Next::After(SETTLE - held));
        }
        self.bless(status.map_or(0, |one| one.blessed)).await;
        Ok(Next::After(SETTLE))
    }

    async fn wake(&mut self) {
        tokio::select! {
            Ok(()) = self.view.changed() => {}
            Some((name, answer)) = self.heard.recv() => drop(self.answers.insert(name, answer)),
        }
    }
}

/// The last deadline there is.
fn longest(gates: &BTreeMap<String, Gate>) -> Duration {
    Duration::from_secs(gates.values().map(|gate| gate.deadline_s).max().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(open: bool, deadline_s: u64) -> Gate {
        let reason = if open { "" } else { "nobody answers" };
        Gate { open, asks: "it".into(), reason: reason.into(), deadline_s }
    }

    #[test]
    fn a_trial_is_over_with_the_first_gate_that_is_late_and_not_before() {
        let gates: BTreeMap<_, _> =
            [("a".to_owned(), gate(true, 10)), ("b".to_owned(), gate(false, 20)), ("c".to_owned(), gate(false, 90))]
                .into();
        let seconds = Duration::from_secs;
        let at = |up: u64| {
            let shut = gates.iter().filter(|(_, gate)| !gate.open);
            let late = shut.map(|(name, gate)| (name.clone(), left(gate, seconds(up), seconds(up)))).collect();
            verdict(&gates, &late, None)
        };
        assert_eq!(at(19), None);
        assert_eq!(at(20).unwrap(), "not in time: b (it): nobody answers");
        assert_eq!(left(&gate(false, 20), seconds(5), seconds(5)), seconds(15));
        assert_eq!(
            left(&gate(false, 120), seconds(1), seconds(1800)),
            seconds(29),
            "it was open, and missed one answer"
        );
        assert_eq!(left(&gate(false, 120), seconds(30), seconds(1800)), seconds(0));
        let unusable = verdict(&gates, &BTreeMap::new(), Some("kind: Fancy is not known")).unwrap();
        assert!(unusable.contains("cannot use the machine's configuration: kind: Fancy"), "{unusable}");
        assert_eq!(longest(&gates), Duration::from_secs(90));
    }
}
