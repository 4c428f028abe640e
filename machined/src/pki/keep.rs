//! Which identity this machine shows, and where it is kept: META across boots, a file in /run across restarts of machined.
//!
//! Invariant: what META says wins, since people pinned it in earlier boots; a META that comes late changes the identity
//! live, and says so. Run by `boot`: `find` before the API opens, which therefore waits for no write, `follow` ever after.

use std::{sync::Arc, time::Duration};

use reconcile::{SharedWriter, Store};
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::{Error, Identity, file::File};
use crate::{
    meta,
    resources::wait::{self, For, Wait},
    uptime,
};

/// How long the API waits for the system disk before it opens with an identity that only this boot knows.
pub const META_WITHIN: Duration = wait::IDENTITY;

const META: &str = "META";

/// Finds the identity, or makes one.
///
/// # Errors
/// Only when none can be made; places that fail are logged.
pub async fn find(file: &File, meta: &meta::Handle, store: &Store) -> Result<Identity, Error> {
    let kept = file.load().unwrap_or_else(complain);
    if kept.is_none() && meta.state() == meta::State::Waiting {
        let _shown = show_wait(store);
        meta.settled(META_WITHIN).await;
    }
    choose(kept, file, meta)
}

/// Shows what is waited for until it is dropped.
fn show_wait(store: &Store) -> Option<impl Drop> {
    struct Shown(SharedWriter<Wait>);
    impl Drop for Shown {
        fn drop(&mut self) {
            let _ = self.0.remove(For::Identity.id());
        }
    }
    let wait = For::Identity.wait("no disk with our META was found yet", uptime::now_ms());
    let waits = store.shared_writer::<Wait>("pki").ok()?;
    waits.put(For::Identity.id(), wait).ok()?;
    Some(Shown(waits))
}

/// Keeps the identity in step with META for ever. Everybody who shows it watches `shown`.
pub async fn follow(shown: &watch::Sender<Arc<Identity>>, file: &File, meta: &meta::Handle) {
    let mut state = meta.watch();
    loop {
        let now = shown.borrow().clone();
        match choose(Some((*now).clone()), file, meta) {
            Ok(identity) => {
                if identity != *now {
                    tracing::warn!(
                        fingerprint = identity.fingerprint_hex(),
                        "META knows another identity; showing that one"
                    );
                    shown.send_replace(Arc::new(identity.clone()));
                }
                record(&identity, meta).await;
            }
            Err(error) => drop(complain::<()>(error)),
        }
        if state.changed().await.is_err() {
            // Cannot be: `meta` holds the sender.
            return std::future::pending().await;
        }
    }
}

/// META's, else the one at hand, else a new one; kept in the file. Waits for no disk.
fn choose(at_hand: Option<Identity>, file: &File, meta: &meta::Handle) -> Result<Identity, Error> {
    let recorded = meta.record().identity;
    let recorded = recorded.as_ref().and_then(|recorded| parse(recorded).map(Some).unwrap_or_else(complain));
    let identity = match recorded.or_else(|| at_hand.clone()) {
        Some(identity) => identity,
        None => Identity::make()?,
    };
    if at_hand.as_ref() != Some(&identity) || !matches!(file.load(), Ok(Some(_))) {
        file.save(&identity).or_else(|error| complain(error).ok_or(())).ok();
    }
    Ok(identity)
}

/// Has META keep it.
async fn record(identity: &Identity, meta: &meta::Handle) {
    let record = format(identity);
    if meta.record().identity.as_ref() == Some(&record) {
        return;
    }
    if let Err(error) = meta.update(|all| all.identity = Some(record)).await {
        tracing::warn!(error = &error as &dyn std::error::Error, "META does not keep the API's identity");
    }
}

fn complain<T>(error: Error) -> Option<T> {
    tracing::warn!(error = &error as &dyn std::error::Error, "the API's identity");
    None
}

/// As META keeps it.
pub fn format(identity: &Identity) -> meta::Identity {
    let pem = |tag: &str, der: &[u8]| pem::encode(&pem::Pem::new(tag, der));
    meta::Identity { key: pem("PRIVATE KEY", &identity.key), certificate: pem("CERTIFICATE", &identity.certificate) }
}

fn parse(record: &meta::Identity) -> Result<Identity, Error> {
    let der = |text: &str, tag: &str, why| match pem::parse(text) {
        Ok(pem) if pem.tag() == tag => Ok(pem.into_contents()),
        _ => Err(Error::Damaged { place: META.into(), why }),
    };
    Identity {
        certificate: der(&record.certificate, "CERTIFICATE", "the certificate is not PEM")?,
        key: Zeroizing::new(der(&record.key, "PRIVATE KEY", "the key is not PEM")?),
    }
    .check(META)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: &str = "11111111-2222-3333-4444-555555555555";

    async fn without_disk() -> meta::Handle {
        let meta = meta::Handle::new(BOOT);
        meta.detach("no disk");
        meta
    }

    #[tokio::test]
    async fn it_is_made_once_and_survives_machined() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::new(folder.path().join("identity"));
        let first = find(&file, &without_disk().await, &Store::new()).await.unwrap();
        // A new machined: META not yet looked for, so it must not be waited for either.
        let again = find(&file, &meta::Handle::new(BOOT), &Store::new()).await.unwrap();
        assert_eq!(first, again);
    }

    #[tokio::test]
    async fn what_meta_knows_wins_and_is_taken_over_live() {
        let folder = tempfile::tempdir().unwrap();
        let file = File::new(folder.path().join("identity"));
        let meta = without_disk().await;
        let old = Identity::make().unwrap();
        let early = find(&file, &meta, &Store::new()).await.unwrap();
        let (shown, mut seen) = watch::channel(Arc::new(early.clone()));
        let change = async {
            meta.update(|record| record.identity = Some(format(&old))).await.unwrap();
            meta.detach("as if the disk had come");
            seen.wait_for(|identity| **identity != early).await.unwrap().clone()
        };
        let late = tokio::select! {
            () = follow(&shown, &file, &meta) => unreachable!(),
            late = change => late,
        };
        assert_eq!(*late, old);
        assert_eq!(file.load().unwrap(), Some(old.clone()));
        assert_eq!(find(&File::new(folder.path().join("next boot")), &meta, &Store::new()).await.unwrap(), old);
    }

    #[tokio::test]
    async fn damage_in_meta_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let meta = without_disk().await;
        let broken = meta::Identity { key: "none".into(), certificate: "none".into() };
        meta.update(|record| record.identity = Some(broken)).await.unwrap();
        let file = File::new(folder.path().join("identity"));
        let made = find(&file, &meta, &Store::new()).await.unwrap();
        let (shown, _) = watch::channel(Arc::new(made.clone()));
        let soon = Duration::from_millis(100);
        assert!(tokio::time::timeout(soon, follow(&shown, &file, &meta)).await.is_err());
        assert_eq!(meta.record().identity, Some(format(&made)));
    }
}
