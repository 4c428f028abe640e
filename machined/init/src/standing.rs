//! When PID 1 gives up what was booted: its machined ends again and again, or has not proven it in time. A reboot then costs
//! nothing, since what is on trial is counted before it starts; the loader goes back by itself. Pure.
//!
//! Invariant: once machined has said that what runs is settled, nothing here reboots the machine in this boot: its workloads go
//! on without machined.

use crate::Timings;
use std::time::{Duration, Instant};
use sys::link;

/// Short lives of machined in a row.
const LIVES: u32 = 8;

#[derive(Debug)]
pub(crate) struct Standing {
    known: Known,
    short: u32,
}

#[derive(Debug, Clone, Copy)]
enum Known {
    /// machined has not said; it is to do so by then.
    Unheard(Instant),
    Trial(Instant),
    Settled,
}

impl Standing {
    pub(crate) fn new(timings: &Timings, now: Instant) -> Self {
        Self { known: Known::Unheard(now + timings.unheard), short: 0 }
    }

    /// What machined says; the last word counts, until it is that all is settled.
    pub(crate) fn told(&mut self, standing: link::Standing, now: Instant) {
        self.known = match (standing, self.known) {
            (link::Standing::Settled, _) => Known::Settled,
            (link::Standing::Trial { .. }, Known::Settled) => Known::Settled,
            (link::Standing::Trial { seconds }, _) => Known::Trial(now + Duration::from_secs(seconds.into())),
        };
    }

    /// A machined has ended after this long.
    pub(crate) fn ended(&mut self, lived: Duration, timings: &Timings) {
        self.short = if lived >= timings.stable { 0 } else { self.short.saturating_add(1) };
    }

    /// Why the machine is to be started anew, if it is.
    pub(crate) fn over(&self, now: Instant) -> Option<&'static str> {
        match self.known {
            Known::Settled => None,
            _ if self.short >= LIVES => Some("machined ends again and again, and what runs is not proven"),
            Known::Unheard(until) if now >= until => Some("machined never said what runs"),
            Known::Trial(until) if now >= until => Some("what runs is on trial, and was not proven in time"),
            Known::Unheard(_) | Known::Trial(_) => None,
        }
    }

    /// When `over` has news at the latest.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self.known {
            Known::Settled => None,
            Known::Unheard(until) | Known::Trial(until) => Some(until),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMINGS: Timings = Timings::NODE;

    #[test]
    fn what_is_not_proven_goes_by_time_or_by_short_lives() {
        let start = Instant::now();
        let second = |s| start + Duration::from_secs(s);
        let fresh = || Standing::new(&TIMINGS, start);
        let mut trial = fresh();
        trial.told(link::Standing::Trial { seconds: 900 }, second(10));
        trial.told(link::Standing::Trial { seconds: 110 }, second(200));
        assert_eq!((trial.over(second(309)), trial.due()), (None, Some(second(310))));
        assert!(trial.over(second(310)).is_some());
        assert!(fresh().over(second(TIMINGS.unheard.as_secs())).is_some());
        for mut standing in [fresh(), trial] {
            for _ in 0..LIVES - 1 {
                standing.ended(Duration::from_secs(1), &TIMINGS);
            }
            assert_eq!(standing.over(second(20)), None);
            standing.ended(TIMINGS.stable, &TIMINGS);
            for _ in 0..LIVES {
                assert_eq!(standing.over(second(20)), None);
                standing.ended(Duration::from_secs(1), &TIMINGS);
            }
            assert!(standing.over(second(20)).is_some());
        }
    }

    #[test]
    fn what_is_settled_stays_up_whatever_becomes_of_machined() {
        let start = Instant::now();
        let mut standing = Standing::new(&TIMINGS, start);
        standing.told(link::Standing::Trial { seconds: 1 }, start);
        standing.told(link::Standing::Settled, start);
        standing.told(link::Standing::Trial { seconds: 1 }, start);
        (0..100).for_each(|_| standing.ended(Duration::ZERO, &TIMINGS));
        assert_eq!((standing.over(start + Duration::from_secs(100_000)), standing.due()), (None, None));
    }
}
