//! Gets the keys from machined, now and after every change, and answers whether they are in use.
//!
//! Invariant: keys that cannot be used change nothing; without machined its last word stays. Run by `gateway::serve` for
//! ever.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::{io::AsyncWriteExt, net::UnixStream, sync::watch, time::Instant};

use super::{keys, report, tls::Terms, wire};

/// First pause before machined is asked again: it is back within a second.
const SOON: Duration = Duration::from_millis(50);

/// Longest pause.
const LATE: Duration = Duration::from_secs(2);

/// What machined wants, as far as it has said.
#[derive(Clone, Debug, Default)]
pub enum Word {
    /// It has said nothing yet.
    #[default]
    None,
    /// Serve nobody.
    Close,
    /// Serve clients on these terms.
    Serve(Arc<Terms>),
}

/// Sends machined's every word to `word`.
pub async fn follow(socket: &Path, word: watch::Sender<Word>) {
    let mut pause = SOON;
    let mut said = String::new();
    loop {
        let started = Instant::now();
        let Err(error) = session(socket, &word).await;
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
async fn session(socket: &Path, word: &watch::Sender<Word>) -> Result<std::convert::Infallible, wire::Error> {
    let mut machined = UnixStream::connect(socket).await?;
    // Only root can make the socket in /run/stele; still, nobody else's keys. (In tests both programs have one uid.)
    let uid = machined.peer_cred()?.uid();
    if uid != 0 && uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied).into());
    }
    loop {
        let keys = keys::read(&mut machined).await?;
        let refusal = match keys.as_ref().map(Terms::build).transpose() {
            Ok(terms) => {
                word.send_replace(terms.map_or(Word::Close, |terms| Word::Serve(Arc::new(terms))));
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
