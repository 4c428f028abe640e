//! machined, the brain of the machine. Everything is in the library; see `machined::boot`.

use std::process::ExitCode;

use machined::{boot, trace};

/// Threads for tasks: one can be in a slow kernel call while the other keeps the API going.
const WORKERS: usize = 2;
/// Threads for blocking calls (disks): more would only wait for the same disks.
const BLOCKING: usize = 8;
/// No recursion here; the default of 2 MiB is address space nobody uses.
const STACK: usize = 512 * 1024;

fn main() -> ExitCode {
    let ring = trace::start();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_stack_size(STACK)
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(boot::run(ring)),
        Err(error) => Err(boot::Error::Runtime(error)),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("machined ends: {}", trace::chain(&error));
            ExitCode::FAILURE
        }
    }
}
