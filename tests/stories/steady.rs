//! The log of the service `steady`, which numbers its lines: whether one is missing, or there twice.

use anyhow::{Context, Result, ensure};
use tests::machine::Machine;

/// The number of a line.
pub(crate) fn number(line: &str) -> Result<u64> {
    let number = line.trim().strip_prefix("steady ").with_context(|| format!("'{line}' is no line of steady"))?;
    number.parse().with_context(|| format!("'{line}' is no line of steady"))
}

/// The newest number.
pub(crate) fn last(machine: &Machine) -> Result<u64> {
    number(&machine.apictl.ok(&["logs", "steady", "--tail", "1"])?)
}

/// Checks that each line comes right after the one before.
pub(crate) fn whole<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<u64>> {
    let numbers: Vec<u64> = lines.map(number).collect::<Result<_>>()?;
    for pair in numbers.windows(2) {
        ensure!(pair[1] == pair[0] + 1, "after line {} came {}", pair[0], pair[1]);
    }
    Ok(numbers)
}

/// Checks the log as it is kept, which must go back to line `from`.
pub(crate) fn kept_since(machine: &Machine, from: u64) -> Result<()> {
    let log = machine.apictl.ok(&["logs", "steady"])?;
    let numbers = whole(log.lines())?;
    ensure!(
        numbers.first().is_some_and(|first| *first <= from),
        "the log begins after line {from}: {:?}",
        numbers.first()
    );
    Ok(())
}
