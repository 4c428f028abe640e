//! Streams that go on: over a broken connection, a restarted machined, a rebooted node.
//!
//! ```text
//!            open ok                item
//! Closed ──────────────▶ Open ─────────────────▶ Open
//!   ▲  │ open fails        │ breaks or ends
//!   │  ▼                   ▼
//! Waiting(next back-off) ◀─┘        each way in is reported as Event::Broken
//! ```
//! Invariant: what was delivered is in the subject (a bookmark, a cursor, the objects seen), so opening again never
//! repeats or skips. The back-off starts anew once something arrived. Called by `apictl`'s watches and followed logs.

use std::{collections::VecDeque, time::Duration};

use backon::BackoffBuilder;
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::{connect::Connector, error::is_transient};

/// What was there before a break may be missing this often in a row after it; with a usual back-off that is half a
/// minute, and a start takes a second or two.
const REFUSALS: u32 = 10;

/// What is followed: how it is opened where it stopped, and what its messages mean.
pub trait Subject: Send {
    /// What the node sends.
    type Message: Send;
    /// What the caller gets.
    type Item: Send;

    /// Opens the stream where the last one stopped.
    fn open(&mut self, channel: Channel) -> impl Future<Output = Result<Streaming<Self::Message>, Status>> + Send;

    /// Whether the stream goes on for ever; one that does not ends when the node ends it, and is not opened again.
    fn is_endless(&self) -> bool {
        true
    }

    /// Takes a message in.
    fn take(&mut self, message: Self::Message, out: &mut VecDeque<Self::Item>);
}

/// What happens on a followed stream.
#[derive(Debug)]
pub enum Event<T> {
    /// The next item.
    Item(T),
    /// The stream broke; it is opened again after the delay.
    Broken {
        /// Why.
        why: Status,
        /// Until the next attempt.
        retry_in: Duration,
    },
    /// The stream is open again after a break.
    Restored,
    /// All there is was delivered; only where the subject is not endless.
    Ended,
}

/// A followed stream.
pub struct Follow<S: Subject, B: BackoffBuilder + Clone> {
    subject: S,
    connector: Connector,
    backoff: B,
    delays: Option<B::Backoff>,
    /// Refusals in a row, since it was open.
    refusals: Option<u32>,
    state: State<S::Message>,
    ready: VecDeque<S::Item>,
}

enum State<M> {
    Closed { channel: Option<Channel>, broken: bool },
    Open(Streaming<M>),
    Waiting(Duration),
}

impl<S: Subject, B: BackoffBuilder + Clone> Follow<S, B> {
    /// Follows a subject, first on a channel that is there, later on new ones.
    pub fn new(connector: Connector, channel: Channel, subject: S, backoff: B) -> Self {
        let state = State::Closed { channel: Some(channel), broken: false };
        Self { subject, connector, backoff, delays: None, refusals: None, state, ready: VecDeque::new() }
    }

    /// What was taken in so far.
    pub fn subject(&self) -> &S {
        &self.subject
    }

    /// The next event. Cancel-safe: nothing that was delivered by the node is lost. An error is for good: the node refused, or it is another node, or the back-off came to its end.
    pub async fn next(&mut self) -> Result<Event<S::Item>, Status> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Event::Item(item));
            }
            match &mut self.state {
                State::Waiting(delay) => {
                    tokio::time::sleep(*delay).await;
                    self.state = State::Closed { channel: None, broken: true };
                }
                State::Closed { channel, broken } => {
                    let broken = *broken;
                    let channel = match channel.take() {
                        Some(channel) => Ok(channel),
                        None => self.connector.connect().await.map_err(|error| Status::from_error(Box::new(error))),
                    };
                    let opened = match channel {
                        Ok(channel) => self.subject.open(channel).await,
                        Err(status) => Err(status),
                    };
                    match opened {
                        Ok(stream) => {
                            self.state = State::Open(stream);
                            if broken {
                                return Ok(Event::Restored);
                            }
                        }
                        Err(status) => return self.broken(status),
                    }
                }
                State::Open(stream) => match stream.message().await {
                    Ok(Some(message)) => {
                        self.delays = None;
                        self.refusals = Some(0);
                        self.subject.take(message, &mut self.ready);
                    }
                    Ok(None) if !self.subject.is_endless() => return Ok(Event::Ended),
                    Ok(None) => return self.broken(Status::unavailable("the node ended the stream")),
                    Err(status) => return self.broken(status),
                },
            }
        }
    }

    fn broken(&mut self, why: Status) -> Result<Event<S::Item>, Status> {
        if !self.subject.is_endless() || !(is_transient(&why) || self.may_be_starting(&why)) {
            return Err(why);
        }
        let delays = self.delays.get_or_insert_with(|| self.backoff.clone().build());
        let Some(retry_in) = delays.next() else {
            return Err(why);
        };
        self.state = State::Waiting(retry_in);
        Ok(Event::Broken { why, retry_in })
    }

    /// A machined that has just started may not know yet what it knew before: its types and logs come one by one.
    fn may_be_starting(&mut self, why: &Status) -> bool {
        let refusals = self.refusals.as_mut().filter(|_| why.code() == Code::NotFound);
        refusals.is_some_and(|refusals| {
            *refusals += 1;
            *refusals <= REFUSALS
        })
    }
}
