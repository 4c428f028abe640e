//! The socket of one link's client, as a small trait, so that the controller is tested without it.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket as Std};

use tokio::net::UdpSocket;

/// All servers and relays of the link (RFC 8415, 7.1).
const SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const CLIENT_PORT: u16 = 546;
const SERVER_PORT: u16 = 547;
/// Larger messages than Ethernet's are no answer to us.
const MESSAGE_MAX: usize = 1500;
/// More at once is a flood; the rest waits for the next cycle.
const AT_ONCE: usize = 32;

/// What a client needs of the network.
pub trait Wire: Sized + Send + Sync + 'static {
    /// Opens the socket of a link, at its link-local address.
    fn open(index: u32, local: Ipv6Addr) -> io::Result<Self>;
    /// Sends a message to the servers of the link.
    fn send(&self, message: &[u8]) -> io::Result<()>;
    /// Gives what arrived to `take`.
    fn drain(&self, take: impl FnMut(&[u8]));
    /// Returns once something arrived. Cancel-safe.
    fn readable(&self) -> impl Future<Output = ()> + Send;
}

/// The real one.
pub struct Socket {
    udp: UdpSocket,
    index: u32,
}

impl Wire for Socket {
    fn open(index: u32, local: Ipv6Addr) -> io::Result<Self> {
        // Its scope keeps it on this link, so each link has one of its own.
        let udp = Std::bind(SocketAddrV6::new(local, CLIENT_PORT, 0, index))?;
        udp.set_nonblocking(true)?;
        Ok(Self { udp: UdpSocket::from_std(udp)?, index })
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        let to = SocketAddr::V6(SocketAddrV6::new(SERVERS, SERVER_PORT, 0, self.index));
        self.udp.try_send_to(message, to).map(drop)
    }

    fn drain(&self, mut take: impl FnMut(&[u8])) {
        let mut buffer = [0; MESSAGE_MAX];
        for _ in 0..AT_ONCE {
            match self.udp.try_recv_from(&mut buffer) {
                Ok((len, _)) => take(&buffer[..len.min(MESSAGE_MAX)]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // What an earlier message met (no route, nobody there) is said here; it is repeated.
                Err(_) => {}
            }
        }
    }

    async fn readable(&self) {
        // An error of the registration means that the runtime ends.
        let _ = self.udp.readable().await;
    }
}
