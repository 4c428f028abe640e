//! Patches do what they say, and leave the rest as it was written.

use serde_json::{Value, json as value};

use super::{Error, json, one, parsed, strategic};
use crate::yaml::stream;

const TEXT: &str = "\
# Our machine.
apiVersion: stele/v1
kind: Hostname
hostname: web-1   # by hand
---
# The uplink.
apiVersion: stele/v1
kind: Link
name: eth0
addresses:
# first
- 192.0.2.5/24   # office
- 192.0.2.6/24
routes:
- to: default
  via: 192.0.2.1   # gateway
- { to: 198.51.100.0/24, via: 192.0.2.2 }
match:
  driver: virtio_net # all of them
---
apiVersion: stele/v1
kind: Sysctl
name: a
settings:
  vm.x: 1 # one
";

#[test]
fn one_document_comes_out_as_it_was_written() {
    assert_eq!(one(TEXT, "Hostname").unwrap(), TEXT.split("---\n").next().unwrap());
    let link = one(TEXT, "Link/eth0").unwrap();
    assert!(link.starts_with("# The uplink.\n") && link.ends_with("# all of them\n"), "{link}");
    let error = one(TEXT, "Link/eth1").unwrap_err().to_string();
    assert_eq!(error, "there is no document Link/eth1: expected one of Hostname, Link/eth0, Sysctl/a");
}

fn documents(text: &str) -> Vec<Value> {
    let (trees, problems) = stream::read(text);
    assert!(problems.is_empty(), "{problems:?}\n{text}");
    trees.iter().map(|tree| tree.value.to_json()).filter(|json| !json.is_null()).collect()
}

#[test]
fn what_is_not_touched_keeps_its_comments() {
    let patch = "kind: Hostname\nhostname: web-2\n---\nkind: Link\nname: eth0\nmtu: 9000\nroutes:\n- { to: default, metric: 5 }\n- { to: 203.0.113.0/24, via: 192.0.2.9 }\n---\nkind: Sysctl\nname: a\nsettings: { vm.y: 2 }\n";
    let text = strategic(TEXT, patch).unwrap();
    for kept in ["# Our machine.", "# The uplink.", "# first", "# office", "# gateway", "# all of them", "# one"] {
        assert!(text.contains(kept), "{kept} is gone\n{text}");
    }
    let found = documents(&text);
    assert_eq!(found[0]["hostname"], "web-2");
    assert_eq!(found[1]["mtu"], 9000);
    let routes = value!([
        { "to": "default", "via": "192.0.2.1", "metric": 5 },
        { "to": "198.51.100.0/24", "via": "192.0.2.2" },
        { "to": "203.0.113.0/24", "via": "192.0.2.9" },
    ]);
    assert_eq!(found[1]["routes"], routes, "{text}");
    assert_eq!(found[2]["settings"], value!({ "vm.x": 1, "vm.y": 2 }));
}

#[test]
fn every_kind_of_strategic_change() {
    let link =
        |patch: &str| documents(&strategic(TEXT, &format!("kind: Link\nname: eth0\n{patch}")).unwrap()).remove(1);
    assert_eq!(link("addresses: [192.0.2.7/24]")["addresses"], value!(["192.0.2.7/24"]), "lists are replaced");
    assert_eq!(link("addresses: null").get("addresses"), None);
    assert_eq!(link("match: { mac: x }")["match"], value!({ "driver": "virtio_net", "mac": "x" }));
    assert_eq!(link("match: { $patch: replace, mac: x }")["match"], value!({ "mac": "x" }));
    assert_eq!(link("match: { $patch: delete }").get("match"), None);
    assert_eq!(link("routes: [{ $patch: delete, to: default }]")["routes"].as_array().unwrap().len(), 1);
    assert_eq!(link("routes: [{ $patch: replace }, { to: default }]")["routes"], value!([{ "to": "default" }]));

    let text = strategic(TEXT, "kind: Sysctl\nname: a\n$patch: delete\n").unwrap();
    assert_eq!(documents(&text).len(), 2, "{text}");
    assert!(text.contains("# The uplink."));
    let text = strategic(TEXT, "kind: Hostname\n$patch: delete\n").unwrap();
    assert_eq!(documents(&text).len(), 2, "{text}");
    let text = strategic(TEXT, "apiVersion: stele/v1\nkind: Time\nservers: [a]\n").unwrap();
    assert_eq!(documents(&text)[3], value!({ "apiVersion": "stele/v1", "kind": "Time", "servers": ["a"] }));
    assert_eq!(strategic(TEXT, "").unwrap(), TEXT);
    assert_eq!(documents(&strategic("", "kind: Time\nservers: [a]\n").unwrap()).len(), 1);
}

#[test]
fn of_several_routes_to_one_network_the_one_that_is_meant_changes() {
    let text = "apiVersion: stele/v1\nkind: Link\nname: eth0\nroutes:\n- { to: default, via: 192.0.2.1 }\n\
                - { to: default, via: '2001:db8::1' }\n- { to: default, via: 192.0.2.9, metric: 9 }\n";
    let [v4, v6, slow] = [
        value!({"to": "default", "via": "192.0.2.1"}),
        value!({"to": "default", "via": "2001:db8::1"}),
        value!({"to": "default", "via": "192.0.2.9", "metric": 9}),
    ];
    let patched = |item: &str| strategic(text, &format!("kind: Link\nname: eth0\nroutes: [{item}]"));
    let routes = |item: &str| documents(&patched(item).unwrap())[0]["routes"].clone();
    let other = value!({"to": "default", "via": "2001:db8::2"});
    assert_eq!(routes("{to: default, via: '2001:db8::2'}"), value!([v4, other, slow]));
    assert_eq!(routes("{to: default, via: 192.0.2.9, metric: 9}"), value!([v4, v6, slow]));
    assert_eq!(routes("{to: default, metric: 9, $patch: delete}"), value!([v4, v6]));
    assert_eq!(routes("{to: default, via: 192.0.2.9, $patch: delete}"), value!([v4, v6]), "not the one without metric");
    assert_eq!(routes("{to: default, via: 192.0.2.254, $patch: delete}"), value!([v4, v6, slow]), "nothing has it");
    assert_eq!(routes("{to: default, via: '2001:db8::1', $patch: delete}"), value!([v4, slow]));
    let another = value!({"to": "default", "via": "192.0.2.5", "metric": 5});
    let first = value!({"to": "default", "via": "192.0.2.5", "metric": 9});
    assert_eq!(routes("{to: default, via: 192.0.2.5, metric: 9}"), value!([v4, v6, first]));
    let alone = "kind: Link\nname: eth0\nroutes: [{to: default, via: 192.0.2.1, metric: 9}]";
    let added = strategic(alone, "kind: Link\nname: eth0\nroutes: [{to: default, via: 192.0.2.5, metric: 5}]").unwrap();
    assert_eq!(documents(&added)[0]["routes"][1], another);
    // A document over itself changes nothing.
    assert_eq!(strategic(text, text).unwrap(), text);
    for item in ["{to: default, $patch: delete}", "{to: default, metric: 7}"] {
        let refused = patched(item).unwrap_err().to_string();
        assert!(refused.contains("Link/eth0 stays as it is: routes: several fit to: \"default\""), "{refused}");
    }
}

#[test]
fn operations_of_rfc_6902() {
    let text = json(TEXT, "Link/eth0", r#"[{"op":"test","path":"/name","value":"eth0"},{"op":"add","path":"/addresses/-","value":"192.0.2.7/24"},{"op":"remove","path":"/match"},{"op":"replace","path":"/routes/0/via","value":"192.0.2.254"}]"#).unwrap();
    let found = documents(&text);
    assert_eq!(found[1]["addresses"], value!(["192.0.2.5/24", "192.0.2.6/24", "192.0.2.7/24"]));
    assert_eq!(found[1].get("match"), None);
    assert!(text.contains("# office") && text.contains("# one"), "{text}");
    // A slash in a key is written ~1.
    let text = json(TEXT, "Sysctl/a", "- { op: add, path: /settings/net~1x, value: 1 }").unwrap();
    assert_eq!(documents(&text)[2]["settings"]["net/x"], 1, "{text}");
}

#[test]
fn what_cannot_be_done_says_why() {
    let error = json(TEXT, "Link/eth1", "[]").unwrap_err().to_string();
    assert_eq!(error, "there is no document Link/eth1: expected one of Hostname, Link/eth0, Sysctl/a");
    let refused = json(TEXT, "Hostname", r#"[{"op":"test","path":"/hostname","value":"web-9"}]"#).unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    assert!(matches!(json(TEXT, "Hostname", r#"[{"op":"jump","path":"/x"}]"#), Err(Error::Operations(_))));
    assert!(matches!(strategic(TEXT, "hostname: a"), Err(Error::Which(1))));
    assert!(matches!(strategic(TEXT, "{"), Err(Error::Patch(_))));
    assert!(matches!(strategic("{", "kind: Time"), Err(Error::Text(_))));
    assert!(matches!(strategic(TEXT, "kind: Time\n$patch: delete"), Err(Error::NoDocument { .. })));
}

fn json_value() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z#: ]{0,6}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,3}", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn document() -> impl proptest::strategy::Strategy<Value = Value> {
    use proptest::prelude::*;
    prop::collection::btree_map("(routes|[a-z]{1,3})", json_value(), 0..6).prop_map(|m| {
        let mut map: serde_json::Map<_, _> = m.into_iter().collect();
        map.insert("kind".into(), "Link".into());
        map.insert("name".into(), "eth0".into());
        Value::Object(map)
    })
}

proptest::proptest! {
    #[test]
    fn laws_of_merging(old in document(), new in document()) {
        let (old, patch) = (crate::document::write(&old), crate::document::write(&new));
        let once = strategic(&old, &patch).unwrap();
        // What a patch says holds after it, and a second time it changes nothing.
        let merged = parsed(&once).unwrap();
        for (key, value) in new.as_object().unwrap() {
            if !value.is_object() && key != "routes" {
                proptest::prop_assert_eq!(&merged[key], value);
            }
        }
        proptest::prop_assert_eq!(strategic(&once, &patch).unwrap(), once);
        // Nothing changes nothing, and a document put over itself is itself.
        proptest::prop_assert_eq!(&strategic(&old, "").unwrap(), &old);
        proptest::prop_assert_eq!(&strategic(&old, &old).unwrap(), &old);
    }
}

fuzz::targets! {
    patches: |bytes| {
        let Ok(text) = str::from_utf8(bytes) else { return };
        let Some((text, patch)) = text.split_once("\n====\n") else { return };
        for result in [strategic(text, patch), json(text, "Link/eth0", patch)] {
            let Ok(patched) = result else { continue };
            let (_, problems) = stream::read(&patched);
            assert!(problems.is_empty(), "{problems:?}\n{patched}");
        }
    },
}
