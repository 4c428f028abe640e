//! How many machines run at once: each keeps a processor busy, more of them only make deadlines meaningless.

use std::sync::{Condvar, Mutex, PoisonError};

/// As many as the smallest workstation has processors.
const MOST: usize = 2;

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// The right to run one machine; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot(());

/// Waits until there is room for one more machine.
pub(super) fn take() -> Slot {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    while *running >= MOST {
        running = ENDED.wait(running).unwrap_or_else(PoisonError::into_inner);
    }
    *running += 1;
    Slot(())
}

impl Drop for Slot {
    fn drop(&mut self) {
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ENDED.notify_one();
    }
}
