//! Documents as people write them, and what they mean on a machine of a table.

use config::Kind;
use reconcile::{Store, run_cycle};

use super::*;
use crate::documents::Configured;
use crate::resources::document::Document;
use crate::resources::link::{LinkKind, OperState};
use crate::resources::origin::Origin;
use crate::resources::virtual_link::{BondMode, Virtual};

fn parse<K: Kind>(text: &str) -> Vec<Configured<K>> {
    let stream = config::parse(text).unwrap_or_else(|problems| panic!("{problems:?}"));
    let of = stream.documents.of::<K>();
    of.map(|(document, body)| Configured {
        name: document.name.clone().unwrap_or_default(),
        origin: Origin { document: document.id(), line: document.at.line, revision: 1 },
        body: body.clone(),
    })
    .collect()
}

fn wanted(text: &str) -> Wanted {
    let documents: Vec<String> =
        text.split("---").map(|text| format!("apiVersion: stele/v1\n{}", text.trim_start())).collect();
    let text = documents.join("\n---\n");
    Wanted { links: parse(&text), bonds: parse(&text), vlans: parse(&text), resolver: parse(&text).into_iter().next() }
}

fn card(index: u32, mac: &str) -> Link {
    Link {
        index,
        kind: LinkKind::Physical,
        virtual_kind: String::new(),
        mac: mac.into(),
        permanent_mac: mac.into(),
        mtu: 1500,
        up: true,
        carrier: true,
        carrier_losses: 0,
        oper_state: OperState::Up,
        controller: None,
        active_port: None,
        made: None,
        driver: "virtio_net".into(),
        bus_path: format!("pci-0000:00:0{index}.0"),
        speed_mbps: None,
        parent: None,
        origin: None,
    }
}

fn machine() -> BTreeMap<String, Link> {
    let mut second = card(3, "52:54:00:00:00:01");
    // It is a port: it shows the address of the bond.
    second.permanent_mac = "52:54:00:00:00:02".into();
    [("eth0".into(), card(2, "52:54:00:00:00:01")), ("eth1".into(), second)].into()
}

fn concluded(text: &str) -> conclude::Concluded {
    conclude(&wanted(text), &machine(), &NetworkRefusal::default())
}

#[test]
fn a_selector_finds_one_card_or_says_why_not() {
    use DocumentState::{Ambiguous, Applied, Waiting};
    for (selector, link, state, reason) in [
        ("mac: 52:54:00:00:00:02", Some("eth1"), Applied, ""),
        ("mac: 52-54-00-00-00-01", Some("eth0"), Applied, ""),
        ("busPath: 0000:00:03.0", Some("eth1"), Applied, ""),
        ("busPath: pci-0000:00:03.0", Some("eth1"), Applied, ""),
        ("driver: virtio_net", None, Ambiguous, "2 links fit its match: eth0, eth1; add to it what only one has"),
        ("driver: e1000", None, Waiting, "no link has the driver e1000"),
        ("{driver: virtio_net, mac: 52:54:00:00:00:02}", Some("eth1"), Applied, ""),
        (
            "{driver: e1000, mac: 52:54:00:00:00:02}",
            None,
            Waiting,
            "no link has the hardware address 52:54:00:00:00:02 and the driver e1000",
        ),
    ] {
        let selector = if selector.starts_with('{') { selector.into() } else { format!("{{{selector}}}") };
        let selector = selector.replace("mac: ", "mac: \"").replace("busPath: ", "busPath: \"");
        let selector = if selector.contains('"') { selector.replace('}', "\"}") } else { selector };
        let concluded = concluded(&format!("kind: Link\nname: uplink\nmatch: {selector}\naddresses: [10.0.0.5/24]\n"));
        let document = &concluded.documents["Link/uplink"];
        assert_eq!((document.state, document.reason.as_str()), (state, reason), "{selector}");
        assert_eq!(concluded.configs.keys().next().map(String::as_str), link, "{selector}");
    }
}

#[test]
fn a_static_link_asks_nobody_and_routes_by_its_gateway() {
    let text = "kind: Link\nname: eth0\naddresses: [10.0.0.5/24, \"2001:db8::5/64\"]\nmetric: 7\nroutes:\n\
                - {to: default, via: 10.0.0.1}\n- {to: default, via: \"fe80::1\"}\n- {to: 10.9.0.0/16}\n\
                - {to: 10.8.0.0/16, via: 172.31.1.1, metric: 9}\n";
    let config = &concluded(text).configs["eth0"];
    assert_eq!(
        (config.up, config.dhcp4, config.dhcp6, config.accept_ra),
        (Some(true), Some(false), Some(false), Some(true))
    );
    let routes: Vec<String> = config
        .routes
        .iter()
        .map(|route| {
            format!(
                "{} {} {}",
                route.destination,
                route.gateway.map(|g| g.to_string()).unwrap_or_default(),
                route.metric.unwrap_or(0)
            )
        })
        .collect();
    // The gateway that is nowhere near is put on the link first.
    let expected =
        ["172.31.1.1/32  7", "0.0.0.0/0 10.0.0.1 7", "::/0 fe80::1 7", "10.9.0.0/16  7", "10.8.0.0/16 172.31.1.1 9"];
    assert_eq!(routes, expected);
    assert_eq!(config.origin.as_ref().unwrap().document, "Link/eth0");
}

#[test]
fn of_two_documents_for_one_link_the_first_counts_and_both_are_named() {
    let text = "kind: Link\nname: b\nmatch: {busPath: \"0000:00:02.0\"}\naddresses: [10.0.0.5/24]\n---\n\
                kind: Link\nname: a\nmatch: {mac: \"52:54:00:00:00:01\"}\naddresses: [10.0.0.6/24]\n";
    let concluded = concluded(text);
    let reason = "Link/b and Link/a both speak of eth0; Link/b counts: take one of them away, or select more narrowly";
    let (a, b) = (&concluded.documents["Link/a"], &concluded.documents["Link/b"]);
    // In the order of the documents as they are given, which the store makes that of their names.
    assert_eq!((b.state, a.state), (DocumentState::Applied, DocumentState::Conflict));
    assert_eq!((a.reason.as_str(), b.reason.as_str()), (reason, reason));
    assert_eq!(concluded.configs["eth0"].addresses[0].to_string(), "10.0.0.5/24");
}

#[test]
fn routes_of_documents_come_before_what_the_network_names() {
    let text = "kind: Link\nname: eth0\naddresses: [10.0.0.5/24]\nroutes:\n- {to: default, via: 10.0.0.1}\n---\n\
                kind: Link\nname: eth1\nroutes:\n- {to: default, via: \"fe80::1\"}\n- {to: 10.9.0.0/16, metric: 2000}\n";
    let concluded = concluded(text);
    let metrics = |link: &str| concluded.configs[link].routes.iter().map(|route| route.metric).collect::<Vec<_>>();
    assert_eq!((metrics("eth0"), metrics("eth1")), (vec![Some(514)], vec![Some(515), Some(2000)]));
    // Those of DHCP keep the link's.
    assert_eq!(concluded.configs["eth0"].metric, None);
}

const BOND: &str = "kind: Bond\nname: bond0\nlinks: [eth0, second]\nmode: active-backup\nprimary: second\ndhcp4: false\n---\n\
                    kind: Link\nname: second\nmatch: {mac: \"52:54:00:00:00:02\"}\n---\n\
                    kind: Vlan\nname: vlan5\nlink: bond0\nid: 5\naddresses: [10.5.0.2/24]\n";

#[test]
fn a_vlan_over_a_bond_of_a_selected_link() {
    let concluded = concluded(BOND);
    let Some(Virtual::Bond(bond)) = &concluded.configs["bond0"].make else { panic!("{concluded:?}") };
    assert_eq!((bond.mode, bond.primary.as_deref()), (BondMode::ActiveBackup, Some("eth1")));
    for port in ["eth0", "eth1"] {
        let config = &concluded.configs[port];
        assert_eq!((config.controller.as_deref(), config.dhcp4, config.mtu), (Some("bond0"), Some(false), None));
    }
    assert_eq!(concluded.configs["eth0"].origin.as_ref().unwrap().document, "Bond/bond0");
    assert_eq!(concluded.configs["eth1"].origin.as_ref().unwrap().document, "Link/second");
    let vlan = &concluded.documents["Vlan/vlan5"];
    assert_eq!((vlan.state, vlan.reason.as_str()), (DocumentState::Waiting, "bond0, which it is on, is not there"));
    assert_eq!(concluded.documents["Bond/bond0"].state, DocumentState::Applied);
    assert_eq!(concluded.modules.keys().copied().collect::<Vec<_>>(), ["8021q", "bonding"]);
    assert_eq!(concluded.modules["bonding"].parameters["max_bonds"], "0");
}

#[test]
fn a_port_that_is_made_is_made_all_the_same() {
    let mut there = machine();
    for (index, name, kind) in [(4, "a", "bond"), (5, "vlan5", "vlan")] {
        there.insert(name.into(), Link { kind: LinkKind::Virtual, virtual_kind: kind.into(), ..card(index, "") });
    }
    let mut wanted = wanted(
        "kind: Vlan\nname: vlan5\nlink: eth0\nid: 5\n---\nkind: Bond\nname: a\nlinks: [eth1]\n---\n\
         kind: Bond\nname: b\nlinks: [vlan5]\n",
    );
    // A bond in a bond is refused when documents are parsed; whatever comes here, no link is made and deleted in turns.
    wanted.bonds[1].body.links.push("a".into());
    let concluded = conclude(&wanted, &there, &NetworkRefusal::default());
    for port in ["vlan5", "a"] {
        let config = &concluded.configs[port];
        assert_eq!((config.controller.as_deref(), config.make.is_some()), (Some("b"), true), "{port}");
    }
    assert_eq!(concluded.configs["eth1"].controller.as_deref(), Some("a"));
}

#[test]
fn what_cannot_be_is_told_and_the_rest_goes_on() {
    use DocumentState::{Conflict, Waiting};
    for (text, document, state, reason, links) in [
        (
            "kind: Bond\nname: bond0\nlinks: [eth0, eth7]\n",
            "Bond/bond0",
            Waiting,
            "eth7, a link of it, is not there",
            vec!["bond0", "eth0"],
        ),
        (
            "kind: Bond\nname: eth1\nlinks: [eth0]\n",
            "Bond/eth1",
            Conflict,
            "there is a link eth1 already, which is a device: give the bond another name",
            vec![],
        ),
        (
            "kind: Bond\nname: bond0\nlinks: [gone]\n---\nkind: Link\nname: gone\nmatch: {driver: e1000}\n",
            "Bond/bond0",
            Waiting,
            "Link/gone, which it names, stands for no link",
            vec!["bond0"],
        ),
        (
            "kind: Bond\nname: bond0\nlinks: [one]\n---\nkind: Bond\nname: bond1\nlinks: [eth0]\n---\n\
             kind: Link\nname: one\nmatch: {mac: \"52:54:00:00:00:01\"}\n",
            "Bond/bond1",
            Conflict,
            "eth0 is a link of bond0 already, which counts: take it out of one of them",
            vec!["bond0", "bond1", "eth0"],
        ),
        (
            "kind: Bond\nname: bond0\nlinks: [eth0]\n---\nkind: Link\nname: eth0\naddresses: [10.0.0.5/24]\n",
            "Link/eth0",
            Conflict,
            "eth0 is a link of bond0, so its addresses, routes and another mtu do not count: move them there",
            vec!["bond0", "eth0"],
        ),
        (
            "kind: Bond\nname: bond0\nlinks: [eth0]\n---\nkind: Link\nname: eth0\nmtu: 9000\n",
            "Link/eth0",
            Conflict,
            "eth0 is a link of bond0, so its addresses, routes and another mtu do not count: move them there",
            vec!["bond0", "eth0"],
        ),
    ] {
        let concluded = concluded(text);
        let found = &concluded.documents[document];
        assert_eq!((found.state, found.reason.as_str()), (state, reason));
        assert_eq!(concluded.configs.keys().map(String::as_str).collect::<Vec<_>>(), links);
    }
}

#[test]
fn servers_that_nobody_reads_are_named() {
    for (servers, search, reason) in [
        (3, 6, ""),
        (4, 6, "of 4 servers the first 3 count: most resolvers read no more"),
        (
            5,
            7,
            "of 5 servers the first 3 count: most resolvers read no more; of 7 search domains the first 6 count: most \
             resolvers read no more",
        ),
    ] {
        let list = |count, name: &dyn Fn(u32) -> String| (1..=count).map(name).collect::<Vec<_>>().join(", ");
        let servers = list(servers, &|i| format!("192.0.2.{i}"));
        let search = list(search, &|i| format!("a{i}.example"));
        let concluded = concluded(&format!("kind: Resolver\nservers: [{servers}]\nsearch: [{search}]\n"));
        let document = &concluded.documents["Resolver"];
        assert_eq!((document.state, document.reason.as_str()), (DocumentState::Applied, reason));
    }
}

#[test]
fn what_the_kernel_refused_is_told_at_the_document() {
    let refused = NetworkRefusal { links: [("eth0".to_owned(), "no".to_owned())].into() };
    let concluded = conclude(&wanted("kind: Link\nname: eth0\n"), &machine(), &refused);
    let document = &concluded.documents["Link/eth0"];
    assert_eq!((document.state, document.reason.as_str()), (DocumentState::Refused, "no"));
}

#[tokio::test]
async fn nothing_is_said_before_it_is_known_what_the_configuration_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new();
    let mut controller = Config::new(Events::open(&store, folder.path().join("events")).unwrap());
    let links = store.writer::<Link>("test").unwrap();
    links.put("eth0", card(2, "52:54:00:00:00:01"));
    let documents = store.writer::<Document>("test").unwrap();
    assert_eq!(run_cycle(&mut controller, &store).await.unwrap(), Next::Unready);
    assert!(store.list::<NetworkSource>().is_empty());
    drop(documents);
}
