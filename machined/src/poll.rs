//! Waiting for descriptors: the one place that makes an `AsyncFd`. Everybody who waits for a pipe, a pidfd or a socket
//! that tokio has no type for uses it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor for reading with the running runtime. Its owner goes in, so it stays open as long as it is
/// registered; it has to be non-blocking where it is read from.
#[expect(
    deprecated,
    reason = "the replacement is unsafe, for types whose descriptor changes; the bound `AsFd` rules those out"
)]
pub fn readable<T: AsFd + AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(owner, Interest::READABLE)
}
