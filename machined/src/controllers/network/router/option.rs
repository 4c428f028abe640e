//! Options of router announcements that the kernel passes on by RTM_NEWNDUSEROPT: name servers and search domains
//! (RFC 8106). Outside bytes: nothing panics, what does not parse is left out.

use std::net::Ipv6Addr;

use crate::controllers::network::dhcp4::options::domains;

/// RTM_NEWNDUSEROPT (linux/rtnetlink.h).
const NEW_OPTION: u16 = 68;
/// Headers: struct nlmsghdr, struct nduseroptmsg.
const MESSAGE_HEADER: usize = 16;
const OPTION_HEADER: usize = 16;
/// RFC 8106, 5.1 and 5.2.
const SERVERS: u8 = 25;
const SEARCH: u8 = 31;

/// One option of one announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announced {
    /// The link's number.
    pub link: u32,
    /// For how many seconds; 0: no longer; `u32::MAX`: for ever.
    pub lifetime: u32,
    /// Name servers.
    pub servers: Vec<Ipv6Addr>,
    /// Search domains.
    pub search: Vec<String>,
}

/// Reads a datagram of the ND_USEROPT group.
pub fn parse(mut datagram: &[u8]) -> Vec<Announced> {
    let mut found = Vec::new();
    while let Some(header) = datagram.first_chunk::<MESSAGE_HEADER>() {
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let Some(message) = datagram.get(MESSAGE_HEADER..len) else { break };
        if kind == NEW_OPTION {
            parse_message(message, &mut found);
        }
        datagram = datagram.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn parse_message(message: &[u8], found: &mut Vec<Announced>) {
    let Some(header) = message.first_chunk::<OPTION_HEADER>() else { return };
    let len = usize::from(u16::from_ne_bytes([header[2], header[3]]));
    let link = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
    let Some(mut options) = message.get(OPTION_HEADER..OPTION_HEADER + len) else { return };
    // Type, length in units of eight bytes, then: two reserved bytes, lifetime, values.
    while let Some(&[kind, units, ..]) = options.first_chunk::<8>() {
        let Some(option) = options.get(..usize::from(units) * 8).filter(|option| option.len() >= 8) else { return };
        let lifetime = u32::from_be_bytes([option[4], option[5], option[6], option[7]]);
        let values = &option[8..];
        let servers = values.as_chunks::<16>().0.iter().map(|octets| Ipv6Addr::from(*octets));
        match kind {
            SERVERS => found.push(Announced { link, lifetime, servers: servers.collect(), search: Vec::new() }),
            SEARCH => found.push(Announced { link, lifetime, servers: Vec::new(), search: domains(values) }),
            _ => {}
        }
        options = &options[option.len()..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(options: &[u8]) -> Vec<u8> {
        let len = u32::try_from(MESSAGE_HEADER + OPTION_HEADER + options.len()).unwrap();
        let mut bytes = len.to_ne_bytes().to_vec();
        bytes.extend_from_slice(&NEW_OPTION.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(&[10, 0]);
        bytes.extend_from_slice(&u16::try_from(options.len()).unwrap().to_ne_bytes());
        bytes.extend_from_slice(&2u32.to_ne_bytes());
        bytes.extend_from_slice(&[134, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(options);
        bytes
    }

    #[test]
    fn name_servers_and_search_domains() {
        let mut options = vec![SERVERS, 3, 0, 0, 0, 0, 0x0e, 0x10];
        options.extend_from_slice(&"fec0::3".parse::<Ipv6Addr>().unwrap().octets());
        options.extend_from_slice(&[SEARCH, 3, 0, 0, 0, 0, 0, 60]);
        options.extend_from_slice(b"\x03lab\x07example\0\0\0\0");
        let found = parse(&datagram(&options));
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].link, found[0].lifetime), (2, 3600));
        assert_eq!(found[0].servers, ["fec0::3".parse::<Ipv6Addr>().unwrap()]);
        assert_eq!((found[1].search.as_slice(), found[1].lifetime), (["lab.example".to_owned()].as_slice(), 60));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = parse(&bytes);
            let _ = parse(&datagram(&bytes));
        }
    }

    fuzz::targets! {
        router_option: |bytes| {
            let found = parse(bytes).into_iter().chain(parse(&datagram(bytes)));
            for announced in found {
                assert!(announced.search.iter().all(|domain| !domain.contains(char::is_whitespace)));
            }
        },
    }
}
