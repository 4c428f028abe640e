//! The page as lines for a serial port: only what is new, one fact in a line, so that people and programs can read it.

use std::collections::BTreeSet;

use super::view::{View, plain};

/// Shorter waits are not worth a line.
const LONG_MS: u64 = 5000;

/// What to say after `before` was said.
pub fn lines(before: &View, now: &View) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |line: String| lines.push(plain(&format!("stele: {line}")));
    if now.clock != before.clock && !now.clock.is_empty() {
        say(format!("started {}", now.clock));
    }
    if now.runs != before.runs && !now.runs.is_empty() {
        say(format!("runs {}", now.told()));
    } else if before.trial && !now.trial {
        say(format!("{} is proven", now.runs));
    }
    let shut: BTreeSet<&str> = before.gates.iter().map(|(name, ..)| name.as_str()).collect();
    for (name, asks, _) in now.gates.iter().filter(|(name, ..)| !shut.contains(name.as_str())) {
        say(format!("the trial waits for {name}: {asks}"));
    }
    if let Some((number, why)) = now.failed.as_ref().filter(|_| now.failed != before.failed) {
        say(format!("came back from generation {number}: {why}"));
    }
    if now.reset != before.reset {
        say(if now.reset.is_empty() { "reset: done".into() } else { now.reset.clone() });
    }
    if now.fingerprint != before.fingerprint && !now.fingerprint.is_empty() {
        say(format!("fingerprint {}", now.fingerprint));
    }
    for (link, address) in now.addresses.iter().filter(|address| !before.addresses.contains(address)) {
        say(format!("address {link} {address}"));
    }
    for (link, address) in before.addresses.iter().filter(|address| !now.addresses.contains(address)) {
        say(format!("address gone: {link} {address}"));
    }
    for (source, text) in now.sources.iter().filter(|source| !before.sources.contains(source)) {
        say(format!("config {source}: {text}"));
    }
    let told: BTreeSet<&str> = long(before).collect();
    for text in long(now).filter(|text| !told.contains(text)) {
        say(format!("waiting for {text}"));
    }
    if let Some((_, text)) = now.error.as_ref().filter(|_| now.error != before.error) {
        say(format!("error: {text}"));
    }
    if now.phase != before.phase {
        say(format!("phase {}", now.phase));
    }
    if now.cause != before.cause && !now.cause.is_empty() {
        say(format!("stopping: {}", now.cause));
    }
    if now.phase == "maintenance"
        && (now.phase != before.phase || now.hint(&now.fingerprint) != before.hint(&before.fingerprint))
        && let Some(hint) = now.hint(&now.fingerprint)
    {
        say(format!("try from another machine: {hint}"));
    }
    lines
}

fn long(view: &View) -> impl Iterator<Item = &str> {
    let waits = view.waits.iter().filter(|wait| view.now_ms.saturating_sub(wait.since_ms) >= LONG_MS);
    waits.map(|wait| wait.text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::console::view::Waiting;

    #[test]
    fn says_each_thing_once() {
        let mut now = View { phase: "booting".into(), fingerprint: "cd".repeat(32), ..View::default() };
        now.addresses = vec![("eth0".into(), "10.0.2.15/24".into())];
        let fingerprint = format!("stele: fingerprint {}", "cd".repeat(32));
        assert_eq!(
            lines(&View::default(), &now),
            [fingerprint.as_str(), "stele: address eth0 10.0.2.15/24", "stele: phase booting"]
        );
        assert!(lines(&now, &now).is_empty());
        let clock = View { clock: "1970-01-01 00:00 UTC".into(), ..now.clone() };
        assert_eq!(lines(&now, &clock), ["stele: started 1970-01-01 00:00 UTC"]);
        let trial = View {
            runs: "generation 2".into(),
            trial: true,
            gates: vec![("services".into(), "every service is well".into(), "gateway starts".into())],
            failed: Some((1, "late".into())),
            ..now.clone()
        };
        let said = [
            "stele: runs generation 2, on trial",
            "stele: the trial waits for services: every service is well",
            "stele: came back from generation 1: late",
        ];
        assert_eq!(lines(&now, &trial), said);
        let proven = View { trial: false, gates: vec![], ..trial.clone() };
        assert_eq!(lines(&trial, &proven), ["stele: generation 2 is proven"]);
        let mut found = now.clone();
        found.sources = vec![("nocloud".into(), "used /dev/vdb (user-data)".into())];
        assert_eq!(lines(&now, &found), ["stele: config nocloud: used /dev/vdb (user-data)"]);
        let mut later = now.clone();
        later.waits = vec![Waiting { text: "a disk: none is there".into(), since_ms: 0 }];
        later.now_ms = 4000;
        assert!(lines(&now, &later).is_empty());
        let mut long = later.clone();
        long.now_ms = 6000;
        assert_eq!(lines(&later, &long), ["stele: waiting for a disk: none is there"]);
        let mut stop = now.clone();
        stop.phase = "stopping".into();
        stop.cause = "Ctrl-Alt-Del".into();
        assert_eq!(lines(&now, &stop), ["stele: phase stopping", "stele: stopping: Ctrl-Alt-Del"]);
    }

    #[test]
    fn in_maintenance_it_says_how_to_reach_it() {
        let before = View { phase: "booting".into(), ..View::default() };
        let mut now = View { phase: "maintenance".into(), fingerprint: "ab".into(), ..View::default() };
        now.addresses = vec![("eth0".into(), "fe80::1/64".into())];
        let said = lines(&before, &now);
        assert_eq!(
            said.last().unwrap(),
            "stele: try from another machine: apictl -e '[fe80::1%LINK]:50000' --fingerprint ab version"
        );
    }
}
