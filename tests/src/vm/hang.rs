//! Telling a hang of the emulator from a fault of the guest.
//!
//! Plain software emulation stops executing a guest once in a while (about one boot in fifteen on a busy machine). Such a
//! run says nothing of the product, so it is its own kind of failure: recognised, counted, and retried once by the
//! runner. Nothing else is retried.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{Console, Qmp};
use crate::wait;

/// Hangs seen by this process.
static SEEN: AtomicU32 = AtomicU32::new(0);

/// How long all processors must stand still to call it a hang.
const STILL: Duration = Duration::from_secs(10);

/// The emulator hung; the guest cannot be blamed.
#[derive(Debug, thiserror::Error)]
#[error("the emulator hung (no processor executes anything); the console ends with:\n{console}")]
pub struct EmulatorHang {
    /// The end of the console.
    pub console: String,
}

/// How many hangs of the emulator were seen so far.
pub fn count() -> u32 {
    SEEN.load(Ordering::Relaxed)
}

/// Whether it is the emulator that hangs: it runs, but over some seconds nothing is printed, and no processor's state
/// changes. A guest that waits is woken by its clock, and one that spins changes its registers.
pub(super) fn is_emulator(console: &Console, qmp: &Qmp) -> bool {
    let printed = console.len();
    let Some(first) = registers(qmp) else { return true };
    // Several looks: a processor that is woken once a second could be seen twice in the same idle loop.
    let changed = wait::until("a processor to move", STILL, || match registers(qmp) {
        Some(now) if now == first && console.len() == printed => None,
        Some(_) => Some(true),
        None => Some(false),
    });
    let hung = !matches!(changed, Ok(true));
    if hung {
        SEEN.fetch_add(1, Ordering::Relaxed);
    }
    hung
}

/// All processors' registers as text; nothing when the monitor itself does not answer.
fn registers(qmp: &Qmp) -> Option<String> {
    qmp.human("info registers -a").ok()
}
