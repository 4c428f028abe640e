//! The phases of the boot from the stamps that were taken. Pure.
//!
//! The processor's counter starts at power-on, so what it showed when the kernel's clock started is the firmware's time;
//! how fast it counts follows from two stamps of both clocks.

use serde::{Deserialize, Serialize};

use crate::resources::boot_record::Phase;

/// A moment, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) uptime_ns: u64,
    pub(super) tsc: u64,
}

/// What is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stamps {
    /// By the firmware itself: microseconds from power-on to the start of the kernel's stub.
    pub(super) firmware_us: Option<u64>,
    /// init's start.
    pub(super) init: Option<Stamp>,
    /// The first start of machined in this boot.
    pub(super) machined: Option<Stamp>,
    /// The first answer of the API.
    pub(super) api: Option<Stamp>,
    /// Any later moment.
    pub(super) now: Option<Stamp>,
}

/// Counters that are slower or faster than any processor's are not believed, in ticks for each nanosecond.
const RATE: std::ops::Range<f64> = 0.1..10.0;
/// Shortest time between two stamps that gives a rate of some precision.
const APART_NS: u64 = 50_000_000;

/// In order; a phase without a stamp says why.
pub(super) fn phases(stamps: &Stamps) -> Vec<Phase> {
    let Stamps { firmware_us, init, machined, api, now } = *stamps;
    let rate = init.and_then(|init| api.or(now).and_then(|later| rate(init, later)));
    let zero_tsc = init.zip(rate).and_then(|(init, rate)| before(init, rate));
    let (firmware, note) = match (firmware_us, zero_tsc.zip(rate)) {
        (Some(us), _) => (Some(ms(us * 1000)), "told by the firmware"),
        (None, Some((tsc, rate))) => (
            Some(to_us(float(tsc) / rate / 1e6)),
            "estimated from the processor's counter, with the loader and the kernel's own start; wrong after a warm reset that \
             keeps the counter",
        ),
        (None, None) => (None, "unknown: the firmware tells nothing and the processor's counter cannot be used"),
    };
    let phase = |name: &str, start: Option<Stamp>, end: Option<Stamp>, note: &str| Phase {
        name: name.into(),
        start_ms: start.map(|stamp| ms(stamp.uptime_ns)),
        duration_ms: start.zip(end).map(|(start, end)| ms(end.uptime_ns.saturating_sub(start.uptime_ns))),
        tsc: start.map(|stamp| stamp.tsc),
        note: if start.is_some() { note.into() } else { "unknown: no stamp was taken".into() },
    };
    let kernel = Phase {
        name: "kernel".into(),
        start_ms: Some(0.0),
        duration_ms: init.map(|init| ms(init.uptime_ns)),
        tsc: zero_tsc,
        note: "until the start of init".into(),
    };
    let start = firmware.map(|firmware| -firmware);
    let mut phases = vec![
        Phase { name: "firmware".into(), start_ms: start, duration_ms: firmware, tsc: Some(0), note: note.into() },
        kernel,
        phase("init", init, machined, "until the start of machined"),
        phase("machined", machined, api, "until the API answered"),
    ];
    phases.extend(api.map(|api| phase("api", Some(api), None, "the API answered for the first time")));
    phases
}

/// Ticks for each nanosecond.
fn rate(from: Stamp, to: Stamp) -> Option<f64> {
    let ns = to.uptime_ns.checked_sub(from.uptime_ns).filter(|ns| *ns >= APART_NS)?;
    let rate = float(to.tsc.checked_sub(from.tsc)?) / float(ns);
    RATE.contains(&rate).then_some(rate)
}

/// The counter when the kernel's clock was at zero; none when it would have been below zero.
fn before(init: Stamp, rate: f64) -> Option<u64> {
    // Both are positive, and a product past u64 saturates and is refused below.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let ticks = (float(init.uptime_ns) * rate) as u64;
    init.tsc.checked_sub(ticks)
}

/// Exact up to 2^53: a hundred days of nanoseconds.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn float(count: u64) -> f64 {
    count as f64
}

fn ms(ns: u64) -> f64 {
    to_us(float(ns) / 1e6)
}

/// Milliseconds to the microsecond: more is noise.
fn to_us(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(ms: u64, tsc: u64) -> Option<Stamp> {
        Some(Stamp { uptime_ns: ms * 1_000_000, tsc })
    }

    #[test]
    fn the_firmware_is_what_the_counter_had_before_the_kernel() {
        // 2 ticks per ns; power-on 3 s before the kernel.
        let stamps = Stamps {
            init: stamp(1000, 8_000_000_000),
            machined: stamp(1100, 8_200_000_000),
            api: stamp(2000, 10_000_000_000),
            ..Stamps::default()
        };
        let phases = phases(&stamps);
        let names: Vec<_> = phases.iter().map(|phase| (&*phase.name, phase.duration_ms)).collect();
        assert_eq!(
            names,
            [
                ("firmware", Some(3000.0)),
                ("kernel", Some(1000.0)),
                ("init", Some(100.0)),
                ("machined", Some(900.0)),
                ("api", None)
            ]
        );
        assert_eq!(phases[0].start_ms, Some(-3000.0));
        assert_eq!(phases[1].tsc, Some(6_000_000_000));
        let told = super::phases(&Stamps { firmware_us: Some(1500), ..stamps });
        assert_eq!(told[0].duration_ms, Some(1.5));
    }

    #[test]
    fn what_is_unknown_says_so() {
        let phases = phases(&Stamps::default());
        assert_eq!(phases.len(), 4);
        assert!(phases[0].note.starts_with("unknown") && phases[0].duration_ms.is_none());
        assert!(phases[2].note.starts_with("unknown"));
        // A counter that stands still, goes back, or started after the kernel.
        for (init, api) in [(5, 5), (9, 5), (10, 4_000_000_000)] {
            let stamps = Stamps { init: stamp(1000, init), api: stamp(2000, api), ..Stamps::default() };
            assert_eq!(super::phases(&stamps)[0].duration_ms, None);
        }
    }
}
