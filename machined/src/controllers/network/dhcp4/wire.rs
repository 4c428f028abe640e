//! The sockets of one link's client, as a small trait, so that the controller is tested without them.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Mutex;

use futures_util::FutureExt;
use sys::packet::Socket;
use tokio::io::unix::AsyncFd;

use crate::poll;

/// The Ethernet limit; larger packets are no DHCP.
const PACKET_MAX: usize = 1500;
/// More at once is a flood; the rest waits for the next cycle.
const AT_ONCE: usize = 32;

/// What a client needs of the network.
pub trait Wire: Sized + Send + Sync + 'static {
    /// Opens the sockets of a link.
    fn open(index: u32) -> io::Result<Self>;
    /// Sends an IPv4 packet to everybody on the link.
    fn broadcast(&self, packet: &[u8]) -> io::Result<()>;
    /// Sends a message by UDP, from port 68 to port 67.
    fn unicast(&self, from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> io::Result<()>;
    /// Gives what arrived to `take`, from the IP header on.
    fn drain(&self, take: impl FnMut(&[u8]));
    /// Returns once something arrived. Cancel-safe.
    fn readable(&self) -> impl Future<Output = ()> + Send;
}

/// The real ones.
pub struct Sockets {
    packets: AsyncFd<Socket>,
    /// Kept until the next message: a server's answer to a closed port would be refused by the kernel.
    udp: Mutex<Option<UdpSocket>>,
}

impl Wire for Sockets {
    fn open(index: u32) -> io::Result<Self> {
        Ok(Self { packets: poll::readable(Socket::open(index)?)?, udp: Mutex::new(None) })
    }

    fn broadcast(&self, packet: &[u8]) -> io::Result<()> {
        *self.udp.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        self.packets.get_ref().broadcast(packet)
    }

    fn unicast(&self, from: Ipv4Addr, to: Ipv4Addr, message: &[u8]) -> io::Result<()> {
        let mut udp = self.udp.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // First away with the old one, which has the port.
        *udp = None;
        let socket = UdpSocket::bind((from, 68))?;
        socket.set_nonblocking(true)?;
        socket.send_to(message, (to, 67))?;
        *udp = Some(socket);
        Ok(())
    }

    fn drain(&self, mut take: impl FnMut(&[u8])) {
        // Taken before the last look: what arrives after it makes the socket readable again.
        let guard = self.packets.readable().now_or_never();
        let mut buffer = [0; PACKET_MAX];
        for _ in 0..AT_ONCE {
            match self.packets.get_ref().try_recv(&mut buffer) {
                Ok(len) => take(&buffer[..len.min(PACKET_MAX)]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Some(Ok(mut guard)) = guard {
                        guard.clear_ready();
                    }
                    return;
                }
                // ENETDOWN is said once when the link goes off; what else may come is no better served by stopping.
                Err(_) => {}
            }
        }
    }

    async fn readable(&self) {
        if let Ok(mut guard) = self.packets.readable().await {
            guard.retain_ready();
        }
    }
}
