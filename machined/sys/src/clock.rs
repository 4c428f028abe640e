//! Setting the wall clock, and making it run faster or slower. Called by machined.

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

/// Lets the clock run faster or slower by a two-thousandth until it has gained this (adjtime(3)); replaces what was left of
/// such a change before.
pub fn slew(offset_us: i64) -> io::Result<()> {
    adjust(libc::ADJ_OFFSET_SINGLESHOT, |timex| timex.offset = offset_us)
}

/// Tells the kernel that the clock is right to so many microseconds: it sets the RTC by it then, every eleven minutes, until
/// the error that it reckons with has grown to 16 s.
pub fn is_right(within_us: i64) -> io::Result<()> {
    let set = |timex: &mut libc::timex| {
        // Without STA_UNSYNC.
        (timex.status, timex.maxerror, timex.esterror) = (0, within_us, within_us);
    };
    adjust(libc::ADJ_STATUS | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR, set)
}

fn adjust(modes: libc::c_uint, set: impl FnOnce(&mut libc::timex)) -> io::Result<()> {
    // SAFETY: a timex of zeros is valid: it is made of integers.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    timex.modes = modes;
    set(&mut timex);
    // SAFETY: the kernel reads and writes one timex, which is ours for the time of the call.
    if unsafe { libc::adjtimex(&raw mut timex) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_understands() {
        // As root it would change the clock; a change of nothing is one as well.
        adjust(0, |_| {}).unwrap();
        match slew(0) {
            Ok(()) => {}
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM), "{error}"),
        }
    }
}
