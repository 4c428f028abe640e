//! A packet socket for DHCP: IPv4 packets of one link to UDP port 68, without the link's header, also while the link has no
//! address. The kernel filters, so nothing else wakes the reader. Called by machined's DHCP controller.
#![expect(clippy::cast_possible_truncation, reason = "kernel constants and struct sizes, all far below the limits")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// ETH_P_IP in network order, as every field of `sockaddr_ll` wants it.
const IPV4: u16 = (libc::ETH_P_IP as u16).to_be();

/// `ip proto 17, not a later fragment, udp dst port 68`, on a packet that starts with its IP header (SOCK_DGRAM).
const FILTER: [libc::sock_filter; 9] = [
    op(0x30, 0, 0, 9),      // ldb [9]: protocol
    op(0x15, 0, 6, 17),     // jeq #17 else drop
    op(0x28, 0, 0, 6),      // ldh [6]: flags and fragment offset
    op(0x45, 4, 0, 0x1fff), // jset: a later fragment has no ports: drop
    op(0xb1, 0, 0, 0),      // ldxb 4*([0]&0xf): header length
    op(0x48, 0, 0, 2),      // ldh [x+2]: destination port
    op(0x15, 0, 1, 68),     // jeq #68 else drop
    op(0x06, 0, 0, 0xffff), // ret all
    op(0x06, 0, 0, 0),      // ret none
];

const fn op(code: u16, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// The socket. It never blocks, so machined wraps it in `AsyncFd`.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    link: i32,
}

impl Socket {
    /// Opens it on the link with this index.
    pub fn open(link: u32) -> io::Result<Self> {
        let link = i32::try_from(link).map_err(|_| io::ErrorKind::InvalidInput)?;
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // Protocol 0: nothing arrives before the filter is there and the socket is bound.
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, nobody else has it.
        let socket = Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, link };
        let program = libc::sock_fprog { len: FILTER.len() as u16, filter: FILTER.as_ptr().cast_mut() };
        // SAFETY: the kernel copies the program, which lives until the call returns, and does not write to it.
        let attached = unsafe {
            libc::setsockopt(
                fd,
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of::<libc::sock_fprog>() as libc::socklen_t,
            )
        };
        if attached < 0 {
            return Err(io::Error::last_os_error());
        }
        let address = socket.address();
        // SAFETY: `address` is a sockaddr_ll of the stated size.
        if unsafe { libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as libc::socklen_t) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(socket)
    }

    /// Sends an IPv4 packet to everybody on the link.
    pub fn broadcast(&self, packet: &[u8]) -> io::Result<()> {
        let mut address = self.address();
        address.sll_halen = 6;
        address.sll_addr = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0];
        // SAFETY: `packet` and `address` are live and of the stated sizes.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                packet.as_ptr().cast(),
                packet.len(),
                0,
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The next packet, from its IP header on; `WouldBlock` when there is none.
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (len, _) = rustix::net::recv(&self.fd, buffer, rustix::net::RecvFlags::DONTWAIT)?;
        Ok(len)
    }

    fn address(&self) -> libc::sockaddr_ll {
        // SAFETY: plain old data for which zeros are valid.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = IPV4;
        address.sll_ifindex = self.link;
        address
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
