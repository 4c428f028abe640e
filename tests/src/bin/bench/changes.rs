//! From a change of the documents to its effect, seen by an operator at a workstation: apictl is started, the answer comes, a
//! watch shows the effect. In seconds of the clock, so on an emulated machine; a small call taken beside each says how fast
//! that was.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde_json::Value;
use tests::{
    artifacts,
    machine::{self, Machine},
    operator::{Operator, wait_blessed},
    vm::Spec,
};

use crate::stamped::Stamped;

/// How often one setting is changed.
const TIMES: usize = 15;
/// How often one setting is changed among many documents.
const AMONG: usize = 5;
/// Documents that are applied at once, beside the operator's own.
const SIZES: [usize; 3] = [10, 200, 1000];

/// Of several, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Took {
    pub(crate) median: f64,
    pub(crate) worst: f64,
}

impl Took {
    fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        let at = |index: usize| all.get(index).copied().unwrap_or(f64::NAN);
        Self { median: at(all.len() / 2), worst: at(all.len().saturating_sub(1)) }
    }
}

/// Changes of one setting.
pub(crate) struct Setting {
    pub(crate) times: usize,
    /// A small call, for comparison.
    pub(crate) call: Took,
    pub(crate) answered: Took,
    /// On the node's own clock, from the call's record in the audit, right before the answer, until the revision is in effect.
    pub(crate) after_answer: Took,
    pub(crate) effect: Took,
}

/// So many documents, and then a change of one setting among them.
pub(crate) struct Many {
    pub(crate) documents: usize,
    pub(crate) bytes: usize,
    pub(crate) answered: f64,
    pub(crate) effect: f64,
    pub(crate) setting: Setting,
    /// Of machined, in KiB.
    pub(crate) memory: u64,
}

/// Everything about changes.
pub(crate) struct Figures {
    pub(crate) setting: Setting,
    /// Of machined before the first of [`Many`], in KiB.
    pub(crate) memory: u64,
    pub(crate) many: Vec<Many>,
}

/// Configures a machine and changes its documents again and again.
pub(crate) fn measure(kernel: &str) -> Result<Figures> {
    eprintln!("==> changes of the configuration, {kernel} kernel");
    machine::with(&Spec::roomy_kernel(&artifacts::product_image(kernel))?, |machine| {
        machine.apictl.wait_maintenance()?;
        let operator = Operator::new(machine)?;
        operator.configure(machine, "bench")?;
        wait_blessed(&machine.apictl, 1)?;
        machine.wait_drivers()?;
        let node = Node::new(machine, &operator)?;
        // What is allocated once is there after the first.
        node.setting(1)?;
        let setting = node.setting(TIMES)?;
        let memory = node.memory()?;
        let many = SIZES.into_iter().map(|documents| node.many(documents)).collect::<Result<_>>()?;
        Ok(Figures { setting, memory, many })
    })
}

/// A change that came into effect; seconds since apictl was started.
struct Change {
    answered: f64,
    effect: f64,
    revision: u64,
}

/// A configured machine, its operator, and what is watched all the time.
struct Node<'a> {
    machine: &'a Machine,
    operator: &'a Operator,
    setting: Stamped,
    /// The host that the node handles last of all.
    host: Stamped,
    status: Stamped,
    /// The setting's, never the same twice.
    value: Cell<u32>,
}

impl<'a> Node<'a> {
    fn new(machine: &'a Machine, operator: &'a Operator) -> Result<Self> {
        let watch = |kind, id| Stamped::start(&machine.apictl, &["get", kind, id, "--watch"]);
        Ok(Self {
            machine,
            operator,
            setting: watch("sysctl", "vm.swappiness")?,
            host: watch("static-host", "last.example")?,
            status: watch("config-status", "config")?,
            value: Cell::new(0),
        })
    }

    fn setting(&self, times: usize) -> Result<Setting> {
        let (mut call, mut changes) = (Vec::new(), Vec::new());
        for _ in 0..times {
            let start = Instant::now();
            let (ended, _) = Stamped::start(&self.machine.apictl, &["get", "config-status", "config"])?.answer()?;
            call.push((ended - start).as_secs_f64());
            self.value.set(self.value.get() + 1);
            let value = self.value.get().to_string();
            let document = format!("kind: Sysctl\nname: bench\nsettings: {{ vm.swappiness: \"{value}\" }}\n");
            self.operator.write("sysctl", &document)?;
            changes.push(self.change("the setting", &self.setting, |sysctl| sysctl["value"] == value.as_str())?);
        }
        let after_answer = self.after_answer(&changes)?;
        let answered = Took::of(changes.iter().map(|change| change.answered).collect());
        let effect = Took::of(changes.iter().map(|change| change.effect).collect());
        eprintln!(
            "    a setting: {:.2} s to the answer, {:.2} s to the effect, {:.2} s for a small call",
            answered.median,
            effect.median,
            Took::of(call.clone()).median
        );
        Ok(Setting { times, call: Took::of(call), answered, after_answer, effect })
    }

    fn many(&self, documents: usize) -> Result<Many> {
        let mut bytes = 0;
        let mut write = |name: &str| {
            // Another one each time, so that every document changes.
            let address = format!("10.0.{}.{}", documents / 250, documents % 250 + 1);
            let host = format!("kind: StaticHost\nname: {name}.example\naddresses: [{address}]\n");
            bytes += host.len() + "apiVersion: stele/v1\n---\n".len();
            self.operator.write(name, &host).map(|()| address)
        };
        for n in 1..documents {
            write(&format!("host-{n}"))?;
        }
        let address = write("last")?;
        let change = self.change("the last host", &self.host, |host| host["addresses"][0] == address.as_str())?;
        eprintln!(
            "    {documents} documents: {:.2} s to the answer, {:.2} s to the effect",
            change.answered, change.effect
        );
        let setting = self.setting(AMONG)?;
        let memory = self.memory()?;
        Ok(Many { documents, bytes, answered: change.answered, effect: change.effect, setting, memory })
    }

    /// Applies the documents, sees the effect, and waits until they are proven, so that the next change meets a quiet machine.
    fn change(&self, what: &str, watch: &Stamped, wanted: impl Fn(&Value) -> bool) -> Result<Change> {
        let (documents, secrets) = (self.operator.documents(), self.operator.secrets());
        let start = Instant::now();
        let apply = ["apply-config", "-f", &documents, "--secrets", &secrets, "--no-wait"];
        let (answered, answer) = Stamped::start(&self.machine.apictl, &apply)?.answer()?;
        let effect = watch.shows(what, wanted)?;
        let revision = answer["revision"].as_u64().context("an answer without a revision")?;
        self.status.shows("the revision to be proven", |status| {
            status["state"] == "blessed" && status["revision"] == revision
        })?;
        let since = |at: Instant| (at - start).as_secs_f64();
        Ok(Change { answered: since(answered), effect: since(effect), revision })
    }

    /// From the audit's record of the call to the event that says that the revision is in effect.
    fn after_answer(&self, changes: &[Change]) -> Result<Took> {
        let apictl = &self.machine.apictl;
        let listed = apictl.json(&["audit", "list", "--changes"])?;
        let records = listed.as_array().context("no list of records")?;
        // Each Apply that was taken is a revision; the newest are ours.
        let taken = |record: &&Value| record["method"] == "/stele.v1.Config/Apply" && record["code"] == 0;
        let mut kept: Vec<u64> =
            records.iter().filter(taken).filter_map(|record| record["timeUnixMs"].as_u64()).collect();
        let kept = kept.split_off(kept.len().saturating_sub(changes.len()));
        let events = apictl.list("events")?;
        let mut all = Vec::new();
        for (change, kept) in changes.iter().zip(kept) {
            let says = format!("revision {} is in effect", change.revision);
            let says = |event: &&Value| event["value"]["message"].as_str().is_some_and(|text| text.starts_with(&says));
            let event =
                events.iter().find(says).with_context(|| format!("no event of revision {}", change.revision))?;
            let at = event["value"]["timeUnixMs"].as_u64().context("an event without a time")?;
            all.push(Duration::from_millis(at.saturating_sub(kept)).as_secs_f64());
        }
        Ok(Took::of(all))
    }

    fn memory(&self) -> Result<u64> {
        let processes = self.machine.apictl.list("processes")?;
        let machined = processes.iter().find(|process| process["value"]["name"] == "machined");
        let bytes = machined.and_then(|process| process["value"]["pssBytes"].as_u64()).context("no machined")?;
        Ok(bytes / 1024)
    }
}
