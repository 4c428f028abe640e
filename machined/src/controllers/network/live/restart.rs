//! A new machined on a node that runs: what it has stays as long as nobody knows better, to the packet.

use super::*;
use crate::controllers::network::kernel::listen::Listener;

/// RTM_DELLINK, RTM_DELADDR, RTM_DELROUTE (linux/rtnetlink.h).
const AWAY: [u16; 3] = [17, 21, 25];

/// What the kernel took away since the last look: the kind of message, and the message.
fn taken_away(listener: &Listener) -> Vec<String> {
    let mut away = Vec::new();
    listener.drain(|mut datagram| {
        while let Some(header) = datagram.first_chunk::<16>() {
            let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
            let kind = u16::from_ne_bytes([header[4], header[5]]);
            if AWAY.contains(&kind) {
                away.push(format!("{kind}: {:?}", &datagram[16..len.min(datagram.len())]));
            }
            datagram = datagram.get(len.next_multiple_of(4).max(16)..).unwrap_or_default();
        }
    });
    away
}

/// Lives through a restart, with the configuration known late, and a server that is gone.
pub(super) async fn survives(node: Node, wanted: &str, has: &[(&str, &str)]) -> Node {
    for (link, address) in has {
        node.address(link, address).await;
    }
    let listener = Listener::state().unwrap();
    let node = node.restart().await;
    // It has looked at the links, and knows nothing yet.
    node.object::<crate::resources::link::Link>("links", |_| true).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(node.store.list::<Resolver>().is_empty(), "nothing is concluded yet");
    node.configure(wanted);
    node.object::<Resolver>("a conclusion", |_| true).await;
    for (link, address) in has {
        node.address(link, address).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(taken_away(&listener), Vec::<String>::new(), "{}", node.report());
    node
}

#[test]
fn leases_and_addresses_survive_a_restart_without_a_gap() {
    with_server(async |server| {
        let node = Node::new();
        let offer = Offer { v4: Some("10.77.0"), v6: Some("2001:db8:77:"), slaac: false };
        let dnsmasq = server.serve("eth0", offer);
        let wanted = "kind: Link\nname: eth0\ndhcp4: true\ndhcp6: true\naddresses: [192.0.2.5/24]\n\
                      routes: [{to: 198.51.100.0/24, via: 192.0.2.1}]\n";
        node.configure(wanted);
        let has = [("eth0", "10.77.0."), ("eth0", "2001:db8:77::10"), ("eth0", "192.0.2.5/24")];
        for (link, address) in has {
            node.address(link, address).await;
        }
        // Nobody is there who could give it anything again.
        drop(dnsmasq);
        let node = survives(node, wanted, &has).await;
        assert!(node.run().join("dhcp/eth0.json").exists());
        survives(node, wanted, &has).await;
    });
}
