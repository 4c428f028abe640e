//! Random numbers: the kernel is made to gather them, and a seed is carried from one boot to the next in META's record.
//! Never blocks: a machine without any source of randomness boots all the same. Called by `main` first of all (gather),
//! and by `boot` (renew) once META is there.
//!
//! Invariant: a seed is replaced on disk before it is used, so that none is ever used twice; it is mixed in but never
//! counted as entropy, since a disk can be copied.

use std::fs;
use std::io::{self, Read};
use std::thread;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::meta;

/// Bytes: what the kernel's generator holds.
const SEED: usize = 32;

/// Why no seed was carried on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel's generator.
    #[error("cannot use the kernel's random number generator")]
    Random(#[from] io::Error),
    /// META.
    #[error("cannot keep a random seed")]
    Meta(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Sees to it that the kernel's generator becomes ready on a machine that has no source of its own. The kernel gathers from
/// the jitter of its clock only while somebody waits in getrandom(2); libraries poll /dev/random in place of that, and
/// would do so for ever on a machine where nothing else happens.
///
/// # Errors
/// There is no thread to wait in.
pub fn gather() -> io::Result<()> {
    let mut byte = [0; 1];
    if getrandom(&mut byte, GetRandomFlags::NONBLOCK) != Err(Errno::AGAIN) {
        return Ok(());
    }
    let wait = move || while getrandom(&mut byte, GetRandomFlags::empty()) == Err(Errno::INTR) {};
    thread::Builder::new().name("entropy".into()).spawn(wait).map(drop)
}

/// Replaces the seed META holds by a new one, then mixes the old one in.
pub async fn renew(meta: &meta::Handle) -> Result<(), Error> {
    let old = meta.record().seed;
    // urandom gives what it has: from a generator that is not ready yet, mixed with the old seed below, that is a seed
    // no worse than the one before.
    let mut new = [0; SEED];
    fs::File::open("/dev/urandom")?.read_exact(&mut new)?;
    if let Some(old) = &old {
        fs::write("/dev/urandom", old)?;
        let mut more = [0; SEED];
        fs::File::open("/dev/urandom")?.read_exact(&mut more)?;
        new.iter_mut().zip(more).for_each(|(a, b)| *a ^= b);
    }
    let hex = new.iter().map(|byte| format!("{byte:02x}")).collect();
    meta.update(|record| record.seed = Some(hex)).await.map_err(|e| Error::Meta(Box::new(e)))?;
    Ok(())
}
