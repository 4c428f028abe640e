//! When the log pipes are drained because no machined reads them. Pure; asked by the loop, every turn.
//!
//! Invariant: a machined that asks for the pipes and dies, again and again, does not put it off. Only one that stays for
//! `drain_after` counts as a reader; while one listens nothing is drained, as it may be reading.

use crate::Timings;
use std::time::Instant;

#[derive(Debug, Default)]
pub(crate) struct Drain {
    /// When to drain, while nobody listens; none: there is a reader that stays.
    due: Option<Instant>,
    listens_since: Option<Instant>,
}

impl Drain {
    /// Whether the pipes are to be drained now.
    pub(crate) fn is_due(&mut self, listening: bool, timings: &Timings, now: Instant) -> bool {
        if listening {
            let since = *self.listens_since.get_or_insert(now);
            if now >= since + timings.drain_after {
                self.due = None;
            }
            return false;
        }
        self.listens_since = None;
        let due = *self.due.get_or_insert(now + timings.drain_after);
        if now >= due {
            self.due = Some(now + timings.drain_every);
        }
        now >= due
    }

    /// When to ask again.
    pub(crate) fn due(&self, timings: &Timings) -> Option<Instant> {
        let due = self.due?;
        Some(self.listens_since.map_or(due, |since| since + timings.drain_after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TIMINGS: Timings = Timings::NODE;

    /// The milliseconds at which it drains, when asked every 50 ms whether somebody listens.
    fn drained(until: u64, listening: impl Fn(u64) -> bool) -> Vec<u64> {
        let (start, mut drain) = (Instant::now(), Drain::default());
        let turns = (0..until).step_by(50);
        turns.filter(|ms| drain.is_due(listening(*ms), &TIMINGS, start + Duration::from_millis(*ms))).collect()
    }

    #[test]
    fn a_short_absence_drains_nothing_and_a_long_one_does() {
        assert!(drained(60_000, |ms| ms > 4_900).is_empty());
        assert_eq!(drained(5_600, |_| false), [5_000, 5_250, 5_500]);
        // Twice away for less than the time, with a good life between.
        assert!(drained(60_000, |ms| !(20_000..24_000).contains(&ms) && !(30_000..34_000).contains(&ms)).is_empty());
    }

    #[test]
    fn a_crash_loop_is_an_absence() {
        // One second of listening, three of pause: the pauses after the fifth second are used.
        let times = drained(12_000, |ms| ms % 4_000 < 1_000);
        assert_eq!(times.first(), Some(&6_000));
        assert!(times.iter().all(|ms| ms % 4_000 >= 1_000) && times.len() > 10, "{times:?}");
    }

    #[test]
    fn it_says_when_to_ask_again() {
        let (start, mut drain) = (Instant::now(), Drain::default());
        assert_eq!(drain.due(&TIMINGS), None);
        drain.is_due(false, &TIMINGS, start);
        assert_eq!(drain.due(&TIMINGS), Some(start + TIMINGS.drain_after));
        let second = start + Duration::from_secs(1);
        drain.is_due(true, &TIMINGS, second);
        assert_eq!(drain.due(&TIMINGS), Some(second + TIMINGS.drain_after));
        drain.is_due(true, &TIMINGS, second + TIMINGS.drain_after);
        assert_eq!(drain.due(&TIMINGS), None);
    }
}
