//! Hands the gateway its keys: when it connects, and again after every change.
//!
//! Invariant: nobody but the gateway's uid is given a key. The gateway says whether it can use them; what it says is
//! logged and shown to `ready`. Run by `server::run`.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

use crate::gateway::{
    keys::{Keys, read_answer},
    wire,
};

/// The gateway answers as soon as it has parsed some certificates.
const ANSWER: Duration = Duration::from_secs(5);

/// After an error of accept.
const PAUSE: Duration = Duration::from_millis(200);

/// Why a delivery ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("a process of uid {0} asked for the gateway's keys")]
    NotGateway(u32),
    #[error("the gateway did not answer within {} s", ANSWER.as_secs())]
    Silent,
    #[error("the connection to the gateway failed")]
    Wire(#[from] wire::Error),
    #[error("the connection to the gateway failed")]
    Io(#[from] io::Error),
}

/// What the gateway has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered {
    /// A gateway is connected and uses keys of ours.
    pub connected: bool,
    /// Sets of keys taken into use so far, by any gateway.
    pub sets: u64,
}

/// Serves until it is dropped.
pub async fn serve(
    listener: UnixListener,
    gateway: u32,
    keys: watch::Receiver<Arc<Keys>>,
    delivered: Arc<watch::Sender<Delivered>>,
) {
    let mut deliveries = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // One gateway, or an old one that has not noticed its end: more are a mistake, and the newest counts.
                    deliveries.shutdown().await;
                    let (keys, delivered) = (keys.clone(), delivered.clone());
                    deliveries.spawn(async move {
                        let _gone = Gone(&delivered);
                        if let Err(error) = deliver(stream, gateway, keys, &delivered).await {
                            tracing::warn!(error = &error as &dyn std::error::Error, "keys not delivered");
                        }
                    });
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept the gateway's request for keys");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = deliveries.join_next() => {}
        }
    }
}

/// Says at the end of a delivery, however it ends, that the gateway is gone.
struct Gone<'a>(&'a watch::Sender<Delivered>);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.send_if_modified(|now| std::mem::take(&mut now.connected));
    }
}

/// Ends when the gateway goes away.
async fn deliver(
    mut stream: UnixStream,
    gateway: u32,
    mut keys: watch::Receiver<Arc<Keys>>,
    delivered: &watch::Sender<Delivered>,
) -> Result<(), Error> {
    let uid = stream.peer_cred()?.uid();
    if uid != gateway {
        return Err(Error::NotGateway(uid));
    }
    loop {
        let frame = keys.borrow_and_update().format()?;
        stream.write_all(&frame).await?;
        match timeout(ANSWER, read_answer(&mut stream)).await.map_err(|_| Error::Silent)?? {
            None => delivered.send_modify(|now| {
                now.connected = true;
                now.sets += 1;
            }),
            Some(refusal) => tracing::error!(refusal, "the gateway cannot use the keys it was given"),
        }
        tokio::select! {
            changed = keys.changed() => if changed.is_err() { return Ok(()) },
            // The gateway has nothing to say: this is its end.
            _ = stream.read_u8() => return Ok(()),
        }
    }
}
