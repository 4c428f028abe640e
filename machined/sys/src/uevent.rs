//! Device events of the kernel: the netlink kobject uevent socket and the form of its messages.
//! The socket never blocks, so machined wraps it in `AsyncFd`.

use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{self, AddressFamily, RecvFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// Large enough for every message: the kernel's own buffer has 2 KiB, plus its header line.
pub const MESSAGE_MAX: usize = 4096;
/// Receive buffer: the burst of a large machine's coldplug, some thousand messages.
const RECEIVE_BUFFER: usize = 4 << 20;

/// A socket that receives the kernel's device events.
#[derive(Debug)]
pub struct Socket(OwnedFd);

/// One event; borrows the buffer it was received in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// `add`, `remove`, `change`, `move`, `bind`, …
    pub action: &'a str,
    /// Path under /sys, with a leading slash.
    pub devpath: &'a str,
    variables: &'a [u8],
}

impl Socket {
    /// Opens it; events from now on are received.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(KOBJECT_UEVENT))?;
        // Needs CAP_NET_ADMIN; without it the default must do.
        let _ = net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
        // Group 1: the kernel's own messages (2 is udev's).
        net::bind(&socket, &SocketAddrNetlink::new(0, 1))?;
        Ok(Self(socket))
    }

    /// The next event. `WouldBlock`: none; ENOBUFS: some were lost, walk /sys again. Messages of other processes are skipped.
    pub fn try_recv<'b>(&self, buffer: &'b mut [u8; MESSAGE_MAX]) -> io::Result<Message<'b>> {
        let len = loop {
            let (len, _, sender) = net::recvfrom(&self.0, &mut buffer[..], RecvFlags::DONTWAIT)?;
            let kernel = sender.and_then(|s| SocketAddrNetlink::try_from(s).ok()).is_some_and(|s| s.pid() == 0);
            if kernel && Message::parse(&buffer[..len.min(MESSAGE_MAX)]).is_some() {
                break len.min(MESSAGE_MAX);
            }
        };
        Message::parse(&buffer[..len]).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl<'a> Message<'a> {
    /// Reads `action@devpath\0KEY=value\0…`; none for anything else.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.iter().position(|b| *b == 0)?;
        let (action, devpath) = std::str::from_utf8(&bytes[..end]).ok()?.split_once('@')?;
        devpath.starts_with('/').then_some(Self { action, devpath, variables: &bytes[end + 1..] })
    }

    /// Its variables, SUBSYSTEM, MODALIAS, DEVNAME and so on; those that are not UTF-8 are left out.
    pub fn variables(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.variables.split(|b| *b == 0).filter_map(|v| std::str::from_utf8(v).ok()?.split_once('='))
    }

    /// One variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.variables().find(|(n, _)| *n == name).map(|(_, value)| value)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_messages() {
        let text = b"add@/devices/pci0000:00/0000:00:03.0\0ACTION=add\0SUBSYSTEM=pci\0MODALIAS=pci:v1d2\0BAD=\xff\0";
        let message = Message::parse(text).unwrap();
        assert_eq!((message.action, message.devpath), ("add", "/devices/pci0000:00/0000:00:03.0"));
        assert_eq!(message.get("MODALIAS"), Some("pci:v1d2"));
        assert_eq!(message.variables().count(), 3);
        assert_eq!(message.get("BAD"), None);
    }

    #[test]
    fn refuses_what_the_kernel_never_sends() {
        for bytes in [&b""[..], b"add", b"libudev\0\xfe\xed", b"add@nopath\0", b"\xff@/x\0"] {
            assert_eq!(Message::parse(bytes), None);
        }
    }

    #[test]
    fn opens_and_is_empty() {
        let socket = Socket::open().unwrap();
        let mut buffer = [0; MESSAGE_MAX];
        // Nothing, or a real event of the host: never a block.
        if let Err(e) = socket.try_recv(&mut buffer) {
            assert_eq!(e.kind(), io::ErrorKind::WouldBlock);
        }
    }

    fuzz::targets! {
        uevent: |bytes| {
            let Some(message) = Message::parse(bytes) else { return };
            assert!(message.devpath.starts_with('/'));
            for (name, _) in message.variables() {
                assert!(message.get(name).is_some());
            }
        },
    }
}
