//! The values of DHCP options: address lists, numbers, classless routes (RFC 3442), domain search lists (RFC 3397).
//! Nothing panics on outside bytes; what does not parse is left out.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A list of addresses; a broken tail is left out.
pub fn addresses(bytes: &[u8]) -> impl Iterator<Item = Ipv4Addr> + '_ {
    bytes.as_chunks::<4>().0.iter().map(|octets| Ipv4Addr::from(*octets))
}

/// A 32-bit number.
pub fn number(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

/// A 16-bit number.
pub fn short(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?))
}

/// The network of an address without a mask, from the time before masks.
pub fn class_mask(address: Ipv4Addr) -> Ipv4Addr {
    match address.octets()[0] {
        0..128 => Ipv4Addr::new(255, 0, 0, 0),
        128..192 => Ipv4Addr::new(255, 255, 0, 0),
        _ => Ipv4Addr::new(255, 255, 255, 0),
    }
}

/// Classless routes: prefix length, the octets that matter, gateway (0.0.0.0: on the link). One bad entry makes all of it
/// void: what follows cannot be told apart.
pub fn routes(mut bytes: &[u8]) -> Option<Vec<(Ipv4Net, Option<Ipv4Addr>)>> {
    let mut routes = Vec::new();
    while let Some((&len, rest)) = bytes.split_first() {
        let octets = usize::from(len).div_ceil(8);
        let mut destination = [0; 4];
        destination.get_mut(..octets)?.copy_from_slice(rest.get(..octets)?);
        let gateway: [u8; 4] = rest.get(octets..octets + 4)?.try_into().ok()?;
        let gateway = Some(Ipv4Addr::from(gateway)).filter(|gateway| !gateway.is_unspecified());
        routes.push((Ipv4Net::new(Ipv4Addr::from(destination), len).ok()?.trunc(), gateway));
        bytes = &rest[octets + 4..];
    }
    Some(routes)
}

/// A domain name that is safe in resolv.conf.
pub fn domain(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\0', '.']);
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (!text.is_empty() && text.len() <= 253 && text.bytes().all(fine)).then(|| text.to_owned())
}

/// A search list in the form of DNS messages, with pointers into itself. A broken list ends where it breaks.
pub fn domains(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let Some((name, next)) = domain_at(bytes, at) else { break };
        found.extend(domain(name.as_bytes()));
        at = next;
    }
    found
}

/// The name at a place and where the next one starts. A pointer only goes backwards, so this ends.
fn domain_at(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let mut at = start;
    let mut next = None;
    loop {
        let len = usize::from(*bytes.get(at)?);
        if len & 0xc0 == 0xc0 {
            let target = (len & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
            next = next.or(Some(at + 2));
            if target >= at.min(start) {
                return None;
            }
            at = target;
        } else if len == 0 {
            return Some((name, next.unwrap_or(at + 1)));
        } else {
            let label = std::str::from_utf8(bytes.get(at + 1..at + 1 + len)?).ok()?;
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(label);
            at += 1 + len;
        }
        if name.len() > 253 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classless_routes() {
        let bytes = [0, 10, 0, 2, 2, 24, 192, 168, 7, 0, 0, 0, 0];
        let routes = routes(&bytes).unwrap();
        assert_eq!(routes[0], ("0.0.0.0/0".parse().unwrap(), Some(Ipv4Addr::new(10, 0, 2, 2))));
        assert_eq!(routes[1], ("192.168.7.0/24".parse().unwrap(), None));
        assert_eq!(super::routes(&[33, 1, 2, 3, 4, 5, 6, 7, 8, 9]), None);
        assert_eq!(super::routes(&[24, 1, 2]), None);
    }

    #[test]
    fn search_lists_with_pointers() {
        let bytes = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        assert_eq!(domains(bytes), ["eng.apple.com", "marketing.apple.com"]);
        // A pointer to itself ends instead of turning round for ever.
        assert!(domains(b"\xc0\x00").is_empty());
    }

    #[test]
    fn domains_that_could_break_a_file_are_refused() {
        assert_eq!(domain(b"example.org\0").as_deref(), Some("example.org"));
        assert_eq!(domain(b"a\nnameserver 6.6.6.6"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = (routes(&bytes), domains(&bytes), domain(&bytes), addresses(&bytes).count());
        }
    }
}
