use serde_json::json;

use super::*;

/// The documents, or what is wrong.
fn turned(text: &str) -> Result<Vec<Value>, String> {
    let documents = documents(text).map_err(|problems| problems.to_string())?;
    let whole: Vec<_> = documents.iter().map(Document::whole).collect();
    // What comes out is right in the eyes of the documents' own checks.
    let text: Vec<_> = whole.iter().map(Value::to_string).collect();
    config::parse(&text.join("\n---\n")).map_err(|problems| format!("{text:?}: {problems}"))?;
    Ok(whole)
}

/// A document, by its kind, its name and its fields beside the usual ones.
fn document(kind: &str, name: &str, fields: Value) -> Value {
    let mut whole = json!({"apiVersion": "stele/v1", "kind": kind, "name": name});
    if kind == "Link" {
        whole["up"] = true.into();
    }
    whole["dhcp4"] = false.into();
    whole["dhcp6"] = false.into();
    whole["acceptRa"] = true.into();
    for (key, value) in fields.as_object().unwrap() {
        whole[key] = value.clone();
    }
    whole
}

#[test]
fn version_2() {
    let text = r#"
network:
  version: 2
  renderer: networkd
  ethernets:
    id0:
      match: {macaddress: "52:54:00:12:34:56"}
      set-name: eth0
      wakeonlan: true
      dhcp4: true
      dhcp4-overrides: {route-metric: 50, use-hostname: false, use-ntp: true}
    eth1:
      addresses: [192.0.2.5/24, "2001:db8::5/64"]
      gateway4: 192.0.2.1
      routes:
      - {to: 198.51.100.7, via: 192.0.2.2, metric: 7}
      nameservers: {addresses: [192.0.2.53], search: [example.com.]}
      accept-ra: false
      optional: true
    a: {}
    b: {mtu: 9000}
  bonds:
    bond0:
      interfaces: [a, b, id0]
      parameters: {mode: 802.3ad, mii-monitor-interval: 50, lacp-rate: fast, transmit-hash-policy: layer3+4}
  vlans:
    vlan7: {id: 7, link: bond0, dhcp6: true}
"#;
    let routes =
        json!([{"to": "default", "via": "192.0.2.1"}, {"to": "198.51.100.7/32", "via": "192.0.2.2", "metric": 7}]);
    let bond = json!({
        "links": ["a", "b", "eth0"], "mode": "802.3ad", "miimon": 50, "lacpRate": "fast", "hashPolicy": "layer3+4",
    });
    let matched = json!({"match": {"mac": "52:54:00:12:34:56"}, "dhcp4": true, "metric": 50, "acceptRa": false});
    let fixed = json!({"addresses": ["192.0.2.5/24", "2001:db8::5/64"], "routes": routes, "acceptRa": false});
    let wanted = [
        document("Link", "a", json!({"acceptRa": false})),
        document("Link", "b", json!({"acceptRa": false, "mtu": 9000})),
        document("Link", "eth1", fixed),
        document("Link", "eth0", matched),
        document("Bond", "bond0", bond),
        document("Vlan", "vlan7", json!({"link": "bond0", "id": 7, "dhcp6": true})),
        json!({"apiVersion": "stele/v1", "kind": "Resolver", "servers": ["192.0.2.53"], "search": ["example.com"]}),
    ];
    assert_eq!(turned(text).unwrap(), wanted);
}

#[test]
fn what_version_2_says_of_what_is_so_anyway_changes_nothing() {
    let text = r#"
version: 2
ethernets:
  eth0:
    dhcp4: true
    dhcp4-overrides: {use-dns: true, use-routes: true, use-mtu: true}
    link-local: [ipv6]
    dhcp6-overrides: {use-dns: false}
    nameservers: {addresses: [192.0.2.53]}
    addresses: [192.0.2.5/24]
    routes:
    - {to: default, via: 172.31.1.1, on-link: true}
    - {to: 198.51.100.0/24, via: 172.31.1.1, on-link: true}
    - {to: 203.0.113.0/24, via: 192.0.2.1, on-link: true}
    - {to: "::/0", via: "fe80::1", on-link: true}
    - {to: 10.0.0.0/8, via: 192.0.2.2, on-link: false}
"#;
    let routes = json!([
        {"to": "172.31.1.1/32"},
        {"to": "default", "via": "172.31.1.1"},
        {"to": "198.51.100.0/24", "via": "172.31.1.1"},
        {"to": "203.0.113.0/24", "via": "192.0.2.1"},
        {"to": "default", "via": "fe80::1"},
        {"to": "10.0.0.0/8", "via": "192.0.2.2"},
    ]);
    let fields = json!({"dhcp4": true, "addresses": ["192.0.2.5/24"], "routes": routes});
    let resolver = json!({"apiVersion": "stele/v1", "kind": "Resolver", "servers": ["192.0.2.53"]});
    assert_eq!(turned(text).unwrap(), [document("Link", "eth0", fields), resolver]);
}

#[test]
fn version_1() {
    let text = r#"
version: 1
config:
- type: physical
  name: eth0
  mac_address: 52:54:00:12:34:56
  subnets:
  - {type: static, address: 192.0.2.5, netmask: 255.255.255.0, gateway: 192.0.2.1, dns_nameservers: [192.0.2.53]}
  - {type: ipv6_slaac}
- {type: physical, name: eth1}
- {type: physical, name: eth2, mtu: 9000, subnets: [{type: dhcp}]}
- type: bond
  name: bond0
  bond_interfaces: [eth1]
  params: {bond-mode: active-backup, bond_miimon: "50", bond-primary: eth1}
- {type: vlan, name: bond0.7, vlan_link: bond0, vlan_id: 7, subnets: [{type: dhcp6}]}
- {type: nameserver, address: 192.0.2.54, search: [example.com, example.org]}
- {type: route, destination: 198.51.100.0, netmask: 24, gateway: 192.0.2.9}
- {type: loopback, name: lo, subnets: [{type: loopback, dns_nameservers: [192.0.2.55]}]}
"#;
    let fixed = json!({
        "match": {"mac": "52:54:00:12:34:56"},
        "addresses": ["192.0.2.5/24"],
        "routes": [{"to": "default", "via": "192.0.2.1"}, {"to": "198.51.100.0/24", "via": "192.0.2.9"}],
    });
    let bond = json!({"links": ["eth1"], "mode": "active-backup", "miimon": 50, "primary": "eth1"});
    let resolver = json!({
        "apiVersion": "stele/v1", "kind": "Resolver",
        "servers": ["192.0.2.53", "192.0.2.54", "192.0.2.55"], "search": ["example.com", "example.org"],
    });
    let wanted = [
        document("Link", "eth0", fixed),
        document("Link", "eth1", json!({"acceptRa": false})),
        document("Link", "eth2", json!({"dhcp4": true, "mtu": 9000})),
        document("Bond", "bond0", bond),
        document("Vlan", "bond0.7", json!({"link": "bond0", "id": 7, "dhcp6": true})),
        resolver,
    ];
    assert_eq!(turned(text).unwrap(), wanted);
}

#[test]
fn what_is_not_understood_is_refused_where_it_stands() {
    for (text, wanted) in [
        ("ethernets: {}", "version is missing"),
        ("version: 3", "line 1, column 10: version: expected 1 or 2"),
        (
            "version: 2\nethernets:\n  eth0:\n    dhcp5: true\n",
            "line 4, column 5: ethernets.eth0.dhcp5: Stele does not know this key",
        ),
        ("version: 2\nbridges:\n  br0: {}\n", "line 2, column 1: bridges: Stele has no document"),
        ("version: 2\nethernets:\n  eth0:\n    match: {name: 'en*'}\n", "ethernets.eth0.match.name: patterns"),
        ("version: 2\nethernets:\n  eth0:\n    set-name: lan\n", "ethernets.eth0.set-name: Stele renames no link"),
        ("version: 2\nethernets:\n  eth0:\n    addresses: [192.0.2.300/24]\n", "ethernets.eth0.addresses[0]"),
        ("version: 2\nethernets:\n  eth0:\n    routes: [{to: x}]\n", "ethernets.eth0.routes[0].to: expected a network"),
        (
            "version: 2\nethernets:\n  eth0:\n    dhcp4-overrides: {use-ntp: false}\n",
            "ethernets.eth0.dhcp4-overrides.use-ntp: Stele asks the time servers that DHCP names",
        ),
        (
            "version: 2\nethernets:\n  eth0:\n    dhcp6-overrides: {use-ntp: true, use-hostname: true}\n",
            "ethernets.eth0.dhcp6-overrides.use-hostname: Stele takes no host name",
        ),
        (
            "version: 2\nethernets:\n  eth0:\n    dhcp4-overrides: {use-dns: false}\n",
            "ethernets.eth0.dhcp4-overrides.use-dns: Stele takes what DHCP says of it: write nameservers",
        ),
        ("version: 2\nethernets:\n  eth0:\n    link-local: []\n", "ethernets.eth0.link-local: Stele's links have"),
        (
            "version: 2\nbonds:\n  b:\n    parameters: {arp-interval: 1}\n",
            "bonds.b.parameters.arp-interval: Stele does not",
        ),
        ("version: 2\nvlans:\n  v: {id: 5}\n", "vlans.v: expected id (the tag) and link"),
        ("version: 1\nconfig: disabled\n", "config"),
        ("version: 1\nconfig:\n- type: bridge\n  name: br0\n", "config[0].type: Stele has no document"),
        ("version: 1\nconfig:\n- type: tunnel\n", "config[0].type"),
        ("version: 1\nconfig:\n- type: physical\n", "config[0]: the field name is missing"),
        (
            "version: 1\nconfig:\n- type: physical\n  name: a\n  subnets: [{type: static}]\n",
            "config[0].subnets[0]: expected address",
        ),
        (
            "version: 1\nconfig:\n- type: physical\n  name: a\n  subnets: [{type: x}]\n",
            "config[0].subnets[0].type: expected dhcp",
        ),
        (
            "version: 1\nconfig:\n- {type: route, destination: default, gateway: 192.0.2.1}\n",
            "in the network of no link",
        ),
        (
            "version: 1\nconfig:\n- {type: route, destination: 198.51.100.0, gateway: 192.0.2.1}\n",
            "config[0]: expected destination (with netmask)",
        ),
        (
            "version: 1\nconfig:\n- type: physical\n  name: a\n  subnets:\n  - {type: dhcp, routes: [{destination: 10.0.0.0, gateway: 10.1.0.1}]}\n",
            "config[0].subnets[0].routes[0]: expected destination as",
        ),
        (
            "version: 1\nconfig:\n- type: physical\n  name: a\n  subnets: [{type: ipv6_dhcpv6-stateless}]\n",
            "config[0].subnets[0].type: Stele takes nothing by DHCPv6 without an address",
        ),
        (
            "version: 1\nconfig:\n- type: loopback\n  name: lo\n  subnets: [{type: static, address: 10.9.0.1/32}]\n",
            "config[0].subnets[0]: Stele gives lo no addresses",
        ),
        ("version: 1\nethernets: {a: {}}\n", "belong to version 2"),
        ("a: [", "line 1"),
        ("version: 2\n---\nversion: 2\n", "one document only"),
    ] {
        let said = turned(text).unwrap_err();
        assert!(said.contains(wanted), "{text}\nsays\n{said}\nand not\n{wanted}");
    }
    assert!(documents("").unwrap().is_empty());
    assert!(documents("version: 2\nethernets: {}\n").unwrap().is_empty());
}

fuzz::targets! {
    network_config: |bytes| drop(documents(&String::from_utf8_lossy(bytes))),
}
