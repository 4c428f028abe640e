//! When the answer to a call has left: what follows from the call (other certificates, a reboot) would else take the answer
//! from who asked.
//!
//! Invariant: waiting ends, also for a client that takes nothing. `server::serve` holds the [`Answering`] of each call with its
//! answer; who acts on a call after it was answered waits for the [`Answered`].

use std::time::Duration;

use tokio::sync::watch;

/// For a client to take its answer. An audit record on a slow disk comes before it, with ten seconds of its own.
const LIMIT: Duration = Duration::from_secs(15);

/// From the server's hands through the gateway.
const ON_THE_WAY: Duration = Duration::from_millis(200);

/// As long as it lives the answer is under way.
#[derive(Debug)]
pub struct Answering(#[expect(dead_code, reason = "its end is the message")] watch::Sender<()>);

/// The other end.
#[derive(Clone, Debug)]
pub struct Answered(watch::Receiver<()>);

/// Both ends, for one call.
pub fn pair() -> (Answering, Answered) {
    let (sender, receiver) = watch::channel(());
    (Answering(sender), Answered(receiver))
}

impl Answered {
    /// For what nobody waits for.
    #[must_use]
    pub fn at_once() -> Self {
        pair().1
    }

    /// Until the answer has left, or will not.
    pub async fn wait(mut self) {
        if tokio::time::timeout(LIMIT, async { while self.0.changed().await.is_ok() {} }).await.is_ok() {
            tokio::time::sleep(ON_THE_WAY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_follows_waits_for_the_answer_and_not_for_ever() {
        let start = Instant::now();
        Answered::at_once().wait().await;
        assert_eq!(start.elapsed(), ON_THE_WAY);

        let (answering, answered) = pair();
        let taken = Duration::from_secs(3);
        let answer = async {
            tokio::time::sleep(taken).await;
            drop(answering);
        };
        let start = Instant::now();
        tokio::join!(answered.wait(), answer);
        assert_eq!(start.elapsed(), taken + ON_THE_WAY);

        let (_never, answered) = pair();
        let start = Instant::now();
        answered.wait().await;
        assert_eq!(start.elapsed(), LIMIT);
    }
}
