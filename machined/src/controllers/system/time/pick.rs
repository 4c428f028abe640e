//! Which of several servers is believed, and what is done to the clock. Pure.

use super::ask::Sample;

/// Servers that differ by more do not have the same time: a good one is within a few milliseconds, over a bad line within a
/// tenth of a second.
const AGREE_US: i64 = 128_000;
/// Less is not worth a step, even at first: the clock gains it within five minutes.
const STEP_US: i64 = 128_000;

/// The sample to go by; nothing from nobody. Of three and more that half which agrees counts, so that one wrong server is
/// outvoted; of those the one with the shortest way.
pub(super) fn pick(samples: &[Sample]) -> Option<&Sample> {
    let mut offsets: Vec<_> = samples.iter().map(|sample| sample.offset_us).collect();
    offsets.sort_unstable();
    let middle = *offsets.get(offsets.len().saturating_sub(1) / 2)?;
    let agrees = |sample: &&Sample| samples.len() < 3 || sample.offset_us.abs_diff(middle) <= AGREE_US.unsigned_abs();
    samples.iter().filter(agrees).min_by_key(|sample| (sample.delay_us, sample.stratum))
}

/// Whether the servers tell times that are not the same.
pub(super) fn disagree(samples: &[Sample]) -> bool {
    let offsets = samples.iter().map(|sample| sample.offset_us);
    let (least, most) = (offsets.clone().min().unwrap_or(0), offsets.max().unwrap_or(0));
    most.abs_diff(least) > 2 * AGREE_US.unsigned_abs()
}

/// What is done to the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// It is set.
    Step(i64),
    /// It runs faster or slower for a while.
    Slew(i64),
}

/// The clock is set at most once in a boot: from then on time never jumps under programs that run.
pub(super) fn change(sure: bool, offset_us: i64) -> Change {
    if !sure && offset_us.abs() > STEP_US { Change::Step(offset_us) } else { Change::Slew(offset_us) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(all: &[(i64, i64)]) -> Vec<Sample> {
        let one = |(i, (offset_us, delay_us)): (usize, &(i64, i64))| Sample {
            server: format!("{i}"),
            offset_us: *offset_us,
            delay_us: *delay_us,
            stratum: 2,
        };
        all.iter().enumerate().map(one).collect()
    }

    #[test]
    fn the_nearest_of_those_that_agree_is_believed() {
        let year = 31_536_000_000_000;
        for (all, expected) in [
            (&[][..], None),
            (&[(5, 9)][..], Some("0")),
            (&[(5, 9), (6, 3)][..], Some("1")),
            // A liar with the shortest way.
            (&[(5, 9), (year, 1), (6, 8)][..], Some("2")),
            (&[(-year, 1), (5, 9), (6, 8), (7, 7), (year, 1)][..], Some("3")),
        ] {
            let samples = samples(all);
            assert_eq!(pick(&samples).map(|sample| sample.server.as_str()), expected, "{all:?}");
        }
        assert!(
            disagree(&samples(&[(0, 1), (year, 1)])) && !disagree(&samples(&[(0, 1), (9_000, 1)])) && !disagree(&[])
        );
    }

    #[test]
    fn it_is_set_once_and_only_when_that_is_worth_it() {
        assert_eq!(change(false, 500_000), Change::Step(500_000));
        assert_eq!(change(false, -500_000), Change::Step(-500_000));
        assert_eq!(change(false, 100_000), Change::Slew(100_000));
        assert_eq!(change(true, 3_600_000_000), Change::Slew(3_600_000_000));
        assert_eq!(change(true, i64::MIN + 1), Change::Slew(i64::MIN + 1));
    }
}
