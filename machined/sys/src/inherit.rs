//! Descriptors a program was started with, by number.
//!
//! Invariant: each number is taken once; afterwards it closes itself and is not passed on. Called by `bin/gateway.rs`,
//! first thing.

use std::{
    io,
    os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd},
    sync::Mutex,
};

/// The first descriptor a service is given: after stdin, stdout and stderr.
pub const FIRST: RawFd = 3;

/// Takes over descriptor `number`; fails when it is not open, or was taken before.
pub fn take(number: RawFd) -> io::Result<OwnedFd> {
    static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if number < FIRST || taken.contains(&number) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: only used to ask the kernel whether the descriptor is open; number >= 3, so it is not -1.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)?;
    taken.push(number);
    // SAFETY: it is open, and by `TAKEN` handed out once. That nothing else of this process owns the number is kept by the
    // caller: programs take what they inherited before they open anything.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_inherited_is_refused() {
        for number in [-1, 0, 2, 4000] {
            assert!(take(number).is_err(), "{number}");
        }
    }
}
