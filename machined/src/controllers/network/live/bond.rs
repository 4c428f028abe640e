//! A VLAN over a bond, with a real server at the other end of both cables: a cable is pulled, machined is restarted, documents
//! go.

use super::*;
use crate::controllers::network::kernel::can_make;
use crate::controllers::network::netlink::OUR_GROUP;
use crate::resources::address::Address;
use crate::resources::link::Link;
use crate::resources::network_document::{DocumentState, NetworkDocument};
use crate::resources::virtual_link::{Bond, BondMode, HashPolicy, LacpRate, Virtual, Vlan};

const WANTED: &str = "kind: Bond\nname: bond0\nlinks: [eth0, eth1]\nmode: active-backup\nmiimon: 50\ndhcp4: false\n\
                      acceptRa: false\n---\nkind: Vlan\nname: vlan5\nlink: bond0\nid: 5\ndhcp6: true\n";

/// The other side has the same: without it nobody would notice which cable packets come by.
fn far_side(server: &Server) {
    server.run(|| async {
        let bond = Virtual::Bond(Bond {
            mode: BondMode::ActiveBackup,
            miimon: 50,
            lacp_rate: LacpRate::Slow,
            hash_policy: HashPolicy::Layer2,
            primary: None,
        });
        let up = |link: &str, up| Change::SetUp { link: link.into(), up };
        let vlan = Virtual::Vlan(Vlan { link: "far-bond".into(), id: 5 });
        let mut changes = vec![Change::CreateLink { link: "far-bond".into(), make: bond }];
        for port in ["far-eth0", "far-eth1"] {
            changes.push(up(port, false));
            changes.push(Change::SetController { link: port.into(), controller: Some("far-bond".into()) });
        }
        changes.push(up("far-bond", true));
        changes.push(Change::CreateLink { link: "far-vlan5".into(), make: vlan });
        changes.push(up("far-vlan5", true));
        for change in changes {
            Kernel.apply(&change).await.unwrap();
        }
    });
}

#[test]
fn a_vlan_over_a_bond_keeps_its_lease_over_a_pulled_cable_and_a_restart() {
    with_server(async |server| {
        if !can_make("eth0").await {
            return;
        }
        cable("eth1", &server).await;
        far_side(&server);
        let offer = Offer { v4: Some("10.77.0"), v6: Some("2001:db8:77:"), slaac: true };
        let dnsmasq = server.serve("vlan5", offer);
        let node = Node::new();
        node.configure(WANTED);
        let address = node.address("vlan5", "10.77.0.").await;
        let has = [("vlan5", address.as_str()), ("vlan5", "2001:db8:77::10")];
        node.address("vlan5", "2001:db8:77::10").await;
        let vlan = node.object::<Link>("a VLAN", |link| link.virtual_kind == "vlan").await;
        assert_eq!((vlan.parent.as_deref(), vlan.origin.unwrap().document.as_str()), (Some("bond0"), "Vlan/vlan5"));
        let ports =
            node.store.list::<Link>().into_iter().filter(|link| link.value.controller.as_deref() == Some("bond0"));
        assert_eq!(ports.count(), 2);
        let applied = |store: &Store| {
            let all = store.list::<NetworkDocument>();
            all.iter().all(|document| document.value.state == DocumentState::Applied).then_some(())
        };
        node.until("both documents applied", applied).await;
        // A port has nothing of its own.
        assert!(node.store.list::<Address>().iter().all(|found| !found.value.link.starts_with("eth")));

        // A cable is pulled: the address stays, and the way to the server.
        server.cable("eth0", false);
        node.object::<Link>("a lost carrier", |link| link.controller.is_some() && !link.carrier).await;
        node.object::<Link>("the other port in use", |link| link.active_port.as_deref() == Some("eth1")).await;
        assert_eq!(node.address("vlan5", "10.77.0.").await, address);
        let bond = node.object::<Link>("the bond", |link| link.virtual_kind == "bond").await;
        assert!(bond.carrier, "the bond goes on with the other cable");
        server.cable("eth0", true);

        // Machined comes and goes; the server is gone, so nobody could give it anything again.
        drop(dnsmasq);
        let node = restart::survives(node, WANTED, &has).await;

        // Another mode means another bond, and so another VLAN: both come back with all they had.
        let offer = Offer { v4: Some("10.77.0"), v6: Some("2001:db8:77:"), slaac: true };
        let _dnsmasq = server.serve("vlan5", offer);
        node.configure(&WANTED.replace("active-backup", "balance-alb"));
        node.object::<Link>("another bond", |link| link.virtual_kind == "bond" && link.index != bond.index).await;
        node.address("vlan5", "10.77.0.").await;

        // Without the documents nothing of it is left, and the ports are theirs again.
        node.configure("kind: Link\nname: eth0\naddresses: [192.0.2.7/24]\n");
        node.address("eth0", "192.0.2.7/24").await;
        node.until("no bond and no VLAN", |store| {
            let links = store.list::<Link>();
            links.iter().all(|link| link.value.virtual_kind == "veth" || link.id == "lo").then_some(())
        })
        .await;
        let now = Kernel.observe().await.unwrap();
        assert!(now.links.iter().all(|link| link.group != OUR_GROUP && link.controller.is_none()));
    });
}
