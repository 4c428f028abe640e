//! Moves what a service writes from its pipe to its log. One task per service, started by the supervisor.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::log::Log;

/// How much one service may move before others have their turn.
const TURN: u64 = 64 * 1024;
/// A service that writes more than this without a pause floods: it waits for its full pipe, nobody else waits for it.
const BURST: u64 = 1024 * 1024;
/// The pause: with `BURST` it makes 10 MiB a second, and one flood costs a tenth of a core.
const PAUSE: Duration = Duration::from_millis(100);

/// Drains until the pipe has no writer left. Cancel-safe: what is not moved stays in the pipe.
pub async fn drain(log: Arc<Log>, pipe: Arc<OwnedFd>) -> io::Result<()> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    let pipe = crate::poll::readable(pipe)?;
    let mut burst = 0;
    loop {
        let mut ready = pipe.readable().await?;
        match log.splice(pipe.as_fd(), TURN) {
            Ok(0) => return Ok(()),
            Ok(moved) => {
                burst += moved;
                if burst >= BURST {
                    tokio::time::sleep(PAUSE).await;
                    burst = 0;
                }
                tokio::task::yield_now().await;
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                ready.clear_ready();
                burst = 0;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // /run is full, say: the service must not stop for that, so its bytes go, and are counted.
            Err(_) => {
                let mut waste = [0; 4096];
                if let Ok(read) = rustix::io::read(&pipe, &mut waste) {
                    // Not written for the same reason; it is with the next bytes that are.
                    let _ = log.lost(read as u64);
                }
            }
        }
    }
}
