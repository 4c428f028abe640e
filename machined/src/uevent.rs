//! The kernel's device events, for controllers: each has its own listener and says which events it wants.
//!
//! Invariant: nothing is missed silently; when the socket or the queue overflows the next batch says so, and its reader
//! walks /sys again. A listener is a controller's `wake`: waiting is cancel-safe.

use std::io;

use sys::uevent::{MESSAGE_MAX, Message, Socket};
use tokio::io::unix::AsyncFd;

use crate::poll;

/// Events kept between two reads: the burst of a large machine; more means a walk, which is cheaper then.
const QUEUE_MAX: usize = 2048;

/// What a controller needs of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `add`, `remove`, `change`, …
    pub action: String,
    /// Path under /sys, with a leading slash.
    pub devpath: String,
    /// What a module's alias is matched with.
    pub modalias: Option<String>,
}

/// What came since the last read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Some events were lost.
    pub lost: bool,
    /// In order.
    pub events: Vec<Event>,
}

/// One listener.
#[derive(Debug)]
pub struct Listener {
    /// None in tests: never an event.
    socket: Option<AsyncFd<Socket>>,
    wanted: fn(&Message<'_>) -> bool,
    waiting: Batch,
}

impl Listener {
    /// Listens from now on. Must be called within a runtime.
    pub fn open(wanted: fn(&Message<'_>) -> bool) -> io::Result<Self> {
        let socket = poll::readable(Socket::open()?)?;
        Ok(Self { socket: Some(socket), wanted, waiting: Batch::default() })
    }

    /// One that never hears anything.
    pub fn silent() -> Self {
        Self { socket: None, wanted: |_| false, waiting: Batch::default() }
    }

    /// Waits until there is something to read. Cancel-safe: what was heard is kept.
    pub async fn heard(&mut self) {
        while self.waiting.events.is_empty() && !self.waiting.lost {
            let Some(socket) = &self.socket else { return std::future::pending().await };
            let Ok(mut ready) = socket.readable().await else { return std::future::pending().await };
            if !receive(socket.get_ref(), self.wanted, &mut self.waiting) {
                ready.clear_ready();
            }
        }
    }

    /// All that came until now, without waiting.
    pub fn read(&mut self) -> Batch {
        if let Some(socket) = &self.socket {
            while receive(socket.get_ref(), self.wanted, &mut self.waiting) {}
        }
        std::mem::take(&mut self.waiting)
    }
}

/// Takes up to 64 events, so that a storm cannot hold the thread; false once the socket is empty.
fn receive(socket: &Socket, wanted: fn(&Message<'_>) -> bool, into: &mut Batch) -> bool {
    let mut buffer = [0; MESSAGE_MAX];
    for _ in 0..64 {
        match socket.try_recv(&mut buffer) {
            Ok(message) if !wanted(&message) => {}
            Ok(_) if into.events.len() >= QUEUE_MAX => into.lost = true,
            Ok(message) => into.events.push(Event {
                action: message.action.into(),
                devpath: message.devpath.into(),
                modalias: message.get("MODALIAS").map(Into::into),
            }),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return false,
            // ENOBUFS: the kernel dropped some.
            Err(_) => into.lost = true,
        }
    }
    true
}
