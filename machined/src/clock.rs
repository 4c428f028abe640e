//! The clock's floor: time never starts before the image was built. The kernel has set the clock from the RTC by now, where
//! there is one; a machine without battery starts in 1970 and no certificate would be valid. Called by `boot`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Whether the clock is sure: a time server has set it since the machine started. Said by `system/time`; the gateway judges
/// certificates by it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Sure(Arc<watch::Sender<bool>>);

impl Sure {
    /// Now and later.
    pub fn watch(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }

    /// Now.
    pub fn is(&self) -> bool {
        *self.0.borrow()
    }

    /// It is, for the rest of this boot.
    pub fn set(&self) {
        self.0.send_if_modified(|sure| !std::mem::replace(sure, true));
    }
}

/// Milliseconds since 1970, by the machine's clock.
pub fn now_unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Steps the clock to `built_unix` if it is earlier; returns by how much.
pub fn raise(built_unix: u64) -> std::io::Result<Option<Duration>> {
    let Some(step) = step(SystemTime::now(), built_unix) else { return Ok(None) };
    sys::clock::set(UNIX_EPOCH + Duration::from_secs(built_unix))?;
    Ok(Some(step))
}

fn step(now: SystemTime, built_unix: u64) -> Option<Duration> {
    let floor = UNIX_EPOCH + Duration::from_secs(built_unix);
    floor.duration_since(now).ok().filter(|step| !step.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_that_is_behind_is_stepped() {
        let at = |s| UNIX_EPOCH + Duration::from_secs(s);
        assert_eq!(step(at(10), 100), Some(Duration::from_secs(90)));
        assert_eq!(step(at(100), 100), None);
        assert_eq!(step(at(101), 100), None);
    }
}
