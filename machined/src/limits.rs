//! Resource limits (rlimits) machined sets for itself; services inherit those their declaration says nothing of. Called by
//! `boot`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// One descriptor for each connection, service, log reader and watch, with room.
const FILES: u64 = 16_384;

/// Sets the limits; a kernel that refuses one keeps its own.
pub fn set() -> Result<(), rustix::io::Errno> {
    let both = |n| Rlimit { current: Some(n), maximum: Some(n) };
    // A core of the process that holds the keys would be a copy of the keys.
    setrlimit(Resource::Core, both(0))?;
    let most = getrlimit(Resource::Nofile).maximum.unwrap_or(FILES);
    // The hard limit stays: a service may be declared to have more files than machined.
    setrlimit(Resource::Nofile, Rlimit { current: Some(FILES.min(most)), maximum: Some(most.max(FILES)) })
}
