//! The client against a server made of tables; time is a number.

use std::collections::BTreeMap;

use super::*;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);

fn client(lease: Option<Lease>, now: u64) -> Client {
    let mut number = 0u32;
    let random = move || {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        number
    };
    Client::new(MAC, "node".into(), lease, now, Box::new(random))
}

fn reply(kind: DhcpMessageType, request: &Request) -> Reply {
    let options: BTreeMap<u8, Vec<u8>> = [
        (1, vec![255, 255, 255, 0]),
        (3, SERVER.octets().to_vec()),
        (6, vec![10, 0, 2, 3]),
        (15, b"lab.example".to_vec()),
        (26, 1400u16.to_be_bytes().to_vec()),
        (51, 100u32.to_be_bytes().to_vec()),
        (54, SERVER.octets().to_vec()),
    ]
    .into();
    Reply { kind, xid: request.xid, mac: MAC, address: ADDRESS, options }
}

fn bound() -> Client {
    let mut client = client(None, 0);
    client.carrier(0, true);
    let (_, discover) = client.tick(0).unwrap();
    let (_, request) = client.receive(100, &reply(DhcpMessageType::Offer, &discover)).unwrap();
    assert_eq!((request.wanted, request.server), (Some(ADDRESS), Some(SERVER)));
    assert!(client.receive(200, &reply(DhcpMessageType::Ack, &request)).is_none());
    client
}

#[test]
fn gets_a_lease_and_says_what_it_means() {
    let client = bound();
    let config = client.lease().unwrap().config("eth0");
    assert_eq!(config.addresses[0].to_string(), "10.0.2.15/24");
    assert_eq!(config.routes[0].gateway, Some(SERVER.into()));
    assert_eq!((config.mtu, config.search[0].as_str()), (Some(1400), "lab.example"));
    assert_eq!(client.next(), Some(100 + 50_000));
    assert_eq!(client.asking_since(), None);
}

#[test]
fn asks_for_ever_ever_slower_and_says_since_when() {
    let mut client = client(None, 0);
    client.carrier(5, true);
    let mut now = 5;
    for _ in 0..50 {
        let (to, request) = client.tick(now).unwrap();
        assert_eq!((to, request.kind), (To::Everybody, DhcpMessageType::Discover));
        let next = client.next().unwrap();
        assert!(next > now && next - now <= 80_000);
        now = next;
    }
    assert_eq!(client.asking_since(), Some(5));
}

#[test]
fn a_request_says_how_long_its_discover_had_asked() {
    let mut client = client(None, 0);
    client.carrier(0, true);
    client.tick(0).unwrap();
    let (_, discover) = client.tick(9_000).unwrap();
    assert_eq!(discover.secs, 9);
    let (_, request) = client.receive(11_000, &reply(DhcpMessageType::Offer, &discover)).unwrap();
    assert_eq!(request.secs, 9);
    let (_, again) = client.tick(client.next().unwrap()).unwrap();
    assert_eq!((again.kind, again.secs), (DhcpMessageType::Request, 9));
    // The lease counts from the request all the same.
    client.receive(12_500, &reply(DhcpMessageType::Ack, &request));
    assert!(client.lease().unwrap().since_ms >= 11_000);
}

#[test]
fn renews_at_the_server_then_anywhere_then_loses_the_address() {
    let mut client = bound();
    let (to, request) = client.tick(50_100).unwrap();
    assert_eq!((to, request.client, request.wanted), (To::Server(SERVER), ADDRESS, None));
    let rebind = client.next().unwrap();
    assert_eq!(rebind, 87_600);
    assert_eq!(client.tick(rebind).unwrap().0, To::Everybody);
    assert!(client.lease().is_some());
    let over = client.next().unwrap();
    assert_eq!(over, 100_100);
    let (_, discover) = client.tick(over).unwrap();
    assert!(client.lease().is_none());
    assert_eq!(discover.kind, DhcpMessageType::Discover);
}

#[test]
fn a_renewal_starts_the_time_again() {
    let mut client = bound();
    let (_, request) = client.tick(50_100).unwrap();
    client.receive(50_200, &reply(DhcpMessageType::Ack, &request));
    assert_eq!(client.lease().unwrap().since_ms, 50_100);
    assert_eq!(client.next(), Some(100_100));
}

#[test]
fn a_refusal_takes_the_address_and_starts_over_later() {
    let mut client = bound();
    let (_, request) = client.tick(50_100).unwrap();
    client.receive(50_200, &reply(DhcpMessageType::Nak, &request));
    assert!(client.lease().is_none());
    assert!(client.tick(50_300).is_none());
    assert_eq!(client.tick(52_200).unwrap().1.kind, DhcpMessageType::Discover);
}

#[test]
fn a_cable_that_comes_back_confirms_the_lease() {
    let mut client = bound();
    client.carrier(1000, false);
    assert!(client.lease().is_some() && client.tick(60_000).is_none());
    client.carrier(61_000, true);
    let (to, request) = client.tick(61_000).unwrap();
    assert_eq!((to, request.wanted, request.server), (To::Everybody, Some(ADDRESS), None));
    client.receive(61_100, &reply(DhcpMessageType::Ack, &request));
    assert_eq!(client.lease().unwrap().since_ms, 61_000);
}

#[test]
fn a_lease_nobody_confirms_counts_to_its_end() {
    let mut client = bound();
    client.carrier(1000, false);
    client.carrier(2000, true);
    for _ in 0..4 {
        let now = client.next().unwrap();
        let (to, request) = client.tick(now).unwrap();
        assert_eq!((to, request.kind, request.wanted), (To::Everybody, DhcpMessageType::Request, Some(ADDRESS)));
        assert_eq!(client.asking_since(), None);
    }
    let given_up = client.next().unwrap();
    assert!(client.tick(given_up).is_none());
    // T1, T2 and the end are those of the lease, as if the machine had not asked.
    assert_eq!(client.next(), Some(50_100));
    assert_eq!(client.tick(50_100).unwrap().0, To::Server(SERVER));
    assert_eq!(client.tick(87_600).unwrap().0, To::Everybody);
    assert_eq!(client.tick(100_100).unwrap().1.kind, DhcpMessageType::Discover);
    assert!(client.lease().is_none());
}

/// Asked in vain from before T1 to after it: the renewal is due at once.
#[test]
fn a_lease_nobody_confirms_is_renewed_when_that_is_due() {
    let mut client = bound();
    client.carrier(49_000, false);
    client.carrier(49_500, true);
    for _ in 0..4 {
        client.tick(client.next().unwrap()).unwrap();
    }
    let now = client.next().unwrap();
    assert!(now > 50_100);
    assert_eq!(client.tick(now).unwrap().0, To::Server(SERVER));
}

#[test]
fn a_short_lease_ends_when_it_says_and_is_not_renewed_all_the_time() {
    for (seconds, renewal, end) in [(10u32, 5000, 10_000), (1, 1000, 1000)] {
        let mut client = client(None, 0);
        client.carrier(0, true);
        let (_, discover) = client.tick(0).unwrap();
        let (_, request) = client.receive(0, &reply(DhcpMessageType::Offer, &discover)).unwrap();
        let mut ack = reply(DhcpMessageType::Ack, &request);
        ack.options.insert(51, seconds.to_be_bytes().to_vec());
        client.receive(0, &ack);
        let lease = client.lease().unwrap();
        assert_eq!((lease.renew_ms, lease.expire_ms), (renewal, Some(end)));
        ack.options.insert(51, vec![0; 4]);
        let mut none = self::client(None, 0);
        none.carrier(0, true);
        let (_, discover) = none.tick(0).unwrap();
        none.receive(0, &reply(DhcpMessageType::Offer, &discover)).unwrap();
        none.receive(0, &ack);
        assert!(none.lease().is_none() && none.next().unwrap() > 0);
    }
}

/// As clouds give them: the router outside of the address's network.
#[test]
fn a_router_outside_of_the_network_is_reached_by_the_link() {
    let lease = |address: &str, routes: &[(&str, Option<&str>)]| {
        let routes = routes.iter().map(|(to, by)| (to.parse().unwrap(), by.map(|by| by.parse().unwrap()))).collect();
        let lease = Lease { address: address.parse().unwrap(), routes, ..bound().lease().unwrap().clone() };
        let routes = lease.config("eth0").routes;
        routes.iter().map(|r| (r.destination.to_string(), r.gateway.map(|by| by.to_string()))).collect::<Vec<_>>()
    };
    let by = |to: &str, gateway: Option<&str>| (to.to_owned(), gateway.map(str::to_owned));
    let default = by("0.0.0.0/0", Some("10.0.0.1"));
    assert_eq!(
        lease("10.0.0.9/32", &[("0.0.0.0/0", Some("10.0.0.1")), ("10.9.0.0/16", Some("10.0.0.1"))]),
        [by("10.0.0.1/32", None), default.clone(), by("10.9.0.0/16", Some("10.0.0.1"))]
    );
    assert_eq!(
        lease("10.0.0.9/32", &[("10.0.0.0/24", None), ("0.0.0.0/0", Some("10.0.0.1"))]),
        [by("10.0.0.0/24", None), default.clone()]
    );
    assert_eq!(lease("10.0.0.9/24", &[("0.0.0.0/0", Some("10.0.0.1"))]), [default]);
}

#[test]
fn a_new_machined_goes_on_with_the_lease_unless_it_is_over_or_of_another_card() {
    let lease = bound().lease().cloned();
    let mut next = client(lease.clone(), 30_000);
    assert!(next.lease().is_some());
    next.carrier(30_000, true);
    assert_eq!(next.tick(30_000).unwrap().1.wanted, Some(ADDRESS));
    assert!(client(lease.clone(), 200_000).lease().is_none());
    let foreign = lease.map(|lease| Lease { mac: [1; 6], ..lease });
    assert!(client(foreign, 30_000).lease().is_none());
}

#[test]
fn answers_to_others_are_ignored() {
    let mut client = client(None, 0);
    client.carrier(0, true);
    let (_, discover) = client.tick(0).unwrap();
    let mut wrong = reply(DhcpMessageType::Offer, &discover);
    wrong.xid ^= 1;
    assert!(client.receive(1, &wrong).is_none());
    let mut wrong = reply(DhcpMessageType::Offer, &discover);
    wrong.mac = [9; 6];
    assert!(client.receive(1, &wrong).is_none());
}

proptest::proptest! {
    /// Whatever happens in whatever order: the next time lies ahead after a tick, and a client with carrier always has one.
    #[test]
    fn never_stops_and_never_spins(steps: Vec<(u8, u16)>) {
        let mut client = client(None, 0);
        let mut now = 0;
        let mut last: Option<Request> = None;
        client.carrier(0, true);
        let mut carrier = true;
        for (what, wait) in steps {
            now += u64::from(wait);
            let sent = match what % 6 {
                0 => { carrier = !carrier; client.carrier(now, carrier); None }
                1 => last.as_ref().and_then(|sent| client.receive(now, &reply(DhcpMessageType::Offer, sent))),
                2 => last.as_ref().and_then(|sent| client.receive(now, &reply(DhcpMessageType::Ack, sent))),
                3 => last.as_ref().and_then(|sent| client.receive(now, &reply(DhcpMessageType::Nak, sent))),
                _ => client.tick(now),
            };
            last = sent.map(|(_, request)| request).or(last);
            if let Some((_, request)) = client.tick(now) { last = Some(request); }
            proptest::prop_assert!(client.next().is_none_or(|next| next > now));
            proptest::prop_assert!(!carrier || client.next().is_some());
        }
    }
}
