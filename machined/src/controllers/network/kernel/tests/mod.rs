//! Against a real kernel, in a network namespace of the test's own thread. Needs root; says so and passes without.

mod many;

pub(in crate::controllers::network) use many::can_make;

use std::io::Write as _;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressProtocol};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::{LinkVeth, RouteMessageBuilder};

use super::*;
use crate::controllers::network::kernel::listen::Listener;
use crate::controllers::network::netlink::{ADDRESS_ROUTER, Changes, OURS, ROUTE_ROUTER};
use crate::controllers::network::plan::{Desired, plan};
use crate::resources::address::AddressSpec;
use crate::resources::link::LinkKind;
use crate::resources::link_config::LinkSpec;
use crate::resources::route::RouteSpec;

/// Runs `test` in a new network namespace that ends with it.
pub(in crate::controllers::network) fn in_namespace<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        if let Err(error) = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET) {
            // past the test harness, which would hide it
            let _ = writeln!(std::io::stderr(), "SKIPPED, one test: a network namespace needs root ({error})");
            return;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(120), test()).await.unwrap() });
    });
    thread.join().unwrap();
}

async fn veth() {
    let made = with(async |handle: Handle| {
        handle.link().add(LinkVeth::new("eth0", "far0").build()).execute().await.unwrap();
        Ok(())
    });
    made.await.unwrap();
    Kernel.apply(&Change::SetUp { link: "far0".into(), up: true }).await.unwrap();
}

fn desired(address: &str, gateway: &str) -> Desired {
    let spec =
        LinkSpec { up: true, mtu: Some(1400), dhcp4: false, accept_ra: true, metric: 1026, ..LinkSpec::default() };
    let route = |destination: &str, gateway: Option<&str>| RouteSpec {
        link: "eth0".into(),
        destination: destination.parse().unwrap(),
        gateway: gateway.map(|gateway| gateway.parse().unwrap()),
        preferred_source: None,
        metric: 1026,
        source: "test".into(),
        origin: None,
    };
    Desired {
        own_mtus: std::collections::BTreeMap::new(),
        links: [("eth0".to_owned(), spec)].into(),
        addresses: vec![AddressSpec {
            link: "eth0".into(),
            address: address.parse().unwrap(),
            source: "test".into(),
            origin: None,
        }],
        routes: vec![route("0.0.0.0/0", Some(gateway)), route("172.16.0.0/24", None)],
    }
}

/// Applies until nothing is left, and says how often that took.
async fn settle(desired: &Desired) -> usize {
    for cycle in 0..6 {
        let changes = plan(desired, &Kernel.observe().await.unwrap());
        if changes.is_empty() {
            return cycle;
        }
        for change in changes {
            if let Err(error) = Kernel.apply(&change).await {
                panic!("cycle {cycle}: {}", crate::trace::chain(&error));
            }
        }
    }
    panic!("the plan never ends: {:?}", plan(desired, &Kernel.observe().await.unwrap()));
}

#[test]
fn the_kernel_gets_what_is_planned_and_keeps_what_is_not_ours() {
    in_namespace(async || {
        veth().await;
        let before = Kernel.observe().await.unwrap();
        let lo = before.links.iter().find(|link| link.name == "lo").unwrap();
        assert_eq!(lo.kind, LinkKind::Loopback);
        assert_eq!(before.links.iter().find(|link| link.name == "eth0").unwrap().virtual_kind, "veth");

        // Somebody else's address, without our protocol number.
        let index = before.links.iter().find(|link| link.name == "eth0").unwrap().index;
        let foreign = with(async |handle: Handle| {
            let address = "10.9.0.1".parse().unwrap();
            handle.address().add(index, address, 24).execute().await.unwrap();
            Ok(())
        });
        foreign.await.unwrap();

        assert_eq!(settle(&desired("10.5.0.2/24", "10.5.0.1")).await, 1);
        let now = Kernel.observe().await.unwrap();
        let link = now.links.iter().find(|link| link.name == "eth0").unwrap();
        assert_eq!((link.up, link.carrier, link.mtu, link.accept_ra), (true, true, 1400, Some(2)));
        let ours = now.addresses.iter().find(|address| address.address.to_string() == "10.5.0.2/24").unwrap();
        assert_eq!(ours.protocol, OURS, "the kernel keeps who made an address");

        // Another lease: the old address and route go, the gateway is replaced, the foreign one stays.
        assert_eq!(settle(&desired("10.6.0.2/24", "10.6.0.1")).await, 1);
        let now = Kernel.observe().await.unwrap();
        let addresses: Vec<_> = now.addresses.iter().map(|address| address.address.to_string()).collect();
        assert!(addresses.contains(&"10.9.0.1/24".to_owned()) && addresses.contains(&"10.6.0.2/24".to_owned()));
        assert!(!addresses.contains(&"10.5.0.2/24".to_owned()));
        let default = now.routes.iter().find(|route| route.destination.prefix_len() == 0).unwrap();
        assert_eq!(default.gateway, Some("10.6.0.1".parse().unwrap()));

        // Nothing wanted any more: all of ours goes, nothing else.
        settle(&Desired::default()).await;
        let now = Kernel.observe().await.unwrap();
        assert!(now.addresses.iter().all(|address| address.protocol != OURS));
        assert!(now.routes.iter().all(|route| route.protocol != OURS));
        assert!(now.addresses.iter().any(|address| address.address.to_string() == "10.9.0.1/24"));
    });
}

/// Router solicitations that a link has sent.
fn solicitations() -> u32 {
    let counters = std::fs::read_to_string("/proc/thread-self/net/dev_snmp6/eth0").unwrap();
    let sent = counters.lines().find_map(|line| line.strip_prefix("Icmp6OutType133"));
    sent.map_or(0, |sent| sent.trim().parse().unwrap())
}

#[test]
fn a_link_that_begins_to_listen_to_routers_asks_for_them_and_one_that_ends_forgets_them() {
    in_namespace(async || {
        let mut listener = Listener::state().unwrap();
        veth().await;
        let mut wanted = desired("10.5.0.2/24", "10.5.0.1");
        wanted.links.get_mut("eth0").unwrap().accept_ra = false;
        settle(&wanted).await;
        let usable = async || {
            let addresses = Kernel.observe().await.unwrap().addresses;
            addresses.iter().any(|have| have.link == "eth0" && have.address.addr().is_ipv6() && !have.tentative)
        };
        while !usable().await {
            listener.changed().await;
        }
        assert_eq!(solicitations(), 0);
        wanted.links.get_mut("eth0").unwrap().accept_ra = true;
        settle(&wanted).await;
        assert_eq!(solicitations(), 1);

        // As the kernel has them from an announcement.
        let index = Kernel.observe().await.unwrap().links.iter().find(|link| link.name == "eth0").unwrap().index;
        let announced = with(async |handle: Handle| {
            let mut address = handle.address().add(index, "2001:db8::7".parse().unwrap(), 64);
            let protocol = AddressProtocol::from(ADDRESS_ROUTER);
            address.message_mut().attributes.push(AddressAttribute::Protocol(protocol));
            address.execute().await.unwrap();
            let gateway = "fe80::1".parse().unwrap();
            let route = RouteMessageBuilder::<std::net::Ipv6Addr>::new().gateway(gateway).output_interface(index);
            let mut route = route.priority(1024).build();
            route.header.protocol = RouteProtocol::Ra;
            handle.route().add(route).execute().await.unwrap();
            Ok(())
        });
        announced.await.unwrap();
        assert_eq!(settle(&wanted).await, 0);
        wanted.links.get_mut("eth0").unwrap().accept_ra = false;
        assert_eq!(settle(&wanted).await, 1);
        let now = Kernel.observe().await.unwrap();
        assert!(now.addresses.iter().all(|address| address.protocol != ADDRESS_ROUTER), "{now:?}");
        assert!(now.routes.iter().all(|route| route.protocol != ROUTE_ROUTER), "{now:?}");
    });
}

#[test]
fn what_happens_is_heard() {
    in_namespace(async || {
        let mut listener = Listener::state().unwrap();
        veth().await;
        listener.changed().await;
        Kernel.apply(&Change::SetUp { link: "eth0".into(), up: true }).await.unwrap();
        listener.changed().await;
        let names = with(async |handle: Handle| {
            let links: Vec<LinkMessage> = handle.link().get().execute().try_collect().await.unwrap();
            Ok(dump::names(&links))
        });
        assert_eq!(names.await.unwrap().len(), 3);
    });
}

#[test]
fn a_link_that_is_gone_is_told_apart_from_a_refusal() {
    in_namespace(async || {
        let change = Change::SetUp { link: "none0".into(), up: true };
        assert!(matches!(Kernel.apply(&change).await, Err(Error::Gone(name)) if name == "none0"));
    });
}
