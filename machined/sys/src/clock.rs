//! Setting the wall clock: by a step, or by slewing. Called by machined's clock and time controllers.

use rustix::time::{ClockId, Timespec};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Steps the clock.
pub fn set(time: SystemTime) -> io::Result<()> {
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| io::ErrorKind::InvalidInput)?;
    let tv_sec = i64::try_from(since.as_secs()).map_err(|_| io::ErrorKind::InvalidInput)?;
    rustix::time::clock_settime(ClockId::Realtime, Timespec { tv_sec, tv_nsec: since.subsec_nanos().into() })?;
    Ok(())
}

/// Slews the clock by at most half a second (the kernel's limit), `ahead` forwards, without a jump. Also tells the kernel that
/// the clock is synchronised, so that it keeps the RTC.
pub fn slew(by: Duration, ahead: bool) -> io::Result<()> {
    const LIMIT: Duration = Duration::from_millis(500);
    // SAFETY: plain old data; zero means "change nothing".
    let mut change: libc::timex = unsafe { std::mem::zeroed() };
    change.modes = libc::ADJ_OFFSET | libc::ADJ_STATUS | libc::ADJ_NANO | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR;
    change.status = libc::STA_PLL;
    let offset = i64::from(by.min(LIMIT).subsec_nanos());
    change.offset = if ahead { offset } else { -offset };
    // SAFETY: `change` is live and writable.
    if unsafe { libc::adjtimex(&raw mut change) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
