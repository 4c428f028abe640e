//! Hands the gateway its keys, or tells it to let nobody in: when it connects, and again after every change.
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
    keys::{Keys, format, read_answer},
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

/// What the gateway is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// These keys.
    Keys(Arc<Keys>),
    /// None, for this reason.
    Nothing(Arc<str>),
    /// What it has, for a moment more, for this reason: what it is to have is about to be known.
    Later(&'static str),
}

/// What the gateway has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Delivered {
    /// No gateway was here yet.
    #[default]
    NotAsked,
    /// The one that was here is gone.
    Gone,
    /// It cannot use the keys it was given, as it says.
    Refused(String),
    /// It was given none, for this reason.
    Withheld(Arc<str>),
    /// It uses keys of ours.
    Used,
}

impl Delivered {
    /// Why no client can be served; none when they can.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::NotAsked => Some("the gateway has not asked for its keys yet".into()),
            Self::Gone => Some("the gateway is gone".into()),
            Self::Refused(why) => Some(format!("the gateway cannot use its keys: {why}")),
            Self::Withheld(why) => Some(why.to_string()),
            Self::Used => None,
        }
    }
}

/// Serves until it is dropped.
pub async fn serve(
    listener: UnixListener,
    gateway: u32,
    offer: watch::Receiver<Offer>,
    delivered: Arc<watch::Sender<Delivered>>,
) {
    let mut deliveries = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    // One gateway, or an old one that has not noticed its end: more are a mistake, and the newest counts.
                    deliveries.shutdown().await;
                    let (offer, delivered) = (offer.clone(), delivered.clone());
                    deliveries.spawn(async move {
                        let _gone = Gone(&delivered);
                        if let Err(error) = deliver(stream, gateway, offer, &delivered).await {
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
        self.0.send_if_modified(|now| {
            let was = std::mem::replace(now, Delivered::Gone);
            was != Delivered::Gone
        });
    }
}

/// Ends when the gateway goes away.
async fn deliver(
    mut stream: UnixStream,
    gateway: u32,
    mut offer: watch::Receiver<Offer>,
    delivered: &watch::Sender<Delivered>,
) -> Result<(), Error> {
    let uid = stream.peer_cred()?.uid();
    if uid != gateway {
        return Err(Error::NotGateway(uid));
    }
    loop {
        let now = offer.borrow_and_update().clone();
        let frame = match &now {
            Offer::Keys(keys) => format(Some(keys))?,
            Offer::Nothing(_) => format(None)?,
            Offer::Later(why) => {
                // A gateway that was here before serves on with what it has.
                delivered.send_replace(Delivered::Withheld((*why).into()));
                tokio::select! {
                    changed = offer.changed() => if changed.is_err() { return Ok(()) } else { continue },
                    _ = stream.read_u8() => return Ok(()),
                }
            }
        };
        stream.write_all(&frame).await?;
        drop(frame);
        let refusal = timeout(ANSWER, read_answer(&mut stream)).await.map_err(|_| Error::Silent)??;
        delivered.send_replace(match (refusal, now) {
            (Some(refusal), _) => {
                tracing::error!(refusal, "the gateway cannot use the keys it was given");
                Delivered::Refused(refusal)
            }
            (None, Offer::Keys(_)) => Delivered::Used,
            (None, Offer::Nothing(why)) => Delivered::Withheld(why),
            (None, Offer::Later(why)) => Delivered::Withheld(why.into()),
        });
        tokio::select! {
            changed = offer.changed() => if changed.is_err() { return Ok(()) },
            // The gateway has nothing to say: this is its end.
            _ = stream.read_u8() => return Ok(()),
        }
    }
}
