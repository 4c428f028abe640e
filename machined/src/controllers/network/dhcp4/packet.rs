//! DHCPv4 messages (RFC 2131, 2132, 3396, 3442) in IPv4 packets, to and from bytes. smoltcp knows the fixed fields; the
//! options that it does not know are read here. Whatever arrives is outside input: nothing here panics on it.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket,
    UdpRepr,
};

use super::options;

/// Ask for: mask, router, name servers, domain, MTU, time servers, domain search, classless routes. The order is the
/// order of preference; RFC 3442 wants the classless routes before the router.
const PARAMETERS: &[u8] = &[1, 121, 3, 6, 15, 26, 42, 119];
/// The magic cookie that says "options follow" (RFC 2131, 3).
const COOKIE: u32 = 0x6382_5363;
/// IPv4 and UDP headers.
const HEADERS: usize = 20 + 8;

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Discover, Request or Release.
    pub kind: DhcpMessageType,
    /// Ties answers to it.
    pub xid: u32,
    /// Seconds since the client began to ask.
    pub secs: u16,
    /// The client's hardware address; its client id is made of it.
    pub mac: [u8; 6],
    /// The address it already uses; else unspecified.
    pub client: Ipv4Addr,
    /// The address it wants.
    pub wanted: Option<Ipv4Addr>,
    /// The server it chose.
    pub server: Option<Ipv4Addr>,
    /// Its name.
    pub hostname: String,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Offer, Ack or Nak.
    pub kind: DhcpMessageType,
    /// Of the request.
    pub xid: u32,
    /// The client it is for.
    pub mac: [u8; 6],
    /// The address it gives.
    pub address: Ipv4Addr,
    /// Its options, parts of one put together (RFC 3396).
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl Request {
    /// The DHCP message alone, as it goes over a UDP socket.
    pub fn message(&self) -> Vec<u8> {
        let hostname = DhcpOption { kind: 12, data: self.hostname.as_bytes() };
        let extra = [hostname];
        let repr = DhcpRepr {
            message_type: self.kind,
            transaction_id: self.xid,
            secs: self.secs,
            client_hardware_address: EthernetAddress(self.mac),
            client_ip: self.client,
            your_ip: Ipv4Addr::UNSPECIFIED,
            server_ip: Ipv4Addr::UNSPECIFIED,
            router: None,
            subnet_mask: None,
            relay_agent_ip: Ipv4Addr::UNSPECIFIED,
            // A packet socket hears answers to an address the link does not have yet.
            broadcast: false,
            requested_ip: self.wanted,
            client_identifier: Some(EthernetAddress(self.mac)),
            server_identifier: self.server,
            parameter_request_list: Some(PARAMETERS),
            dns_servers: None,
            max_size: Some(1472),
            lease_duration: None,
            renew_duration: None,
            rebind_duration: None,
            additional_options: if self.hostname.is_empty() || self.hostname.len() > 255 { &[] } else { &extra },
        };
        let mut bytes = vec![0; repr.buffer_len().max(300)];
        // Cannot fail: the buffer has the length the message asked for.
        let _ = repr.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..]));
        bytes
    }

    /// The message in an IPv4 packet to everybody, for a link that has no address.
    pub fn packet(&self) -> Vec<u8> {
        let message = self.message();
        let udp = UdpRepr { src_port: 68, dst_port: 67 };
        let ip = Ipv4Repr {
            src_addr: self.client,
            dst_addr: Ipv4Addr::BROADCAST,
            next_header: IpProtocol::Udp,
            payload_len: 8 + message.len(),
            hop_limit: 64,
        };
        let checksums = ChecksumCapabilities::default();
        let mut bytes = vec![0; HEADERS + message.len()];
        let mut packet = Ipv4Packet::new_unchecked(&mut bytes[..]);
        ip.emit(&mut packet, &checksums);
        udp.emit(
            &mut UdpPacket::new_unchecked(packet.payload_mut()),
            &ip.src_addr.into(),
            &ip.dst_addr.into(),
            message.len(),
            |payload| payload.copy_from_slice(&message),
            &checksums,
        );
        bytes
    }
}

impl Reply {
    /// Reads an IPv4 packet; none for anything but a DHCP server's answer to an Ethernet client. The UDP checksum is not
    /// checked: a server on the same host leaves it to hardware that is not there.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let ip = Ipv4Packet::new_checked(packet).ok()?;
        let udp = UdpPacket::new_checked(ip.payload()).ok()?;
        if ip.next_header() != IpProtocol::Udp || udp.src_port() != 67 || udp.dst_port() != 68 {
            return None;
        }
        let dhcp = DhcpPacket::new_checked(udp.payload()).ok()?;
        if dhcp.magic_number() != COOKIE || dhcp.hardware_len() != 6 {
            return None;
        }
        let mut options: BTreeMap<u8, Vec<u8>> = BTreeMap::new();
        for option in dhcp.options() {
            options.entry(option.kind).or_default().extend_from_slice(option.data);
        }
        let kind = match options.get(&53)?.first()? {
            2 => DhcpMessageType::Offer,
            5 => DhcpMessageType::Ack,
            6 => DhcpMessageType::Nak,
            _ => return None,
        };
        Some(Self {
            kind,
            xid: dhcp.transaction_id(),
            mac: dhcp.client_hardware_address().0,
            address: dhcp.your_ip(),
            options,
        })
    }

    /// The server that speaks.
    pub fn server(&self) -> Option<Ipv4Addr> {
        options::addresses(self.options.get(&54)?).next()
    }

    /// The address with its network: by the mask, else by the address's class (there is no better guess).
    pub fn network(&self) -> Option<Ipv4Net> {
        let mask = self.options.get(&1).and_then(|mask| options::addresses(mask).next());
        let mask = mask.unwrap_or_else(|| options::class_mask(self.address));
        let usable = !(self.address.is_unspecified() || self.address.is_multicast() || self.address.is_broadcast());
        usable.then(|| Ipv4Net::with_netmask(self.address, mask).ok()).flatten()
    }
}

#[cfg(test)]
#[path = "packet_tests.rs"]
pub(super) mod tests;
