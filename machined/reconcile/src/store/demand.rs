//! Types whose truth lies outside and changes all the time, such as processes: read when somebody looks, never otherwise.
//!
//! Invariant: at most one reading of a type at a time, on a thread for blocking calls, and none within [`FRESH`] of the one
//! before; nobody waits for one longer than [`PATIENCE`]. Called by the API server and by watches; a typed reader (a
//! controller) sees what was read last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{ClaimError, Store};
use crate::resource::Resource;

/// Whoever asks again so soon gets the same answer: several clients cost no more than one.
const FRESH: Duration = Duration::from_millis(500);
/// A reading takes milliseconds; a mount of a dead server or disk may hold it for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is read for those who watch: often enough for a person, and a fraction of a per cent of a processor.
pub(super) const WATCHED: Duration = Duration::from_secs(2);

/// The readers of a store.
#[derive(Default)]
pub(super) struct Readers(Mutex<BTreeMap<&'static str, Arc<Reader>>>);

struct Reader {
    read: Box<dyn Fn(&Store) + Send + Sync>,
    /// Held by the reading under way, also when nobody waits for it any more.
    last: Arc<tokio::sync::Mutex<Option<Instant>>>,
}

/// What lies outside could not be read in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the kernel did not tell of {plural} within {} s: a mount, a disk or a process does not answer", PATIENCE.as_secs())]
pub struct Slow {
    /// Of what.
    pub plural: &'static str,
}

impl Store {
    /// The only writer of a type that is read with `read` whenever somebody refreshes or watches it. It may block.
    ///
    /// # Errors
    /// When anybody else has claimed the type.
    pub fn on_demand<R: Resource>(
        &self,
        owner: &'static str,
        read: impl Fn() -> Vec<(String, R)> + Send + Sync + 'static,
    ) -> Result<(), ClaimError> {
        // The claim; the writer itself would keep the store alive from inside.
        drop(self.writer::<R>(owner)?);
        let read = Box::new(move |store: &Store| {
            // Cannot be refused: the claim above leaves no other owner.
            let _ = store.replace_all(owner, read());
        });
        let reader = Arc::new(Reader { read, last: Arc::default() });
        self.shared.readers.0.lock().unwrap_or_else(PoisonError::into_inner).insert(R::TYPE, reader);
        Ok(())
    }

    /// Reads the type (by any of its names) if it is one of these and was not read just now. Cancel-safe.
    ///
    /// # Errors
    /// It takes too long; the store keeps what was read before.
    #[expect(clippy::disallowed_methods, reason = "it is awaited, and a panic leaves what was read before")]
    pub async fn refresh(&self, name: &str) -> Result<(), Slow> {
        let Some((plural, reader)) = self.reader(name) else { return Ok(()) };
        let store = self.clone();
        let read = async {
            let mut last = reader.last.clone().lock_owned().await;
            if last.is_some_and(|at| at.elapsed() < FRESH) {
                return;
            }
            let reader = reader.clone();
            let reading = tokio::task::spawn_blocking(move || {
                (reader.read)(&store);
                *last = Some(Instant::now());
            });
            // An error means that it panicked or that the runtime stops: what was read before stays.
            let _ = reading.await;
        };
        tokio::time::timeout(PATIENCE, read).await.map_err(|_| Slow { plural })
    }

    pub(super) fn is_on_demand(&self, name: &str) -> bool {
        self.reader(name).is_some()
    }

    fn reader(&self, name: &str) -> Option<(&'static str, Arc<Reader>)> {
        let info = self.resolve(name)?;
        let readers = self.shared.readers.0.lock().unwrap_or_else(PoisonError::into_inner);
        Some((info.plural, readers.get(info.name)?.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::samples::Link;
    use crate::store::RawChange;

    fn counted() -> (Store, Arc<AtomicU32>) {
        let (store, count) = (Store::new(), Arc::new(AtomicU32::new(0)));
        let counter = count.clone();
        let read = move || vec![("eth0".to_owned(), Link(counter.fetch_add(1, Ordering::Relaxed)))];
        store.on_demand("test", read).unwrap();
        (store, count)
    }

    #[tokio::test(start_paused = true)]
    async fn is_read_when_somebody_looks_and_not_again_at_once() {
        let (store, count) = counted();
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(count.load(Ordering::Relaxed), 0);
        store.refresh(Link::PLURAL).await.unwrap();
        assert_eq!(store.list_raw(Link::PLURAL).unwrap().len(), 1);
        store.refresh(Link::TYPE).await.unwrap();
        assert!(store.get_raw(Link::TYPE, "eth0").is_some());
        assert_eq!(count.load(Ordering::Relaxed), 1);
        tokio::time::advance(FRESH).await;
        store.refresh(Link::TYPE).await.unwrap();
        assert_eq!(store.list_raw(Link::TYPE).unwrap().next().unwrap().value, 1);
        assert!(store.writer::<Link>("other").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn is_read_again_and_again_for_a_watch_and_only_for_it() {
        let (store, count) = counted();
        let mut watch = store.watch_raw(Link::TYPE, None).unwrap();
        let mut puts = 0;
        while puts < 4 {
            puts += u32::from(matches!(watch.next().await.change, RawChange::Put(_)));
        }
        assert_eq!(count.load(Ordering::Relaxed), 4);
        drop(watch);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(count.load(Ordering::Relaxed), 4);
    }

    #[tokio::test]
    async fn a_reading_that_hangs_holds_up_nobody_else() {
        let store = Store::new();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let read = move || {
            let _ = wait.lock().unwrap().recv();
            vec![("eth0".to_owned(), Link(1))]
        };
        store.on_demand("test", read).unwrap();
        // On the only worker: this test would hang if the reading ran there.
        assert!(tokio::time::timeout(Duration::from_millis(20), store.refresh(Link::TYPE)).await.is_err());
        assert_eq!(store.list_raw(Link::TYPE).unwrap().len(), 0);
        drop(go);
        store.refresh(Link::TYPE).await.unwrap();
        assert_eq!(store.list_raw(Link::TYPE).unwrap().len(), 1);
    }
}
