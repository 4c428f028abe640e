//! Processes, mounts, and the status of the machine as a whole.

pub mod machine;
pub mod mounts;
pub mod procs;

use reconcile::{ClaimError, Runtime, Store};

use self::machine::{Outside, Status};

/// The name that processes and mounts are written by.
const OWNER: &str = "process";

/// Adds the machine's status, and the readers of processes and mounts.
pub fn register(runtime: &mut Runtime, store: &Store, outside: Outside) -> Result<(), ClaimError> {
    store.on_demand(OWNER, procs::read)?;
    store.on_demand(OWNER, mounts::read)?;
    runtime.register(Status::new(outside));
    Ok(())
}
