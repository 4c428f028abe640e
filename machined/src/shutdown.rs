//! The end of machined as a straight line: each phase has a deadline and then force. `boot` calls it once somebody asked
//! for a stop.
//!
//! The API goes last, so that who watches sees each step. If machined dies in here, init finishes the stop; if it takes
//! more than 90 s in all, too.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reconcile::{Problems, Stopped};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::events::Events;
use crate::link::{self, Link};
use crate::{meta, services, stop, trace};

/// For all services together: what a service is granted is in its declaration, and init's patience is 90 s.
const SERVICES: Duration = Duration::from_secs(60);
/// For the cycles under way; `boot` gives it to the runtime. A kernel call that waits longer, waits for a dead device.
pub const GRACE: Duration = Duration::from_secs(3);
/// For the controllers: the runtime takes its grace twice at most (to let them end, then to drop them).
const CONTROLLERS: Duration = Duration::from_secs(7);
/// For a write to META: a disk that takes longer is dead.
const META: Duration = Duration::from_secs(5);
/// For who watches to hear the last step before the connection ends.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// The service through which the API is reached: stopped last, by init.
const GATEWAY: &str = "gateway";

/// What there is to stop.
#[derive(Debug)]
pub struct Shutdown {
    /// To init.
    pub link: Link,
    /// Where the steps are shown.
    pub stop: stop::Handle,
    /// The services.
    pub services: services::Handle,
    /// Keeps the cause for the next boot.
    pub meta: meta::Handle,
    /// Keeps the last lines of the log for the next boot.
    pub tail: meta::Tail,
    /// The log for people.
    pub events: Events,
    /// Ends the controllers.
    pub quit: oneshot::Sender<()>,
    /// How they ended.
    pub controllers: oneshot::Receiver<Result<Stopped, Problems>>,
}

/// Stops everything and hands over to init. Returns only when init cannot be told.
pub async fn run(all: Shutdown, request: &Arc<stop::Request>) -> Result<(), link::Error> {
    let Shutdown { link, stop, services, meta, tail, events, quit, controllers } = all;
    // From here on init finishes the job if we do not. It may have promised another end before: that one counts.
    let action = link.stopping(request.action.into()).await?;
    let stands = stop.stands(action.into());
    let request = stands.as_ref().unwrap_or(request);
    events.info("machined", format!("stopping ({action}): {}", request.cause));

    stop.step("writing down why");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let cause = request.cause.clone();
    let note = meta::Stop { action: request.action, cause, time_unix: now, complete: false };
    write_down("the cause of the stop", meta.stopping(note)).await;
    // Now and at the end: the services may take a minute, and then nothing is certain any more.
    keep(&tail).await;

    if request.at_once {
        tracing::warn!("nothing is stopped in order: that was asked for");
    } else {
        match timeout(SERVICES, services.stop_all(&stop, GATEWAY)).await {
            Ok(left) if left.is_empty() => {}
            Ok(left) => tracing::warn!("not stopped in time, init kills them: {}", left.join(", ")),
            Err(_) => tracing::warn!("the services take too long, init kills them"),
        }

        stop.step("stopping the controllers");
        // They are gone already if the receiver is.
        let _ = quit.send(());
        match timeout(CONTROLLERS, controllers).await {
            Ok(Ok(Ok(stopped))) if stopped.cut.is_empty() => {}
            other => tracing::warn!("controllers were cut off: {other:?}"),
        }
    }

    stop.step("handing over to init");
    // After the last step, so that the next boot reads how far the stop came.
    keep(&tail).await;
    // Without this note the next boot says that the stop did not come to its end.
    write_down("that everything has stopped", meta.stopped()).await;
    tokio::time::sleep(LAST_WORDS).await;
    link.stop(action).await?;
    // init kills us.
    std::future::pending().await
}

/// Waits for a note in META.
async fn write_down(what: &str, note: impl Future<Output = Result<meta::Saved, meta::Error>>) {
    match timeout(META, note).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!("{what} is not kept: {}", trace::chain(&error)),
        Err(_) => tracing::warn!("{what} is not kept: META takes too long"),
    }
}

/// Writes the log so far to META.
async fn keep(tail: &meta::Tail) {
    match timeout(META, tail.flush()).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => tracing::warn!("the last lines of the log are not kept: there is no META"),
        Ok(Err(error)) => tracing::warn!("the last lines of the log are not kept: {}", trace::chain(&error)),
        Err(_) => tracing::warn!("the last lines of the log are not kept: META takes too long"),
    }
}
