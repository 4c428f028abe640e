//! The client against a server made of tables; time is a number.

use super::super::message::tests::{answer, says};
use super::*;

const ID: [u8; 4] = [0, 4, 9, 9];

fn client(lease: Option<Lease>, now: u64) -> Client {
    let mut number = 0u32;
    let random = move || {
        number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        number
    };
    Client::new(ID.to_vec(), 7, lease, now, Box::new(random))
}

fn reply(kind: Kind, to: &Message) -> Message {
    Message::parse(&answer(kind, to, "2001:db8::15", 100)).unwrap()
}

fn bound() -> Client {
    let mut client = client(None, 0);
    client.network(0, true);
    let solicit = client.tick(0).unwrap();
    assert_eq!((solicit.kind, solicit.server.clone()), (Kind::Solicit, None));
    let request = client.receive(100, &reply(Kind::Advertise, &solicit)).unwrap();
    assert_eq!(request.kind, Kind::Request);
    assert_eq!(request.association.as_ref().unwrap().granted.unwrap().address.to_string(), "2001:db8::15");
    assert!(client.receive(200, &reply(Kind::Reply, &request)).is_none());
    client
}

#[test]
fn gets_a_lease_and_says_what_it_means() {
    let client = bound();
    let config = client.lease().unwrap().config("eth0");
    assert_eq!(config.addresses[0].to_string(), "2001:db8::15/128");
    assert_eq!((config.servers[0].to_string(), config.search[0].as_str()), ("2001:db8::53".into(), "lab.example"));
    assert_eq!((client.next(), client.asking_since()), (Some(200 + 50_000), None));
}

#[test]
fn asks_for_ever_ever_slower_and_says_since_when() {
    let mut client = client(None, 0);
    client.network(5, true);
    let mut now = 5;
    for _ in 0..50 {
        assert_eq!(client.tick(now).unwrap().kind, Kind::Solicit);
        let next = client.next().unwrap();
        assert!(next > now && next - now <= SOLICIT_MOST_MS / 10 * 11);
        now = next;
    }
    assert_eq!(client.asking_since(), Some(5));
}

#[test]
fn renews_at_the_server_then_anywhere_then_loses_the_address() {
    let mut client = bound();
    let renew = client.tick(50_200).unwrap();
    assert_eq!((renew.kind, renew.server.is_some()), (Kind::Renew, true));
    let mut last = renew;
    while let Some(next) = client.next().filter(|next| *next < 100_200) {
        last = client.tick(next).unwrap_or(last);
    }
    assert_eq!((last.kind, last.server.clone()), (Kind::Rebind, None));
    assert!(client.lease().is_some());
    let solicit = client.tick(100_200).unwrap();
    assert!(client.lease().is_none());
    assert_eq!(solicit.kind, Kind::Solicit);
}

#[test]
fn a_renewal_starts_the_time_again() {
    let mut client = bound();
    let renew = client.tick(50_200).unwrap();
    assert!(client.receive(50_300, &reply(Kind::Reply, &renew)).is_none());
    assert_eq!(client.next(), Some(50_300 + 50_000));
}

#[test]
fn a_server_that_forgot_is_asked_for_the_same_address() {
    let mut client = bound();
    let renew = client.tick(50_200).unwrap();
    let mut message = reply(Kind::Reply, &renew);
    let association = message.association.as_mut().unwrap();
    (association.granted, association.status) = (None, Some(Status::NoBinding));
    let request = client.receive(50_300, &message).unwrap();
    assert_eq!(request.kind, Kind::Request);
    assert!(client.lease().is_some(), "the address stays meanwhile");
    // Again: it is not asked in a tight circle.
    message.xid = request.xid;
    assert!(client.receive(50_350, &message).is_none());
    assert!(client.lease().is_some() && client.next().unwrap() > 51_000);
    // It has another one now.
    let other = Message::parse(&answer(Kind::Reply, &request, "2001:db8::99", 100)).unwrap();
    client.receive(50_400, &other);
    assert_eq!(client.lease().unwrap().address.to_string(), "2001:db8::99");
}

#[test]
fn an_address_that_is_not_preferred_is_renewed_by_its_end() {
    let mut client = bound();
    let renew = client.tick(50_200).unwrap();
    let mut message = reply(Kind::Reply, &renew);
    let association = message.association.as_mut().unwrap();
    (association.t1, association.t2) = (0, 0);
    association.granted.as_mut().unwrap().preferred = 0;
    client.receive(50_300, &message);
    let lease = client.lease().unwrap();
    assert_eq!((lease.renew_ms, lease.rebind_ms), (Some(50_000), 80_000));
}

#[test]
fn a_server_without_addresses_may_slow_it_down() {
    let mut client = client(None, 0);
    client.network(0, true);
    let solicit = client.tick(0).unwrap();
    let mut none = reply(Kind::Advertise, &solicit);
    (none.association.as_mut().unwrap().granted, none.slowest) = (None, Some(3600));
    assert!(client.receive(10, &none).is_none());
    let mut now = 0;
    for _ in 0..20 {
        now = client.next().unwrap();
        assert_eq!(client.tick(now).unwrap().kind, Kind::Solicit);
    }
    assert!(client.next().unwrap() - now > 3_000_000);
}

#[test]
fn while_it_is_renewed_only_a_clear_word_takes_the_address_away() {
    let held: std::net::Ipv6Addr = "2001:db8::15".parse().unwrap();
    let other: std::net::Ipv6Addr = "2001:db8::99".parse().unwrap();
    let over = |address| Some(Granted { address, preferred: 0, valid: 0 });
    // UnspecFail, NoAddrsAvail.
    let [failed, none] = [1, 2].map(|code| Some(Status::Other(code)));
    let off = Some(Status::NotOnLink);
    for (message, association, granted, stays) in [
        (failed, None, None, true),
        (None, none, None, true),
        (failed, None, over(held), true),
        (None, None, None, true),
        (None, None, over(other), true),
        (None, None, over(held), false),
        (off, None, None, false),
        (None, off, None, false),
    ] {
        for (at, kind) in [(50_200, Kind::Renew), (90_000, Kind::Rebind)] {
            let mut client = bound();
            let asked = client.tick(at).unwrap();
            assert_eq!(asked.kind, kind);
            let mut answer = reply(Kind::Reply, &asked);
            answer.status = message;
            let found = answer.association.as_mut().unwrap();
            (found.status, found.granted) = (association, granted);
            assert!(client.receive(at + 100, &answer).is_none());
            assert_eq!(client.lease().is_some(), stays, "{kind:?}: {answer:?}");
            let next = client.next().unwrap();
            assert!(next > at + 1000, "not in a tight circle");
            let again = client.tick(next).unwrap().kind;
            assert!(again == if stays { kind } else { Kind::Solicit }, "{again:?}: {answer:?}");
        }
    }
}

#[test]
fn back_on_the_network_the_lease_is_confirmed() {
    for (code, stays) in [(0, true), (4, false)] {
        let mut client = bound();
        client.network(1000, false);
        assert!(client.lease().is_some());
        client.network(2000, true);
        let confirm = client.tick(2000).unwrap();
        assert_eq!((confirm.kind, confirm.server.clone()), (Kind::Confirm, None));
        let solicit = client.receive(2100, &Message::parse(&says(&confirm, code)).unwrap());
        assert_eq!(client.lease().is_some(), stays, "{code}");
        assert_eq!(solicit.is_none(), stays, "{code}");
    }
}

#[test]
fn without_an_answer_a_kept_lease_counts_to_its_end() {
    let kept = bound().lease().cloned();
    let mut client = client(kept.clone(), 10_000);
    client.network(10_000, true);
    let mut now = 10_000;
    while now < 30_000 {
        if let Some(message) = client.tick(now) {
            assert_eq!(message.kind, Kind::Confirm);
        }
        now = client.next().unwrap();
    }
    assert_eq!(client.tick(50_200).unwrap().kind, Kind::Renew);
    // Another machine's, or another card's, is none.
    for (id, association) in [(vec![0, 4, 1], 7), (ID.to_vec(), 8)] {
        assert!(Client::new(id, association, kept.clone(), 10_000, Box::new(|| 4)).lease().is_none());
    }
}

#[test]
fn answers_to_others_change_nothing() {
    let mut client = client(None, 0);
    client.network(0, true);
    let solicit = client.tick(0).unwrap();
    let good = reply(Kind::Advertise, &solicit);
    for wrong in [
        Message { xid: good.xid ^ 1, ..good.clone() },
        Message { client: vec![1], ..good.clone() },
        Message { server: None, ..good.clone() },
        Message { kind: Kind::Reply, ..good.clone() },
        Message { association: Some(Association { id: 8, ..good.association.clone().unwrap() }), ..good.clone() },
        Message { status: Some(Status::Other(2)), ..good.clone() },
    ] {
        assert!(client.receive(10, &wrong).is_none(), "{wrong:?}");
    }
    assert!(client.receive(10, &good).is_some());
}
