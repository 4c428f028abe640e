//! The two unix sockets machined listens on: for the gateway's upstream connections, and for handing out its keys.
//!
//! Invariant: only the gateway's uid can connect (file mode), and who does is asked by SO_PEERCRED again. The listening
//! descriptors outlive machined in init's store, so that clients wait in the queue while it is restarted. Opened by
//! `boot`.

use std::{
    fs, io,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{PermissionsExt, chown},
            net::UnixListener,
        },
    },
    path::Path,
};

/// Clients that may wait for a machined that is being restarted.
const QUEUE: i32 = 512;

/// Why a socket cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}")]
pub struct Error {
    /// Which.
    pub path: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// Takes over the socket that init kept, or makes a new one at `path` that `uid` may connect to.
pub fn open(path: &Path, uid: u32, kept: Option<OwnedFd>) -> Result<UnixListener, Error> {
    let listener = match kept {
        Some(descriptor) => Ok(UnixListener::from(descriptor)),
        None => make(path, uid),
    };
    let ready = |listener: UnixListener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listener.and_then(ready).map_err(|source| Error { path: path.display().to_string(), source })
}

fn make(path: &Path, uid: u32) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // Until here nobody but root: /run/stele belongs to root, and a socket is made with the umask's bits.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    chown(path, Some(uid), Some(uid))?;
    rustix::net::listen(&listener, QUEUE)?;
    Ok(listener)
}
