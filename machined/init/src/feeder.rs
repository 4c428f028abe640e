//! Feeds the hardware watchdog. One that appears later (its module is loaded by machined) is found at the next tick.
//!
//! Invariant: once armed it is fed three times in its own time, until the loop says that a reset is what helps.

use crate::{Console, Timings};
use std::time::{Duration, Instant};
use sys::watchdog::Watchdog;

/// How often a device that does not say its time is fed: the shortest known are of some seconds.
const UNKNOWN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Feeder {
    /// With how often it is fed.
    device: Option<(Watchdog, Duration)>,
    wanted: bool,
    starving: bool,
    due: Instant,
}

impl Feeder {
    pub(crate) fn new(wanted: bool, now: Instant) -> Self {
        Self { device: None, wanted, starving: false, due: now }
    }

    /// When `tick` has something to do; none: never.
    pub(crate) fn due(&self) -> Option<Instant> {
        (self.wanted && !self.starving).then_some(self.due)
    }

    pub(crate) fn tick(&mut self, now: Instant, timings: &Timings, console: &mut Console) {
        if !self.wanted || self.starving || now < self.due {
            return;
        }
        if let Some((device, every)) = &self.device {
            self.due = now + *every;
            if let Err(e) = device.keep_alive() {
                console.warn(format_args!("the watchdog takes no food: {e}; the machine may reset"));
            }
            return;
        }
        self.due = now + timings.feed;
        let Ok(device) = Watchdog::open() else { return };
        let seconds = i32::try_from(timings.watchdog.as_secs()).unwrap_or(i32::MAX);
        let got = device.set_timeout(seconds);
        match &got {
            Ok(got) => console.say(format_args!("watchdog armed: resets after {got} s without init")),
            Err(e) => console.say(format_args!("watchdog armed with its own time: {e}")),
        }
        let every = period(got.ok(), timings);
        self.due = now + every;
        self.device = Some((device, every));
    }

    /// Whether the watchdog is to reset the machine; it stays armed.
    pub(crate) fn starve(&mut self, starving: bool) {
        self.starving = starving;
    }

    /// Before power-off and halt: an armed watchdog would start the machine again.
    pub(crate) fn disarm(&mut self) {
        if let Some((device, _)) = self.device.take() {
            // One built "nowayout" cannot be disarmed; there is nothing better to do.
            let _ = device.disarm();
        }
        self.wanted = false;
    }
}

/// How often a device with this time, in seconds, is fed.
fn period(seconds: Option<i32>, timings: &Timings) -> Duration {
    let third = seconds.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0).map(|s| Duration::from_secs(s) / 3);
    third.unwrap_or(UNKNOWN).min(timings.feed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_watchdog_is_fed_at_a_third_of_its_time() {
        let millis = |seconds| period(seconds, &Timings::NODE).as_millis();
        assert_eq!(
            [Some(30), Some(15), Some(3), Some(1), Some(0), None].map(millis),
            [5000, 5000, 1000, 333, 1000, 1000]
        );
    }
}
