//! The controller that keeps the tail of the boot log in META: once the API answers, then every [`PERIOD`], and when the
//! machine is asked to stop. `shutdown` writes the last lines itself.

use std::time::{Duration, Instant};

use reconcile::{Controller, Cycle, CycleError, Next, Ports};

use crate::meta::{self, Tail};
use crate::resources::condition::Condition;
use crate::resources::wait;
use crate::stop;

/// Between two writes: a power cut loses at most the lines of so long, and a disk is not worn out.
const PERIOD: Duration = Duration::from_secs(10);
/// Without an API; `record` shows this wait.
const PATIENCE: Duration = wait::BOOT_LOG;

/// The controller.
#[derive(Debug)]
pub(super) struct Log {
    tail: Tail,
    stop: stop::Handle,
    started: Instant,
    written: Option<Instant>,
    stopping: bool,
}

/// Why a cycle failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the boot log is not kept")]
    Meta(#[from] meta::Error),
    #[error(transparent)]
    Cycle(#[from] CycleError),
}

impl Log {
    pub(super) fn new(tail: Tail, stop: stop::Handle) -> Self {
        Self { tail, stop, started: Instant::now(), written: None, stopping: false }
    }
}

impl Controller for Log {
    const NAME: &'static str = "boot/log";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        ports.watch::<Condition>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        let answers = cx.get::<Condition>(Condition::API)?.is_some_and(|api| api.value.met);
        let due = match self.written {
            None => answers || self.started.elapsed() >= PATIENCE,
            Some(at) => at.elapsed() >= PERIOD,
        };
        if due || self.stopping {
            self.written = Some(Instant::now());
            self.tail.flush().await?;
        }
        let left = match self.written {
            None => PATIENCE.saturating_sub(self.started.elapsed()),
            Some(at) => PERIOD.saturating_sub(at.elapsed()),
        };
        Ok(Next::After(left.max(Duration::from_millis(100))))
    }

    async fn wake(&mut self) {
        if self.stopping {
            return std::future::pending().await;
        }
        self.stop.requested().await;
        self.stopping = true;
    }
}
