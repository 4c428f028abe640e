//! Setting the wall clock. Called by machined at boot.

use rustix::time::{ClockId, Timespec};
use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

/// Steps the clock.
pub fn set(time: SystemTime) -> io::Result<()> {
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| io::ErrorKind::InvalidInput)?;
    let tv_sec = i64::try_from(since.as_secs()).map_err(|_| io::ErrorKind::InvalidInput)?;
    rustix::time::clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec: since.subsec_nanos().into() })?;
    Ok(())
}
