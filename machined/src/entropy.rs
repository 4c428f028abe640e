//! Random numbers: the kernel is made to gather them, and a seed is carried from one boot to the next in META's record.
//! Never blocks: a machine without any source of randomness boots all the same. Called by `main` first of all (gather),
//! and by `boot` (renew) once META is there.
//!
//! Invariant: a seed is replaced on disk before it is used, so that none is ever used twice; it is mixed in but never
//! counted as entropy, since a disk can be copied.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::thread;

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest, Sha256};

use crate::meta;

/// Bytes: what the kernel's generator holds.
const SEED: usize = 32;
/// So that no other use of SHA-256 gives the same bytes.
const PURPOSE: &[u8] = b"stele random seed 1";

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
    carry(meta, Path::new("/dev/urandom")).await
}

async fn carry(meta: &meta::Handle, urandom: &Path) -> Result<(), Error> {
    let old = meta.record().seed;
    // It gives what it has; from a generator that is not ready yet, hashed with the old seed, that is a seed no worse than
    // the one before.
    let mut random = [0; SEED];
    fs::File::open(urandom)?.read_exact(&mut random)?;
    let mut new = Sha256::new_with_prefix(PURPOSE);
    new.update(random);
    new.update(old.as_deref().unwrap_or_default());
    let hex = new.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let saved = meta.update(|record| record.seed = Some(hex)).await.map_err(|e| Error::Meta(Box::new(e)))?;
    match (old, saved) {
        (Some(old), meta::Saved::Disk) => Ok(fs::write(urandom, old)?),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_old_seed_is_used_only_once_the_new_one_is_on_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        let device = meta::tests::fresh(dir.path());
        let urandom = dir.path().join("urandom");
        let random = vec![7; SEED];
        fs::write(&urandom, &random).unwrap();
        let meta = meta::Handle::new("11111111-1111-4111-8111-111111111111");
        meta.attach(&device).await.unwrap();
        carry(&meta, &urandom).await.unwrap();
        let first = meta.record().seed.unwrap();
        assert_eq!(fs::read(&urandom).unwrap(), random, "there was none before");

        let away = dir.path().join("away");
        fs::rename(&device, &away).unwrap();
        assert!(carry(&meta, &urandom).await.is_err());
        assert_eq!(fs::read(&urandom).unwrap(), random, "used although the disk still holds it");

        fs::rename(&away, &device).unwrap();
        meta.update(|record| record.seed = Some(first.clone())).await.unwrap();
        carry(&meta, &urandom).await.unwrap();
        assert_eq!(fs::read(&urandom).unwrap(), first.as_bytes());
        let second = meta.record().seed.unwrap();
        assert!(second.len() == 2 * SEED && second != first);
    }
}
