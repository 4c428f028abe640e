//! The gateway: terminates TLS, says who connects, pumps bytes. Runs as its own program and uid.
//!
//! Invariant: it holds no secret but the node's TLS key, and that only in memory; it knows nothing of HTTP/2 or of the
//! API. When machined is away it keeps its keys and its socket, and clients wait; when machined takes the keys back it ends
//! every connection. Started by the supervisor as `bin/gateway.rs`.
//!
//! ```text
//! clients --TLS--> listen -> session -> pump --/run/stele/api.sock--> machined
//!                              ^ terms
//! machined --/run/stele/gateway.sock--> follow
//! ```

use std::{io, path::Path, rc::Rc, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, task::LocalSet};

mod admit;
pub mod follow;
pub mod harden;
pub mod keys;
pub mod listen;
pub mod preamble;
mod pump;
pub mod report;
pub mod seats;
mod session;
pub mod tls;
pub mod wire;

use follow::Word;
use seats::Limits;

/// Where machined serves its API, for the gateway's uid alone.
pub const API_SOCKET: &str = "/run/stele/api.sock";

/// Where machined hands out the keys, for the gateway's uid alone.
pub const KEYS_SOCKET: &str = "/run/stele/gateway.sock";

/// Limits of the product. A connection was measured to cost 10 KiB here and 12 KiB in machined, and about 6 KiB more of the
/// kernel's memory in each: 2,000 fit into 64 MiB here with the slow readers that `server::flights` allows. A handshake
/// of ten seconds is ten slow round trips; it can hold 64 KiB of half a message, 16 MiB in all.
pub const LIMITS: Limits =
    Limits { total: 2_000, each: 256, handshakes: 256, shaking: 64, handshake: Duration::from_secs(10) };

/// What the gateway is given.
#[derive(Debug)]
pub struct Start<'a> {
    /// The listening socket of the API; clients may already queue on it.
    pub listener: std::net::TcpListener,
    /// See `API_SOCKET`.
    pub api: &'a Path,
    /// See `KEYS_SOCKET`.
    pub keys: &'a Path,
    /// How many clients.
    pub limits: Limits,
}

/// Serves for ever. `ready` is called once, when machined has said what to do: clients are taken if it gave keys, and
/// turned away until it gives some.
pub async fn serve(start: Start<'_>, ready: impl FnOnce()) -> io::Result<()> {
    start.listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(start.listener)?;
    let (sender, mut word) = watch::channel(Word::None);
    let local = LocalSet::new();
    let work = async {
        // An error means that nobody can say anything any more: the process is ending.
        if word.wait_for(|word| !matches!(word, Word::None)).await.is_err() {
            return;
        }
        ready();
        while let Some(terms) = tokio::select! {
            // Keys first: who comes after machined was told that they are in use is served.
            biased;
            terms = terms(&mut word) => terms,
            never = listen::turn_away(&listener) => match never {},
        } {
            let (changed, current) = watch::channel(terms);
            tokio::select! {
                () = listen::listen(&listener, start.limits, current, Rc::from(start.api)) => {}
                () = pass_on(&mut word, changed) => {}
            }
            report::say(format_args!("machined takes the keys back: every connection is ended, nobody is let in"));
        }
    };
    local.run_until(async { tokio::join!(follow::follow(start.keys, sender), work) }).await;
    Ok(())
}

/// Waits until there are keys. Cancel-safe.
async fn terms(word: &mut watch::Receiver<Word>) -> Option<Arc<tls::Terms>> {
    loop {
        if let Word::Serve(terms) = &*word.borrow_and_update() {
            return Some(terms.clone());
        }
        word.changed().await.ok()?;
    }
}

/// Until the keys are taken back.
async fn pass_on(word: &mut watch::Receiver<Word>, terms: watch::Sender<Arc<tls::Terms>>) {
    while word.changed().await.is_ok() {
        match &*word.borrow_and_update() {
            Word::Serve(new) => drop(terms.send_replace(new.clone())),
            Word::None | Word::Close => return,
        }
    }
}

#[cfg(test)]
mod tests;
