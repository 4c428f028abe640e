//! Work that blocks, beside the runtime: files, devices, the firmware.
//!
//! Invariant: a panic in the work is one of whoever waits for it, so that a controller's is caught and tried again like its
//! own, and not mistaken for an end of the runtime.

use std::future::pending;
use std::panic::resume_unwind;

use tokio::task::spawn_blocking;

/// Runs the work on a thread of its own. Dropped meanwhile, the work goes on to its end.
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        // The runtime is ending, and this task with it.
        Err(_) => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::panic::AssertUnwindSafe;

    #[tokio::test]
    async fn gives_the_answer_and_passes_a_panic_on() {
        assert_eq!(run(|| 7).await, 7);
        let odd = run(|| {
            if true {
                panic!("odd table")
            }
        });
        let panic = AssertUnwindSafe(odd).catch_unwind().await.unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"odd table"));
    }
}
