//! The two ends of the link. Neither call ever blocks, whatever the descriptor's own mode, so the same socket serves a
//! poll loop (init), `tokio::io::unix::AsyncFd` (machined) and the forked child, which shares the open socket.

use super::{Event, FD, FRAME_SIZE, Frame, Malformed, Request};
use rustix::net::{self, AddressFamily, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryMessage, SendFlags};
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// machined's end.
pub type Client = Endpoint<Request, Event>;
/// init's end.
pub type Server = Endpoint<Event, Request>;

/// An end that sends `Out` and receives `In`.
#[derive(Debug)]
pub struct Endpoint<Out, In> {
    socket: OwnedFd,
    messages: PhantomData<fn(Out) -> In>,
}

/// Why machined has no link.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Started by hand, or by something that is not init.
    #[error("descriptor {FD} is not init's socket: machined has to be started by init")]
    NotInherited(#[source] io::Error),
    /// Asked for a second time.
    #[error("init's socket was taken before: there is one client in a process")]
    Taken,
}

/// A new pair; both ends are closed on exec.
pub fn pair() -> io::Result<(Server, Client)> {
    let (a, b) = net::socketpair(AddressFamily::UNIX, net::SocketType::SEQPACKET, net::SocketFlags::CLOEXEC, None)?;
    Ok((Server::new(a), Client::new(b)))
}

impl Client {
    /// Takes the end that init passed as descriptor [`FD`]; once in a process, before anything else opens descriptors.
    pub fn inherited() -> Result<Self, Error> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        if TAKEN.swap(true, Ordering::SeqCst) {
            return Err(Error::Taken);
        }
        // SAFETY: borrowed only for the two calls below, which fail with EBADF or ENOTSOCK when init passed nothing.
        let borrowed = unsafe { BorrowedFd::borrow_raw(FD) };
        let kind = net::sockopt::socket_type(borrowed).map_err(|e| Error::NotInherited(e.into()))?;
        if kind != net::SocketType::SEQPACKET {
            return Err(Error::NotInherited(io::ErrorKind::InvalidInput.into()));
        }
        rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC).map_err(|e| Error::NotInherited(e.into()))?;
        // SAFETY: it is an open socket that init passed for this purpose alone, and `TAKEN` makes this the only owner.
        Ok(Self::new(unsafe { OwnedFd::from_raw_fd(FD) }))
    }
}

impl<Out: Frame, In: Frame> Endpoint<Out, In> {
    /// Wraps a connected SOCK_SEQPACKET socket.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, messages: PhantomData }
    }

    /// Sends one message with at most one descriptor; `WouldBlock` when the peer is behind, `BrokenPipe` when it is gone.
    pub fn try_send(&self, message: &Out, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let frame = message.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = net::SendAncillaryBuffer::new(&mut space);
        let descriptors: &[BorrowedFd<'_>] = descriptor.as_slice();
        if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        net::sendmsg(&self.socket, &[IoSlice::new(&frame)], &mut control, flags)?;
        Ok(())
    }

    /// Receives one message; `WouldBlock` when there is none, `None` when the peer has closed its end.
    pub fn try_recv(&self) -> io::Result<Option<(In, Option<OwnedFd>)>> {
        // One byte more than a frame, so that a longer message is seen to be one.
        let mut frame = [0; FRAME_SIZE + 1];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = net::RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
            match net::recvmsg(&self.socket, &mut [IoSliceMut::new(&mut frame)], &mut control, flags) {
                // The peer died with unread messages: reported once, what it had sent is still to be read.
                Err(rustix::io::Errno::CONNRESET | rustix::io::Errno::INTR) => {}
                other => break other?,
            }
        };
        let mut descriptor = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                // Room for one: what the kernel could not place it has closed.
                descriptor = descriptors.last();
            }
        }
        if received.bytes == 0 && descriptor.is_none() {
            return Ok(None);
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            return Err(invalid(Malformed("more than one descriptor")));
        }
        let message = In::decode(frame.get(..received.bytes).unwrap_or(&frame)).map_err(invalid)?;
        Ok(Some((message, descriptor)))
    }
}

fn invalid(why: Malformed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<Out, In> AsFd for Endpoint<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<Out, In> AsRawFd for Endpoint<Out, In> {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
