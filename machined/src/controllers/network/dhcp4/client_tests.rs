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
fn in_another_network_without_an_answer_it_looks_for_a_new_lease_and_keeps_the_old_one() {
    let mut client = bound();
    client.carrier(1000, false);
    client.carrier(2000, true);
    let mut kinds = Vec::new();
    for _ in 0..6 {
        let now = client.next().unwrap();
        kinds.extend(client.tick(now).map(|(_, request)| request.kind));
    }
    assert_eq!(kinds[..4], [DhcpMessageType::Request; 4]);
    assert_eq!(kinds[4], DhcpMessageType::Discover);
    assert!(client.lease().is_some());
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
