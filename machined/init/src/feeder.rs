//! Feeds the hardware watchdog. One that appears later (its module is loaded by machined) is found at the next tick.

use crate::{Console, Timings};
use std::time::{Duration, Instant};
use sys::watchdog::Watchdog;

#[derive(Debug)]
pub(crate) struct Feeder {
    device: Option<Watchdog>,
    wanted: bool,
    due: Instant,
}

impl Feeder {
    pub(crate) fn new(wanted: bool, now: Instant) -> Self {
        Self { device: None, wanted, due: now }
    }

    /// When `tick` has something to do; none: never.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.wanted.then_some(self.due)
    }

    pub(crate) fn tick(&mut self, now: Instant, timings: &Timings, console: &mut Console) {
        if !self.wanted || now < self.due {
            return;
        }
        self.due = now + timings.feed;
        if let Some(device) = &self.device {
            if let Err(e) = device.keep_alive() {
                console.warn(format_args!("the watchdog takes no food: {e}; the machine may reset"));
            }
            return;
        }
        let Ok(device) = Watchdog::open() else { return };
        let seconds = i32::try_from(timings.watchdog.as_secs()).unwrap_or(i32::MAX);
        match device.set_timeout(seconds) {
            Ok(got) => {
                // A device with a short fixed time is fed at a third of it.
                let third = Duration::from_secs(u64::try_from(got).unwrap_or(1).max(1)) / 3;
                self.due = now + timings.feed.min(third);
                console.say(format_args!("watchdog armed: resets after {got} s without init"));
            }
            Err(e) => console.say(format_args!("watchdog armed with its own time: {e}")),
        }
        self.device = Some(device);
    }

    /// Before power-off and halt: an armed watchdog would start the machine again.
    pub(crate) fn disarm(&mut self) {
        if let Some(device) = self.device.take() {
            // One built "nowayout" cannot be disarmed; there is nothing better to do.
            let _ = device.disarm();
        }
        self.wanted = false;
    }
}
