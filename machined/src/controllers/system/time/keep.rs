//! The last time that was right, on STATE: a machine without a clock of its own starts there, and not in 1970.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::clock::{self, Sure};
use crate::events::Events;
use crate::{blocking, state, stop};

/// The file's name on STATE.
const FILE: &str = "time";
/// So often it is written: so much at most is lost with the power.
const EVERY: Duration = Duration::from_secs(3600);
/// A time after this one is no time: the year 2200.
const LATEST: u64 = 7_258_118_400;

/// Reads it once when STATE is there, and writes it every hour and when the machine stops.
#[derive(Debug)]
pub struct Keeper {
    /// STATE.
    pub state: state::Handle,
    /// Only a clock that was set is worth keeping.
    pub sure: Sure,
    /// Says when the machine stops.
    pub stop: watch::Receiver<stop::State>,
    /// The log for people.
    pub events: Events,
}

impl Keeper {
    /// Never ends.
    pub async fn run(mut self) {
        let mut state = self.state.watch();
        let mut sure = self.sure.watch();
        let mut read = false;
        loop {
            let root = root(&state.borrow_and_update());
            if let Some(root) = root.clone().filter(|_| !std::mem::replace(&mut read, true)) {
                self.raise(root).await;
            }
            if let Some(root) = root.filter(|_| *sure.borrow_and_update()) {
                save(root).await;
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                Ok(()) = state.changed() => {}
                Ok(()) = sure.changed() => {}
                // Once, as long as STATE is there.
                true = stops(&mut self.stop) => {
                    if let Some(root) = root_now(&self.state).filter(|_| self.sure.is()) {
                        save(root).await;
                    }
                    return std::future::pending().await;
                }
            }
        }
    }

    /// A clock that is behind goes forward to it; one that a server has set is right.
    async fn raise(&self, root: PathBuf) {
        let Some(unix) = blocking::run(move || load(&root)).await.filter(|_| !self.sure.is()) else { return };
        match clock::raise(unix) {
            Ok(Some(step)) => {
                let text = format!("the clock was {} s behind the time last kept: set to that", step.as_secs());
                self.events.info("clock", text);
            }
            Ok(None) => {}
            Err(error) => self.events.error("clock", format!("the clock cannot be set: {error}")),
        }
    }
}

/// Whether the machine stops; false when nobody can say so any more.
async fn stops(stop: &mut watch::Receiver<stop::State>) -> bool {
    stop.wait_for(|stop| *stop != stop::State::Running).await.is_ok()
}

fn root(state: &state::State) -> Option<PathBuf> {
    match state {
        state::State::Mounted { root } => Some(root.clone()),
        _ => None,
    }
}

fn root_now(handle: &state::Handle) -> Option<PathBuf> {
    root(&handle.state())
}

async fn save(root: PathBuf) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if let Err(error) = blocking::run(move || write(&root, now)).await {
        tracing::warn!("the time is not kept on STATE: {error}");
    }
}

/// Beside, made durable, then in its place. STATE that is full keeps the old one.
fn write(root: &Path, unix: u64) -> io::Result<()> {
    let beside = root.join(".time.new");
    let mut file = fs::File::create(&beside)?;
    file.write_all(format!("{unix}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(beside, root.join(FILE))
}

fn load(root: &Path) -> Option<u64> {
    parse(&fs::read(root.join(FILE)).ok()?)
}

/// Seconds since 1970, in digits.
fn parse(bytes: &[u8]) -> Option<u64> {
    let text = str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|unix| digits && *unix <= LATEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nonsense_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(dir.path()), None);
        write(dir.path(), 1_700_000_000).unwrap();
        write(dir.path(), 1_800_000_000).unwrap();
        assert_eq!(load(dir.path()), Some(1_800_000_000));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        for bytes in [&b""[..], b"12", b"-1\n", b"+5\n", b"99999999999\n", b"1 \n", b"\xff\n", b"\n"] {
            assert_eq!(parse(bytes), None, "{bytes:?}");
        }
        assert_eq!(parse(b"12\n"), Some(12));
    }

    #[test]
    fn a_state_that_cannot_be_written_keeps_what_it_has() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(&dir.path().join("missing"), 5).is_err());
    }

    fuzz::targets! {
        saved_time: |bytes| {
            if let Some(unix) = parse(bytes) {
                assert!(unix <= LATEST);
            }
        },
    }
}
