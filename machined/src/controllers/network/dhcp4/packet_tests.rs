//! Messages against bytes.

use super::*;

/// What a server answers, made like a request and then turned round.
fn reply(kind: u8, xid: u32, mac: [u8; 6], address: Ipv4Addr, options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut message = vec![0; 240];
    (message[0], message[1], message[2]) = (2, 1, 6);
    message[4..8].copy_from_slice(&xid.to_be_bytes());
    message[16..20].copy_from_slice(&address.octets());
    message[28..34].copy_from_slice(&mac);
    message[236..240].copy_from_slice(&COOKIE.to_be_bytes());
    message.extend_from_slice(&[53, 1, kind]);
    for (code, data) in options {
        message.extend_from_slice(&[*code, u8::try_from(data.len()).unwrap()]);
        message.extend_from_slice(data);
    }
    message.push(255);
    let mut packet = vec![0; HEADERS];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&u16::try_from(HEADERS + message.len()).unwrap().to_be_bytes());
    packet[9] = 17;
    packet[20..24].copy_from_slice(&[0, 67, 0, 68]);
    packet[24..26].copy_from_slice(&u16::try_from(8 + message.len()).unwrap().to_be_bytes());
    packet.extend_from_slice(&message);
    packet
}

/// What a friendly server says to a packet of ours: an offer to a discover, an acknowledgement to a request.
pub(crate) fn answer(packet: &[u8], address: Ipv4Addr, seconds: u32) -> Vec<u8> {
    let ip = Ipv4Packet::new_checked(packet).unwrap();
    let dhcp = DhcpPacket::new_checked(UdpPacket::new_checked(ip.payload()).unwrap().payload()).unwrap();
    let discover = dhcp.options().any(|option| option.kind == 53 && option.data == [1]);
    let options: [(u8, &[u8]); 3] = [(1, &[255, 255, 255, 0]), (51, &seconds.to_be_bytes()), (54, &[10, 0, 2, 2])];
    let kind = if discover { 2 } else { 5 };
    reply(kind, dhcp.transaction_id(), dhcp.client_hardware_address().0, address, &options)
}

#[test]
fn a_discover_is_a_valid_packet() {
    let request = Request {
        kind: DhcpMessageType::Discover,
        xid: 0x1234_5678,
        secs: 3,
        mac: [0x52, 0x54, 0, 1, 2, 3],
        client: Ipv4Addr::UNSPECIFIED,
        wanted: None,
        server: None,
        hostname: "node".into(),
    };
    let bytes = request.packet();
    let ip = Ipv4Packet::new_checked(&bytes[..]).unwrap();
    assert!(ip.verify_checksum());
    let udp = UdpPacket::new_checked(ip.payload()).unwrap();
    assert!(udp.verify_checksum(&ip.src_addr().into(), &ip.dst_addr().into()));
    let dhcp = DhcpPacket::new_checked(udp.payload()).unwrap();
    assert_eq!((dhcp.transaction_id(), dhcp.magic_number()), (0x1234_5678, COOKIE));
    let options: BTreeMap<u8, Vec<u8>> = dhcp.options().map(|option| (option.kind, option.data.to_vec())).collect();
    assert_eq!(options[&53], [1]);
    assert_eq!(options[&12], b"node");
    assert_eq!(options[&61], [1, 0x52, 0x54, 0, 1, 2, 3]);
    assert_eq!(options[&55], PARAMETERS);
}

#[test]
fn an_answer_is_read_with_split_options() {
    let bytes = reply(
        5,
        7,
        [2; 6],
        Ipv4Addr::new(10, 0, 2, 15),
        &[(1, &[255, 255, 255, 0]), (54, &[10, 0, 2, 2]), (6, &[10, 0, 2, 3]), (6, &[10, 0, 2, 4])],
    );
    let reply = Reply::parse(&bytes).unwrap();
    assert_eq!(reply.kind, DhcpMessageType::Ack);
    assert_eq!(reply.network(), Some("10.0.2.15/24".parse().unwrap()));
    assert_eq!(reply.server(), Some(Ipv4Addr::new(10, 0, 2, 2)));
    assert_eq!(options::addresses(&reply.options[&6]).count(), 2);
}

#[test]
fn an_answer_without_an_address_gives_none() {
    let bytes = reply(5, 7, [2; 6], Ipv4Addr::UNSPECIFIED, &[]);
    assert_eq!(Reply::parse(&bytes).unwrap().network(), None);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>, cut in 0usize..400) {
        let _ = Reply::parse(&bytes);
        let whole = reply(2, 1, [1; 6], Ipv4Addr::new(1, 2, 3, 4), &[(121, &bytes[..bytes.len().min(255)])]);
        let _ = Reply::parse(&whole[..cut.min(whole.len())]);
    }
}

fuzz::targets! {
    dhcp_reply: |bytes| {
        let Some(reply) = Reply::parse(bytes) else { return };
        let _ = (reply.server(), reply.network());
        for value in reply.options.values() {
            let _ = (options::routes(value), options::domains(value), options::domain(value), options::number(value));
        }
    },
}
