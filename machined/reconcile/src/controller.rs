//! What a controller is: what it needs, what it makes, and one step that brings the two together.

use std::future::Future;
use std::time::Duration;

use crate::cycle::Cycle;
use crate::ports::Ports;

/// One concern of the machine, kept true.
///
/// Level-triggered: a cycle rereads everything and never asks what changed. It must be safe to run again at any time,
/// also after it failed half-way or panicked; the same value goes on after that.
pub trait Controller: Send + 'static {
    /// Its name, by area: `"network/link"`. It is the owner of its objects and the target of its log lines.
    const NAME: &'static str;

    /// Why a cycle failed. A variant `#[error(transparent)] Cycle(#[from] CycleError)` lets `?` follow `cx`'s calls.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Says what it reads and writes; anything else is refused to it.
    fn declare(ports: &mut Ports);

    /// Reads its inputs, decides, acts, and puts its outputs: all of them, every time.
    fn reconcile(&mut self, cx: &mut Cycle<'_>) -> impl Future<Output = Result<Next, Self::Error>> + Send;

    /// Returns when something outside of the store asks for a cycle: netlink, inotify. Dropped at any await, so it must
    /// be cancel-safe; it must wait for something new each time, or the controller spins (and is slowed down).
    fn wake(&mut self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// How a cycle ended, when it did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Done. Outputs not put in this cycle are removed; the next cycle comes with a change or a wake-up.
    OnChange,
    /// Done, as `OnChange`, and again after this time at the latest.
    After(Duration),
    /// Inputs are incomplete: the outputs stay as they are. The next cycle comes with a change or a wake-up.
    Unready,
}
