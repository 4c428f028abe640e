//! Asks the routers of a link to announce themselves. The kernel does that when a link goes up, and not when it begins to
//! listen later: the next announcement may be ten minutes away.

use std::io;
use std::net::{Ipv6Addr, SocketAddrV6};

use rustix::net::{self, AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sockopt};

/// All routers of the link (RFC 4861, 6.3.7).
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// A Router Solicitation without options (RFC 4861, 4.1); the kernel fills in the checksum.
const SOLICITATION: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];
/// With any other number of hops it is not from this link, and does not count.
const HOPS: u32 = 255;

/// Sends one question; its answer is the kernel's to hear.
pub(super) fn routers(index: u32) -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::INET6, SocketType::RAW, flags, Some(ipproto::ICMPV6))?;
    sockopt::set_ipv6_multicast_hops(&socket, HOPS)?;
    net::sendto(&socket, &SOLICITATION, SendFlags::empty(), &SocketAddrV6::new(ROUTERS, 0, 0, index))?;
    Ok(())
}
