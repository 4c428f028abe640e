//! How many machines run at once. Half of its time a machine waits for something (a deadline, an answer): two for each processor of
//! the smallest workstation keep both busy, more of them only make deadlines meaningless.

use std::{
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

/// Machines, and stories that are told at once.
pub const MOST: usize = 4;

/// No story takes so long: one that holds a machine waits for itself.
const LIMIT: Duration = Duration::from_secs(1800);

static RUNNING: Mutex<usize> = Mutex::new(0);
static ENDED: Condvar = Condvar::new();

/// The right to run one machine; given back when dropped.
#[derive(Debug)]
pub(super) struct Slot(());

/// Waits until there is room for one more machine.
///
/// # Panics
/// There is none for half an hour.
pub(super) fn take() -> Slot {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    while *running >= MOST {
        let (again, waited) = ENDED.wait_timeout(running, LIMIT).unwrap_or_else(PoisonError::into_inner);
        assert!(
            !waited.timed_out(),
            "no machine has ended for {LIMIT:?}: does this story hold one? (see `Spec::beside`)"
        );
        running = again;
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
