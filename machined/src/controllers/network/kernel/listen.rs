//! What the kernel says unasked: that links, addresses or routes changed, and the options of router announcements that
//! it leaves to user space. A socket of our own, because what arrives is either only a hint or not known to rtnetlink.

use std::io;
use std::os::fd::OwnedFd;

use futures_util::FutureExt;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{self, AddressFamily, RecvFlags, SocketFlags, SocketType};
use tokio::io::unix::AsyncFd;

use crate::controllers::network::netlink::Changes;
use crate::poll;

/// RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV6_IFADDR, _IPV6_ROUTE as the bits of nl_groups: group n is bit n - 1.
const STATE_GROUPS: u32 = 1 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10;
/// RTNLGRP_ND_USEROPT.
const ROUTER_GROUPS: u32 = 1 << 19;
/// The largest message of these groups (a link with many virtual functions) fits.
const MESSAGE_MAX: usize = 32 << 10;

/// A socket that hears some groups.
#[derive(Debug)]
pub struct Listener {
    socket: AsyncFd<OwnedFd>,
}

impl Listener {
    /// Hears that links, addresses or routes changed.
    pub fn state() -> io::Result<Self> {
        Self::open(STATE_GROUPS)
    }

    /// Hears the options of router announcements.
    pub fn router() -> io::Result<Self> {
        Self::open(ROUTER_GROUPS)
    }

    fn open(groups: u32) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // No protocol is protocol 0, NETLINK_ROUTE.
        let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self { socket: poll::readable(socket)? })
    }

    /// Returns once something is there to receive. Cancel-safe.
    pub async fn readable(&self) {
        // An error of the registration means that the runtime ends.
        if let Ok(mut guard) = self.socket.readable().await {
            guard.retain_ready();
        }
    }

    /// Receives all there is and gives each datagram to `take`. Messages that were lost for want of space count as one
    /// empty datagram.
    pub fn drain(&self, mut take: impl FnMut(&[u8])) {
        // Taken before the last look: what arrives after it makes the socket readable again.
        let guard = self.socket.readable().now_or_never();
        let mut buffer = vec![0; MESSAGE_MAX];
        loop {
            match net::recvfrom(self.socket.get_ref(), &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((len, _, sender)) => {
                    let sender = sender.and_then(|from| SocketAddrNetlink::try_from(from).ok());
                    if sender.is_some_and(|from| from.pid() == 0) {
                        take(&buffer[..len.min(MESSAGE_MAX)]);
                    }
                }
                Err(rustix::io::Errno::NOBUFS) => take(&[]),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        if let Some(Ok(mut guard)) = guard {
            guard.clear_ready();
        }
    }
}

impl Changes for Listener {
    async fn changed(&mut self) {
        loop {
            self.readable().await;
            let mut heard = false;
            self.drain(|_| heard = true);
            if heard {
                return;
            }
        }
    }
}
