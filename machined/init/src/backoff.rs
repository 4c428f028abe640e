//! How long to wait before machined is started again: doubling, and from the start again after a good life. Pure.

use crate::Timings;
use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(timings: &Timings) -> Self {
        Self { next: timings.backoff_first }
    }

    /// The pause after a life this long.
    pub(crate) fn after(&mut self, lived: Duration, timings: &Timings) -> Duration {
        if lived >= timings.stable {
            self.next = timings.backoff_first;
        }
        let pause = self.next;
        self.next = (pause * 2).min(timings.backoff_last);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_limit_and_forgives_after_a_good_life() {
        let timings = Timings::NODE;
        let mut backoff = Backoff::new(&timings);
        let short = Duration::from_secs(1);
        let pauses: Vec<u128> = (0..8).map(|_| backoff.after(short, &timings).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3000, 3000, 3000]);
        assert_eq!(backoff.after(timings.stable, &timings).as_millis(), 100);
        assert_eq!(backoff.after(short, &timings).as_millis(), 200);
    }
}
