//! Types whose truth lies outside and changes all the time, such as processes: read when somebody looks, never otherwise.
//!
//! Invariant: at most one reading of a type at a time, and none within [`FRESH`] of the one before. Called by the raw side
//! of the store; a typed reader (a controller) sees what was read last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{ClaimError, Store};
use crate::resource::Resource;

/// Whoever asks again so soon gets the same answer: several clients cost no more than one.
const FRESH: Duration = Duration::from_millis(500);
/// How often it is read for those who watch: often enough for a person, and a fraction of a per cent of a processor.
pub(super) const WATCHED: Duration = Duration::from_secs(2);

/// The readers of a store.
#[derive(Default)]
pub(super) struct Readers(Mutex<BTreeMap<&'static str, Arc<Reader>>>);

struct Reader {
    read: Box<dyn Fn(&Store) + Send + Sync>,
    last: Mutex<Option<Instant>>,
}

impl Store {
    /// The only writer of a type that is read with `read` whenever somebody lists, gets or watches it over the raw side. It
    /// runs on the caller's thread, so it must be quick and must not look at the same type.
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
        let reader = Arc::new(Reader { read, last: Mutex::new(None) });
        self.shared.readers.0.lock().unwrap_or_else(PoisonError::into_inner).insert(R::TYPE, reader);
        Ok(())
    }

    /// Reads the type (by any of its names) if it is one of these and was not read just now. True: it is one of these.
    pub(super) fn look(&self, name: &str) -> bool {
        let Some(info) = self.resolve(name) else { return false };
        let reader = self.shared.readers.0.lock().unwrap_or_else(PoisonError::into_inner).get(info.name).cloned();
        let Some(reader) = reader else { return false };
        let mut last = reader.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|at| at.elapsed() >= FRESH) {
            (reader.read)(self);
            *last = Some(Instant::now());
        }
        true
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
        assert_eq!(store.list_raw(Link::PLURAL).unwrap().len(), 1);
        assert!(store.get_raw(Link::TYPE, "eth0").is_some());
        assert_eq!(count.load(Ordering::Relaxed), 1);
        tokio::time::advance(FRESH).await;
        assert_eq!(store.list_raw(Link::TYPE).unwrap()[0].value, 1);
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
}
