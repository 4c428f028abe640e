//! Messages as a server writes them.

use super::*;

/// An answer with an address, as dnsmasq orders its options.
pub(crate) fn answer(kind: Kind, to: &Message, address: &str, valid: u32) -> Vec<u8> {
    let number = KINDS.iter().find(|(have, _)| *have == kind).unwrap().1;
    let mut bytes = (u32::from(number) << 24 | to.xid).to_be_bytes().to_vec();
    option(&mut bytes, CLIENT_ID, &to.client);
    option(&mut bytes, SERVER_ID, &[0, 3, 0, 1, 2, 2, 2, 2, 2, 2]);
    let id = to.association.as_ref().map_or(0, |association| association.id);
    let mut inside = [id, valid / 2, valid / 8 * 7].map(u32::to_be_bytes).concat();
    let mut one = address.parse::<Ipv6Addr>().unwrap().octets().to_vec();
    one.extend([valid, valid].map(u32::to_be_bytes).concat());
    option(&mut inside, IA_ADDRESS, &one);
    option(&mut bytes, IA_NA, &inside);
    option(&mut bytes, SERVERS, &"2001:db8::53".parse::<Ipv6Addr>().unwrap().octets());
    option(&mut bytes, SEARCH, b"\x03lab\x07example\0");
    option(&mut bytes, STATUS, b"\0\0success");
    bytes
}

/// An answer that is only a status.
pub(crate) fn says(to: &Message, code: u16) -> Vec<u8> {
    let mut bytes = (7 << 24 | to.xid).to_be_bytes().to_vec();
    option(&mut bytes, CLIENT_ID, &to.client);
    option(&mut bytes, SERVER_ID, &[0, 3, 0, 1, 2, 2, 2, 2, 2, 2]);
    option(&mut bytes, STATUS, &code.to_be_bytes());
    bytes
}

fn question() -> Message {
    let mut message = Message::ask(Kind::Request, 0x00ab_cdef, vec![0, 4, 1, 2]);
    message.server = Some(vec![0, 3, 9]);
    let granted = Granted { address: "2001:db8::7".parse().unwrap(), preferred: 0, valid: 0 };
    message.association = Some(Association { id: 7, granted: Some(granted), ..Association::default() });
    message.elapsed = 12;
    message
}

#[test]
fn a_question_is_read_as_it_was_written() {
    let message = question();
    let bytes = message.format();
    assert_eq!(bytes[..4], [3, 0xab, 0xcd, 0xef]);
    assert_eq!(Message::parse(&bytes), Some(Message { elapsed: 0, ..message }));
}

#[test]
fn an_answer_with_an_address_and_name_servers() {
    let message = Message::parse(&answer(Kind::Reply, &question(), "2001:db8::15", 100)).unwrap();
    assert_eq!((message.kind, message.xid), (Kind::Reply, 0x00ab_cdef));
    let association = message.association.unwrap();
    assert_eq!((association.id, association.t1, association.t2), (7, 50, 84));
    assert_eq!(association.granted.unwrap().address.to_string(), "2001:db8::15");
    assert_eq!(message.servers, ["2001:db8::53".parse::<Ipv6Addr>().unwrap()]);
    assert_eq!((message.search, message.status), (vec!["lab.example".to_owned()], Some(Status::Success)));
    assert_eq!(Message::parse(&says(&question(), 4)).unwrap().status, Some(Status::NotOnLink));
}

#[test]
fn a_pause_is_taken_within_its_limits() {
    for (seconds, taken) in [(59, None), (60, Some(60)), (86_400, Some(86_400)), (86_401, None)] {
        let mut bytes = says(&question(), 0);
        option(&mut bytes, SLOWEST, &u32::to_be_bytes(seconds));
        assert_eq!(Message::parse(&bytes).unwrap().slowest, taken);
    }
}

#[test]
fn what_is_no_address_of_a_host_is_not_taken() {
    for address in ["::", "::1", "ff02::1"] {
        let message = Message::parse(&answer(Kind::Reply, &question(), address, 100)).unwrap();
        assert_eq!(message.association.unwrap().granted, None, "{address}");
    }
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>, cut in 0usize..200) {
        let _ = Message::parse(&bytes);
        let whole = answer(Kind::Reply, &question(), "2001:db8::15", 100);
        let _ = Message::parse(&whole[..cut.min(whole.len())]);
    }
}

fuzz::targets! {
    dhcp6_reply: |bytes| {
        let Some(message) = Message::parse(bytes) else { return };
        assert!(message.search.iter().all(|domain| !domain.contains(char::is_whitespace)));
        assert!(message.servers.len() <= SERVERS_MAX);
    },
}
