//! Leases and announcements of a real server, for links that documents name.

use super::*;
use crate::resources::network_document::{DocumentState, NetworkDocument};
use crate::resources::wait::Wait;

const V4: Option<&str> = Some("10.77.0");
const V6: Option<&str> = Some("2001:db8:77:");

#[test]
fn a_server_that_is_away_comes_and_comes_back_with_another_network() {
    with_server(async |server| {
        let node = Node::new();
        node.configure("kind: Link\nname: eth0\n");
        // Nobody there: people see what is waited for.
        node.object::<Wait>("a wait", |wait| wait.reason.starts_with("no DHCP answer on eth0")).await;

        let first = server.serve("eth0", Offer { v4: V4, v6: None, slaac: false });
        let address = node.address("eth0", "10.77.0.").await;
        node.servers(&["10.77.0.9"]).await;
        node.until("no wait", |store| store.list::<Wait>().is_empty().then_some(())).await;

        // Away, and the cable is pulled and plugged in: the lease counts on.
        drop(first);
        server.cable("eth0", false);
        server.cable("eth0", true);
        assert_eq!(node.address("eth0", "10.77.0.").await, address);

        // Back in another network: the old address is refused, and gone with its name server.
        server.cable("eth0", false);
        let _second = server.serve("eth0", Offer { v4: Some("10.78.0"), v6: None, slaac: false });
        server.cable("eth0", true);
        node.address("eth0", "10.78.0.").await;
        node.gone("eth0", "10.77.").await;
        node.servers(&["10.78.0.9"]).await;
    });
}

#[test]
fn an_ipv6_lease_beside_an_announced_prefix() {
    with_server(async |server| {
        let node = Node::new();
        node.configure("kind: Link\nname: eth0\ndhcp4: false\ndhcp6: true\n");
        node.object::<Wait>("a wait", |wait| wait.reason.starts_with("no DHCPv6 answer on eth0")).await;
        let first = server.serve("eth0", Offer { v4: None, v6: V6, slaac: true });
        let leased = node.address("eth0", "2001:db8:77::10").await;
        assert!(leased.ends_with("/128"), "{leased}");
        // Of the node's own making, in the announced prefix.
        node.object::<crate::resources::address::Address>("an announced address", |found| {
            found.link == "eth0"
                && found.usable()
                && found.address.to_string().ends_with("/64")
                && found.address.to_string().starts_with("2001:db8:77:")
        })
        .await;
        node.object::<Resolver>("its name server", |have| have.servers.contains(&"2001:db8:77::53".to_owned())).await;

        // In another network the old one is refused.
        drop(first);
        server.cable("eth0", false);
        let second = server.serve("eth0", Offer { v4: None, v6: Some("2001:db8:78:"), slaac: true });
        server.cable("eth0", true);
        node.address("eth0", "2001:db8:78::10").await;
        node.gone("eth0", "2001:db8:77::10").await;
        // That it knew a name server there is over, too.
        node.until("only the new name server", |store| {
            let resolver = store.list::<Resolver>().into_iter().next()?;
            resolver.value.servers.iter().all(|server| server.starts_with("2001:db8:78:")).then_some(())
        })
        .await;
        drop(second);
    });
}

#[test]
fn a_document_that_changes_changes_the_link() {
    with_server(async |server| {
        let node = Node::new();
        let dnsmasq = server.serve("eth0", Offer { v4: V4, v6: None, slaac: false });
        // A static machine asks nobody, be the configuration known ever so late.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let wanted = "kind: Link\nname: eth0\naddresses: [192.0.2.5/24]\nmtu: 1400\nacceptRa: false\nroutes:\n\
                      - {to: default, via: 192.0.2.1, metric: 7}\n---\nkind: Resolver\nservers: [192.0.2.53]\n";
        node.configure(wanted);
        node.address("eth0", "192.0.2.5/24").await;
        node.servers(&["192.0.2.53"]).await;
        let link = node.object::<crate::resources::link::Link>("its size", |link| link.mtu == 1400).await;
        assert_eq!(link.origin.unwrap().document, "Link/eth0");
        node.object::<crate::resources::route::Route>("its route", |route| {
            route.metric == 7 && route.gateway == Some("192.0.2.1".parse().unwrap())
        })
        .await;
        node.object::<NetworkDocument>("applied", |document| document.state == DocumentState::Applied).await;
        assert!(!dnsmasq.log().contains("DHCPDISCOVER"), "{}", dnsmasq.log());

        // By the server from now on; the name server is still the document's.
        node.configure("kind: Link\nname: eth0\n---\nkind: Resolver\nservers: [192.0.2.53]\n");
        node.address("eth0", "10.77.0.").await;
        node.gone("eth0", "192.0.2.").await;
        node.object::<crate::resources::link::Link>("its own size", |link| link.mtu == 1500).await;
        let resolver = node.object::<Resolver>("its search list", |have| !have.search.is_empty()).await;
        assert_eq!((resolver.servers, resolver.search), (vec!["192.0.2.53".into()], vec!["lab.example".into()]));
    });
}

#[test]
fn a_link_that_vanishes_and_comes_back_gets_everything_again() {
    with_server(async |server| {
        let node = Node::new();
        let first = server.serve("eth0", Offer { v4: V4, v6: None, slaac: false });
        node.configure("kind: Link\nname: eth0\nmtu: 1400\naddresses: [\"2001:db8::5/64\"]\n");
        let before = node.address("eth0", "10.77.0.").await;
        node.address("eth0", "2001:db8::5/64").await;
        network::kernel::with(async |handle: Handle| {
            let links = futures_util::TryStreamExt::try_collect::<Vec<_>>(
                handle.link().get().match_name("eth0".to_owned()).execute(),
            );
            let index = links.await.unwrap()[0].header.index;
            handle.link().del(index).execute().await.unwrap();
            Ok(())
        })
        .await
        .unwrap();
        node.object::<NetworkDocument>("missed", |document| document.reason == "there is no link eth0").await;
        node.gone("eth0", "").await;
        cable("eth0", &server).await;
        drop(first);
        let _second = server.serve("eth0", Offer { v4: Some("10.78.0"), v6: None, slaac: false });
        node.address("eth0", "10.78.0.").await;
        node.address("eth0", "2001:db8::5/64").await;
        node.object::<crate::resources::link::Link>("its size", |link| link.mtu == 1400).await;
        assert!(!before.is_empty());
    });
}
