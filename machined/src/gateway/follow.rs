//! Gets the keys from machined, now and after every change, and answers whether they are in use.
//!
//! Invariant: keys that cannot be used change nothing; without machined the last good ones stay. Run by `gateway::run`
//! for ever.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, net::UnixStream, sync::watch, time::Instant};

use super::{
    keys::{self, Keys},
    report,
    tls::Terms,
    wire,
};

/// First pause before machined is asked again: it is back within a second.
const SOON: Duration = Duration::from_millis(50);

/// Longest pause.
const LATE: Duration = Duration::from_secs(2);

/// Sends every usable set of keys to `terms`.
pub async fn follow(socket: &Path, terms: watch::Sender<Option<Arc<Terms>>>) {
    let mut pause = SOON;
    let mut said = String::new();
    loop {
        let started = Instant::now();
        let Err(error) = session(socket, &terms).await;
        // The same line again and again tells nothing.
        let line = crate::trace::chain(&error);
        if line != said {
            report::say(format_args!("no keys from machined at {}: {line}; asking again", socket.display()));
            said = line;
        }
        if started.elapsed() > LATE {
            (pause, said) = (SOON, String::new());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LATE);
    }
}

/// One connection to machined; ends only by an error.
async fn session(
    socket: &Path,
    terms: &watch::Sender<Option<Arc<Terms>>>,
) -> Result<std::convert::Infallible, wire::Error> {
    let mut machined = UnixStream::connect(socket).await?;
    // Only root can make the socket in /run/stele; still, nobody else's keys. (In tests both programs have one uid.)
    let uid = machined.peer_cred()?.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
    }
    loop {
        let keys = Keys::read(&mut machined).await?;
        let refusal = match Terms::build(&keys) {
            Ok(new) => {
                terms.send_replace(Some(Arc::new(new)));
                None
            }
            Err(error) => {
                let refusal = crate::trace::chain(&error);
                report::say(format_args!("keys from machined are not usable, keeping the last ones: {refusal}"));
                Some(refusal)
            }
        };
        drop(keys);
        machined.write_all(&keys::format_answer(refusal.as_deref())?).await?;
    }
}
