//! Finds what belongs to a subject, and in what of it something is wrong.

use std::collections::BTreeSet;

use api::v1::{Controller, controller::State};
use serde_json::Value;

use super::{Explained, Role, Step};
use crate::snapshot::{Resource, Snapshot};

/// Events that are shown.
const EVENTS: usize = 5;
/// Fields in which resources say in words what is wrong, empty when nothing is.
const TROUBLE: [&str; 6] = ["error", "why", "problem", "unreadable", "lastError", "givenUp"];
/// Fields that say something in either case.
const SAYS: [&str; 5] = ["reason", "state", "phase", "status", "validity"];
/// Values of these that mean trouble.
const BAD: [&str; 14] = [
    "failed",
    "wrong",
    "unusable",
    "unreadable",
    "waiting",
    "backing-off",
    "missing",
    "refused",
    "expired",
    "conflict",
    "ambiguous",
    "ends-soon",
    "over",
    "not-yet",
];
/// Ids of conditions that a document could be applied begin with this.
const OF_DOCUMENT: &str = "document/";

/// Everything about a subject; none when there is no such thing.
pub(crate) fn explain<'a>(snapshot: &'a Snapshot, kind: &str, id: &str) -> Option<Explained<'a>> {
    let subjects: Vec<&Resource> = snapshot.of(kind).filter(|resource| resource.id == id).collect();
    // A spec that nobody made yet is no resource, but its status may be, and the other way round.
    let found = !subjects.is_empty();
    let documents = documents(snapshot, &subjects, kind, id);
    let related = related(snapshot, &subjects, &documents, kind, id);
    if !found && related.is_empty() && documents.is_empty() {
        return None;
    }
    let mut steps: Vec<Step<'a>> = documents.iter().map(|document| of_document(document)).collect();
    steps.extend(snapshot.of("config-status").filter(|_| !documents.is_empty()).map(of_configuration));
    let all: Vec<&Resource> = subjects.iter().copied().filter(|one| one.kind != "document").chain(related).collect();
    for resource in &all {
        steps.push(of_resource(resource));
    }
    steps.extend(
        controllers(snapshot, &all).into_iter().map(|(controller, upstream)| of_controller(controller, upstream)),
    );
    let names: BTreeSet<&str> =
        all.iter().map(|one| one.id.as_str()).chain([id]).filter(|name| name.len() > 1).collect();
    let owners: BTreeSet<&str> = all.iter().map(|one| one.owner.as_str()).collect();
    let about = |text: &str| names.iter().any(|name| mentions(text, name));
    let waits = snapshot
        .of("wait")
        .filter(|wait| about(&wait.id) || about(wait.text("/what")) || owners.contains(&*wait.owner));
    steps.extend(waits.map(of_wait));
    let conditions = snapshot.of("condition").filter(|one| one.value.pointer("/met") == Some(&Value::Bool(false)));
    // Who applies a document applies others, too: theirs say nothing of this.
    let of_these = |one: &Resource| match one.id.strip_prefix(OF_DOCUMENT) {
        Some(id) => documents.iter().any(|document| document.id == id),
        None => owners.contains(&*one.owner),
    };
    let of_these = |one: &&Resource| of_these(one) || about(&one.id) || about(one.text("/reason"));
    steps.extend(conditions.filter(of_these).map(of_condition));
    let events: Vec<_> = snapshot.of("event").filter(|event| about(event.text("/message"))).collect();
    steps.extend(events.iter().skip(events.len().saturating_sub(EVENTS)).map(|event| of_event(event)));
    steps.sort_by_key(|step| step.role);
    let subject = format!("{kind} {id}");
    let bad = steps.iter().filter(|step| step.bad);
    let problems = bad.map(|step| format!("{}: {}", step.what, step.says.join("; "))).collect();
    Some(Explained { subject, problems, steps })
}

/// `eth0` in "an IPv4 address for eth0", and not in "eth01".
fn mentions(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        // A dot ends a sentence, too.
        !before.is_some_and(part) && !after.is_some_and(|c| part(c) && c != '.')
    })
}

/// The documents it comes from.
fn documents<'a>(snapshot: &'a Snapshot, subjects: &[&Resource], kind: &str, id: &str) -> Vec<&'a Resource> {
    // Statuses whose `origin` is who made them name it in `document`; specs of the same thing say it, too.
    let of_same = snapshot.resources.iter().filter(|one| one.id == id && stem(&one.kind) == stem(kind));
    let all = subjects.iter().copied().chain(of_same);
    let named = all.flat_map(|one| [one.text("/origin/document"), one.text("/document/document")]);
    let mut ids: BTreeSet<String> = named.filter(|document| !document.is_empty()).map(str::to_owned).collect();
    if kind == "document" {
        ids.insert(id.to_owned());
    }
    // A status may not say it, but the document of the same name does: `link eth0` and `Link/eth0`.
    ids.extend(snapshot.of("document").map(|one| one.id.clone()).filter(|document| same(document, kind, id)));
    snapshot.of("document").filter(|document| ids.contains(&document.id)).collect()
}

/// `Link/eth0` is about `link eth0`, `link-config eth0` and `link-spec eth0`; `Hostname` about `hostname` whatever its id.
fn same(document: &str, kind: &str, id: &str) -> bool {
    let (of, name) = document.split_once('/').map_or((document, None), |(of, name)| (of, Some(name)));
    stem(kind) == kebab(of) && name.is_none_or(|name| name == id)
}

/// `StaticHost` as `static-host`.
fn kebab(kind: &str) -> String {
    let mut text = String::new();
    for char in kind.chars() {
        if char.is_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.extend(char.to_lowercase());
    }
    text
}

fn is_wanted(kind: &str) -> bool {
    ["-spec", "-config", "-document"].iter().any(|end| kind.ends_with(end))
}

fn stem(kind: &str) -> &str {
    ["-spec", "-config", "-document", "-status"].iter().find_map(|end| kind.strip_suffix(end)).unwrap_or(kind)
}

/// Specs and statuses of the same thing: by document, by type and id, and by naming it as theirs.
fn related<'a>(
    snapshot: &'a Snapshot,
    subjects: &[&Resource],
    documents: &[&Resource],
    kind: &str,
    id: &str,
) -> Vec<&'a Resource> {
    // These have a place of their own in the chain, or are about everything.
    const APART: [&str; 7] = ["document", "config-status", "event", "wait", "condition", "revision", "config-source"];
    let from = |one: &Resource| documents.iter().any(|document| document.id == one.text("/origin/document"));
    let of_same = |one: &Resource| stem(&one.kind) == stem(kind) && one.id == id;
    let belongs = |one: &Resource| {
        let pointer = format!("/{}", stem(kind));
        stem(kind) != "document"
            && (one.text(&pointer) == id || one.id.strip_prefix(id).is_some_and(|rest| rest.starts_with('/')))
    };
    let other = |one: &&Resource| {
        let itself = subjects.iter().any(|subject| (&subject.kind, &subject.id) == (&one.kind, &one.id));
        !itself && !APART.contains(&&*one.kind)
    };
    snapshot.resources.iter().filter(other).filter(|one| from(one) || of_same(one) || belongs(one)).collect()
}

/// Who writes these, and then who writes what those read, as far as they are in trouble.
fn controllers<'a>(snapshot: &'a Snapshot, all: &[&Resource]) -> Vec<(&'a Controller, bool)> {
    let by = |name: &str| snapshot.controllers.iter().find(|controller| controller.name == name);
    let mut found: Vec<(&Controller, bool)> = Vec::new();
    for controller in all.iter().filter_map(|one| by(&one.owner)) {
        if !found.iter().any(|(known, _)| known.name == controller.name) {
            found.push((controller, false));
        }
    }
    // Who reads a spec makes it so, even before it has written anything.
    let specs: BTreeSet<&str> = all.iter().map(|one| &*one.kind).filter(|kind| is_wanted(kind)).collect();
    let read: BTreeSet<&str> =
        found.iter().flat_map(|(controller, _)| &controller.watches).map(String::as_str).collect();
    for controller in &snapshot.controllers {
        let makes = controller.watches.iter().any(|kind| specs.contains(&**kind));
        let feeds = controller.owns.iter().chain(&controller.shares).any(|kind| read.contains(&**kind));
        if (makes || feeds) && is_bad(controller) && !found.iter().any(|(known, _)| known.name == controller.name) {
            found.push((controller, !makes));
        }
    }
    found
}

fn is_bad(controller: &Controller) -> bool {
    matches!(controller.state(), State::BackingOff | State::Stopped | State::Unready)
}

fn of_document(document: &Resource) -> Step<'_> {
    let (line, revision) = (document.number("/line").unwrap_or(0), document.number("/revision").unwrap_or(0));
    let says = vec![format!("line {line} of revision {revision}")];
    Step { role: Role::Document, what: document.id.clone(), says, bad: false, resource: Some(document) }
}

fn of_configuration(status: &Resource) -> Step<'_> {
    let state = status.text("/state");
    let mut says = vec![format!("revision {}: {state}", status.number("/revision").unwrap_or(0))];
    says.extend(Some(status.text("/reason").to_owned()).filter(|reason| !reason.is_empty()));
    let bad = state == "unreadable" || state == "looking";
    Step { role: Role::Configuration, what: "configuration".into(), says, bad, resource: Some(status) }
}

fn of_resource(resource: &Resource) -> Step<'_> {
    let mut says = Vec::new();
    let mut bad = resource.tearing_down;
    if resource.tearing_down {
        says.push("it is being removed, and somebody still needs it".into());
    }
    for key in TROUBLE {
        let text = resource.text(&format!("/{key}"));
        if !text.is_empty() {
            says.push(text.to_owned());
            bad = true;
        }
    }
    for key in SAYS {
        let text = resource.text(&format!("/{key}"));
        if !text.is_empty() {
            says.push(if key == "reason" { text.to_owned() } else { format!("{key} {text}") });
            bad |= key != "reason" && BAD.contains(&text);
        }
    }
    for key in ["ready", "applied", "met"] {
        if resource.value.get(key) == Some(&Value::Bool(false)) {
            says.push(format!("not {key}"));
            bad = true;
        }
    }
    if let Some(problems) = resource.value.get("problems").and_then(Value::as_array).filter(|list| !list.is_empty()) {
        says.extend(problems.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned)));
        bad = true;
    }
    let document = resource.text("/origin/document");
    if !document.is_empty() {
        says.push(format!("from {document}, line {}", resource.number("/origin/line").unwrap_or(0)));
    }
    let role = if is_wanted(&resource.kind) { Role::Wanted } else { Role::Actual };
    Step { role, what: resource.name(), says, bad, resource: Some(resource) }
}

fn of_controller(controller: &Controller, upstream: bool) -> Step<'_> {
    let again = format!(
        "backing off: it tries again in {:.1} s",
        std::time::Duration::from_millis(controller.next_retry_ms).as_secs_f64()
    );
    let state = match controller.state() {
        State::Unspecified => "unknown",
        State::Waiting => "not started yet",
        State::Running => "at work",
        State::Idle => "done until something changes",
        State::Unready => "what it needs is not complete yet",
        State::BackingOff => &again,
        State::Stopped => "stopped",
    };
    let mut says = vec![state.to_owned()];
    if controller.failures > 0 {
        let times = if controller.failures == 1 { "once".into() } else { format!("{} times", controller.failures) };
        says.push(format!("failed {times}, last: {}", controller.last_error));
    }
    if upstream {
        says.push("others need what it writes".into());
    }
    let bad = matches!(controller.state(), State::BackingOff | State::Stopped);
    Step { role: Role::Controller, what: controller.name.clone(), says, bad, resource: None }
}

fn of_wait(wait: &Resource) -> Step<'_> {
    let seconds = |ms: u64| std::time::Duration::from_millis(ms).as_secs_f64();
    let since = seconds(wait.number("/sinceUptimeMs").unwrap_or(0));
    let until = match wait.number("/deadlineUptimeMs") {
        Some(deadline) => format!("since {since:.1} s after the start, until {:.1} s", seconds(deadline)),
        None => format!("since {since:.1} s after the start, without limit"),
    };
    let says = vec![wait.text("/reason").to_owned(), until];
    Step { role: Role::Waits, what: wait.text("/what").to_owned(), says, bad: true, resource: Some(wait) }
}

fn of_condition(condition: &Resource) -> Step<'_> {
    // The machine boots without a document that cannot be applied, and still that is what is wrong.
    let required = condition.value.get("required") == Some(&Value::Bool(true));
    let bad = required || condition.id.starts_with(OF_DOCUMENT);
    let says = vec![condition.text("/reason").to_owned()];
    Step { role: Role::Condition, what: condition.id.clone(), says, bad, resource: Some(condition) }
}

fn of_event(event: &Resource) -> Step<'_> {
    let at = std::time::Duration::from_millis(event.number("/uptimeMs").unwrap_or(0)).as_secs_f64();
    let what = format!("{at:.1} s, {}", event.text("/severity"));
    Step { role: Role::Event, what, says: vec![event.text("/message").to_owned()], bad: false, resource: Some(event) }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
