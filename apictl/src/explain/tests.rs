use serde_json::json;

use super::*;
use crate::explain::Role;

fn resource(kind: &str, id: &str, owner: &str, value: Value) -> Resource {
    Resource { kind: kind.into(), id: id.into(), owner: owner.into(), tearing_down: false, value }
}

fn controller(name: &str, state: State, watches: &[&str], owns: &[&str]) -> Controller {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Controller {
        name: name.into(),
        state: state.into(),
        watches: list(watches),
        owns: list(owns),
        ..Controller::default()
    }
}

/// A link whose MTU cannot be set, and another that is fine.
fn snapshot() -> Snapshot {
    let origin = json!({"document": "Link/eth0", "line": 12, "revision": 7});
    let apply = Controller {
        failures: 4,
        last_error: "cannot set the MTU of eth0: Invalid argument".into(),
        next_retry_ms: 3200,
        ..controller("network/apply", State::BackingOff, &["link-config"], &["route"])
    };
    Snapshot {
        types: Vec::new(),
        resources: vec![
            resource(
                "document",
                "Link/eth0",
                "configuration",
                json!({"kind": "Link", "name": "eth0", "line": 12, "revision": 7}),
            ),
            resource("document", "Hostname", "configuration", json!({"kind": "Hostname", "line": 1, "revision": 7})),
            resource(
                "config-status",
                "config",
                "configuration",
                json!({"state": "proving", "revision": 7, "reason": ""}),
            ),
            resource("link-config", "eth0", "network/config", json!({"mtu": 90000, "origin": origin})),
            resource("link", "eth0", "network/status", json!({"mtu": 1500, "state": "up"})),
            resource("link", "eth1", "network/status", json!({"mtu": 1500, "state": "up"})),
            resource("address", "eth0/192.0.2.5", "network/status", json!({"link": "eth0"})),
            resource("hostname", "hostname", "system/hostname", json!({"hostname": "a", "error": ""})),
            resource(
                "wait",
                "dhcp4/eth0",
                "network/dhcp4",
                json!({"what": "an IPv4 address for eth0", "reason": "no server", "sinceUptimeMs": 3100}),
            ),
            resource(
                "wait",
                "dhcp4/eth01",
                "network/dhcp4",
                json!({"what": "an IPv4 address for eth01", "reason": "no", "sinceUptimeMs": 1}),
            ),
            resource(
                "condition",
                "network",
                "network/ready",
                json!({"met": false, "required": false, "reason": "no address on eth0"}),
            ),
            resource(
                "event",
                "0000000001",
                "events",
                json!({"severity": "warning", "message": "eth0 lost its carrier.", "uptimeMs": 2000}),
            ),
        ],
        controllers: vec![
            controller("network/config", State::Idle, &["document"], &["link-config"]),
            controller("network/status", State::Idle, &["link-config"], &["link", "address"]),
            apply,
            controller("disk/inventory", State::BackingOff, &[], &["disk"]),
        ],
    }
}

fn chain(snapshot: &Snapshot, kind: &str, id: &str) -> Vec<String> {
    let explained = explain(snapshot, kind, id).expect("it is known");
    explained.steps.iter().map(|step| format!("{}: {}", step.role.name(), step.what)).collect()
}

#[test]
fn from_the_document_to_the_kernel() {
    let snapshot = snapshot();
    let wanted = [
        "document: Link/eth0",
        "configuration: configuration",
        "wanted: link-config eth0",
        "controller: network/status",
        "controller: network/config",
        "controller: network/apply",
        "is: link eth0",
        "is: address eth0/192.0.2.5",
        "waits for: an IPv4 address for eth0",
        "condition: network",
        "event: 2.0 s, warning",
    ];
    assert_eq!(chain(&snapshot, "link", "eth0"), wanted);
    let mut from_document = chain(&snapshot, "document", "Link/eth0");
    from_document.retain(|step| !step.starts_with("controller"));
    assert!(from_document.contains(&"wanted: link-config eth0".into()), "{from_document:?}");

    let explained = explain(&snapshot, "link", "eth0").unwrap();
    assert!(
        explained.problems[0].starts_with(
            "network/apply: backing off: it tries again in 3.2 s; failed 4 times, last: cannot set the MTU"
        )
    );
    assert!(explained.problems[1].contains("since 3.1 s after the start, without limit"));
    let value = super::super::document(Some("a"), &explained);
    assert_eq!((&value["node"], &value["chain"][2]["resource"]["value"]["mtu"]), (&json!("a"), &json!(90000)));
    assert_eq!(value["chain"][0]["says"][0], "line 12 of revision 7");
}

#[test]
fn an_address_and_a_route_lead_to_their_document() {
    let origin = json!({"document": "Link/eth0", "line": 12, "revision": 7});
    let mut snapshot = snapshot();
    let spec = json!({"link": "eth0", "origin": origin});
    snapshot.resources.push(resource("address-spec", "eth0/192.0.2.5", "network/merge", spec));
    // Its spec has an id of its own.
    let route = json!({"link": "eth0", "origin": "stele", "document": origin});
    snapshot.resources.push(resource("route", "eth0/::/0/514/fe80::1", "network/status", route));
    for (kind, id) in [("address", "eth0/192.0.2.5"), ("route", "eth0/::/0/514/fe80::1")] {
        let chain = chain(&snapshot, kind, id);
        assert_eq!(chain[0], "document: Link/eth0", "{chain:?}");
    }
}

#[test]
fn what_is_fine_has_no_problem_and_what_is_not_there_is_not_explained() {
    let snapshot = snapshot();
    let fine = explain(&snapshot, "hostname", "hostname").unwrap();
    assert_eq!((fine.problems.len(), fine.steps[0].role, &*fine.steps[0].what), (0, Role::Document, "Hostname"));
    let other = explain(&snapshot, "link", "eth1").unwrap();
    assert!(!other.steps.iter().any(|step| step.what.contains("eth0")), "{other:?}");
    assert_eq!(explain(&snapshot, "link", "eth9"), None);
}

#[test]
fn a_document_that_cannot_be_applied_is_trouble_of_its_own_and_of_no_other() {
    let document = |id: &str| resource("document", id, "configuration", json!({"line": 1, "revision": 7}));
    let failed = |id: &str, why: &str| {
        let value = json!({"met": false, "required": false, "reason": format!("{id}, line 1: {why}")});
        resource("condition", &format!("document/{id}"), "device/modules", value)
    };
    let spec = |id: &str| {
        let origin = json!({"document": format!("KernelModule/{id}"), "line": 1, "revision": 7});
        resource("kernel-module-spec", id, "device/modules", json!({"origin": origin}))
    };
    let resources = vec![
        document("KernelModule/dummy"),
        document("KernelModule/nbd"),
        document("Authority"),
        spec("dummy"),
        spec("nbd"),
        failed("KernelModule/nbd", "no such module"),
        failed("Authority", "the secret api-ca is no authority"),
    ];
    let snapshot = Snapshot { resources, ..Snapshot::default() };
    for (kind, id, wanted) in [
        ("document", "KernelModule/nbd", &["no such module"][..]),
        ("kernel-module-spec", "nbd", &["no such module"]),
        ("document", "Authority", &["no authority"]),
        ("kernel-module-spec", "dummy", &[]),
    ] {
        let problems = explain(&snapshot, kind, id).unwrap().problems;
        let right =
            problems.len() == wanted.len() && problems.iter().zip(wanted).all(|(said, part)| said.contains(part));
        assert!(right, "{kind} {id}: {problems:?}");
    }
}

#[test]
fn trouble_of_a_resource_is_found_in_its_words() {
    for (value, wanted) in [
        (json!({"error": "No such file"}), Some("No such file")),
        (json!({"state": "unusable", "reason": "an NTFS is on it"}), Some("an NTFS is on it; state unusable")),
        (json!({"applied": false}), Some("not applied")),
        (json!({"problems": ["no link called eth7"]}), Some("no link called eth7")),
        (json!({"state": "ambiguous", "reason": "2 links fit"}), Some("2 links fit; state ambiguous")),
        (json!({"validity": "over"}), Some("validity over")),
        (json!({"validity": "ends-soon"}), Some("validity ends-soon")),
        (json!({"validity": "not-yet"}), Some("validity not-yet")),
        (json!({"validity": "valid"}), None),
        (json!({"state": "used", "reason": "/dev/vdb", "error": ""}), None),
    ] {
        let one = Snapshot { resources: vec![resource("volume", "STATE", "disk/state", value)], ..Snapshot::default() };
        let explained = explain(&one, "volume", "STATE").unwrap();
        assert_eq!(explained.problems.first().map(|said| said.trim_start_matches("volume STATE: ")), wanted);
    }
}

#[test]
fn names_are_whole_words() {
    assert!(mentions("eth0 is up", "eth0") && mentions("lost eth0.", "eth0") && mentions("dhcp4/eth0", "eth0"));
    assert!(!mentions("eth01", "eth0") && !mentions("veth0", "eth0") && !mentions("eth0-a", "eth0"));
    assert_eq!((kebab("StaticHost"), stem("link-config")), ("static-host".into(), "link"));
}
