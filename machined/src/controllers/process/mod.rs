//! Processes, mounts, memory, and the status of the machine as a whole.

pub mod machine;
pub mod memory;
pub mod mounts;
pub mod procs;

use reconcile::{ClaimError, Runtime, Store};

use self::machine::{Outside, Status};

/// The name that what is read on demand is written by.
const OWNER: &str = "process";

/// Adds the machine's status, and the readers of processes, mounts and memory.
pub fn register(runtime: &mut Runtime, store: &Store, outside: Outside) -> Result<(), ClaimError> {
    store.on_demand(OWNER, procs::read)?;
    store.on_demand(OWNER, mounts::read)?;
    store.on_demand(OWNER, memory::read)?;
    runtime.register(Status::new(outside));
    Ok(())
}
