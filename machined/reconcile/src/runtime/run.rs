//! The life of one controller: cycle, wait for a reason to run again, until told to stop.
//!
//! Invariant: a change after the start of a cycle leads to another cycle; a failure never ends the loop. One task per
//! controller, made by the runtime.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::backoff::{Backoff, earliest};
use super::log::Log;
use super::pace::Pace;
use super::status::{State, Status};
use crate::controller::{Controller, Next};
use crate::cycle::{self, Failure};
use crate::ports::Ports;
use crate::store::{Changes, Store};

/// Why the wait ended.
enum Reason {
    /// A change, a wake-up, or the time has come.
    Cycle,
    Stop,
    /// `wake` panicked.
    Failed(Failure),
}

pub(super) struct Loop<C> {
    pub(super) controller: C,
    pub(super) store: Store,
    pub(super) ports: Ports,
    pub(super) status: Status,
    pub(super) stop: watch::Receiver<bool>,
}

impl<C: Controller> Loop<C> {
    pub(super) async fn run(mut self) {
        let mut inputs: Vec<Changes> = self.ports.inputs().map(|port| (port.watch)(&self.store)).collect();
        let log = Log::new(C::NAME);
        let mut backoff = Backoff::default();
        let mut pace = Pace::new();
        let mut slowed = false;
        while !*self.stop.borrow() {
            if let Some(until) = pace.next() {
                if !std::mem::replace(&mut slowed, true) {
                    log.slowed();
                }
                self.pause(until).await;
                continue;
            }
            // Before the cycle reads: what changes from here on asks for another cycle.
            inputs.iter_mut().for_each(Changes::mark_seen);
            self.status.running(C::NAME);
            let ended = cycle::run(&mut self.controller, &self.store, &self.ports).await;
            let reason = match ended {
                Ok(next) => {
                    backoff.reset();
                    let until = self.succeeded(next, &log);
                    self.wait(&mut inputs, until).await
                }
                Err(failure) => Reason::Failed(failure),
            };
            match reason {
                Reason::Cycle => {}
                Reason::Stop => break,
                Reason::Failed(failure) => self.back_off(&mut inputs, backoff.next(), failure, &log).await,
            }
        }
        self.status.stopped(C::NAME);
    }

    /// When the next cycle is due without any news.
    fn succeeded(&self, next: Next, log: &Log) -> Option<Instant> {
        if next != Next::Unready {
            self.ports.outputs().for_each(|port| self.store.tells(port.type_name, C::NAME));
        }
        let (state, until) = match next {
            Next::OnChange => (State::Idle, None),
            Next::After(time) => (State::Idle, Instant::now().checked_add(time)),
            Next::Unready => (State::Unready, None),
        };
        let failures = self.status.succeeded(C::NAME, state, until);
        if failures > 0 {
            log.recovered(failures);
        }
        until
    }

    async fn back_off(&mut self, inputs: &mut [Changes], delay: Duration, failure: Failure, log: &Log) {
        let now = Instant::now();
        let error = failure.to_string();
        if self.status.failed(C::NAME, error.clone(), now + delay) {
            log.failed(&error, delay);
        }
        self.pause(now + earliest(delay)).await;
        // A panic in `wake` is not told again here: its cause is, by the wait after the next good cycle.
        self.wait(inputs, Some(now + delay)).await;
    }

    /// Until then, or until the stop, whatever else happens.
    async fn pause(&mut self, until: Instant) {
        tokio::select! {
            // Cancel-safe: both only look.
            () = sleep_until(until) => {}
            _ = self.stop.wait_for(|stop| *stop) => {}
        }
    }

    async fn wait(&mut self, inputs: &mut [Changes], until: Option<Instant>) -> Reason {
        let changed = async {
            if inputs.is_empty() {
                std::future::pending::<()>().await;
            }
            select_all(inputs.iter_mut().map(|input| Box::pin(input.changed()))).await;
        };
        let due = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        // In an async block, so that a `wake` which panics before its first await is caught too.
        let wake = AssertUnwindSafe(async { self.controller.wake().await }).catch_unwind();
        tokio::select! {
            // Stop first: a controller with endless news must still stop.
            biased;
            // Cancel-safe: it only looks.
            _ = self.stop.wait_for(|stop| *stop) => Reason::Stop,
            // Cancel-safe: changes are counted by the store, not taken out of a queue.
            () = changed => Reason::Cycle,
            // Cancel-safe by the contract of `Controller::wake`.
            woken = wake => match woken {
                Ok(()) => Reason::Cycle,
                Err(payload) => Reason::Failed(cycle::panic(&*payload)),
            },
            // Cancel-safe: the time is fixed.
            () = due => Reason::Cycle,
        }
    }
}
