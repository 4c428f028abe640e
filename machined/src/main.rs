//! machined, the brain of the machine. Everything is in the library; see `machined::boot`.

use std::process::ExitCode;
use std::time::Duration;

use machined::{boot, entropy, trace};

/// Threads for tasks: one can be in a slow kernel call while the other keeps the API going.
const WORKERS: usize = 2;
/// Threads for blocking calls: so many that disks that hang, each of which holds one, leave some for META and logs. Idle
/// ones end.
const BLOCKING: usize = 32;
/// No recursion here; the default of 2 MiB is address space nobody uses.
const STACK: usize = 512 * 1024;
/// How long blocking calls under way are waited for at the end: one into a dead disk never returns, and init starts the
/// next machined only when this one is gone.
const LAST: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let ring = trace::start();
    // Before anything asks for a random number.
    if let Err(error) = entropy::gather() {
        tracing::warn!("nobody makes the kernel gather random numbers: {error}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_stack_size(STACK)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return ended(Err(boot::Error::Runtime(error))),
    };
    let result = ended(runtime.block_on(boot::run(ring)));
    runtime.shutdown_timeout(LAST);
    result
}

fn ended(result: Result<(), boot::Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("machined ends: {}", trace::chain(&error));
            ExitCode::FAILURE
        }
    }
}
