//! What the API shows itself as and whom it asks for what: decided here from everything that bears on it, obeyed by the
//! gateway.
//!
//! | the door is | certificate shown | clients |
//! |---|---|---|
//! | open | the maintenance identity | strangers |
//! | configured | the one that was signed for this node, else the maintenance identity | of the accepted authorities, the rescue, machined itself |
//! | not decided, of a configured machine | what the gateway has, for a moment more | |
//! | closed | the maintenance identity | the rescue, machined itself; without a rescue nobody |
//!
//! Invariant: strangers are let in by the first row alone; an empty list of authorities elsewhere is nobody. Run by `boot`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use api::fingerprint::Fingerprint;
use api::pki::Certificate;
use config::kinds::Api;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::configuration::Active;
use crate::gateway::keys::{Accepted, Keys};
use crate::maintenance::Maintenance;
use crate::meta;
use crate::pki::node::Now;
use crate::pki::own::Own;
use crate::pki::{Identity, rescue};
use crate::server::keys::Offer;

/// A configured machine finds its configuration within seconds, and gives a disk some more.
pub const LOOKING: Duration = Duration::from_secs(40);

/// Everything that bears on it.
#[derive(Debug)]
pub struct Sources {
    /// Who is let in at all.
    pub door: watch::Receiver<Maintenance>,
    /// What the machine shows without configuration.
    pub identity: watch::Receiver<Arc<Identity>>,
    /// What was signed for this node.
    pub node: watch::Receiver<Now>,
    /// The configuration.
    pub active: watch::Receiver<Arc<Active>>,
    /// Keeps the rescue authority for when STATE cannot be read.
    pub meta: meta::Handle,
    /// A file in /run that is there once this boot's machine was configured.
    pub mark: PathBuf,
    /// Until then a configured machine's configuration is looked for, and nothing else is offered.
    pub until: Instant,
    /// machined as its own client.
    pub own: Own,
    /// The rescue authority that is built into the image.
    pub rescue: Option<Certificate>,
    /// Whether somebody who knows has set the clock.
    pub clock_sure: watch::Receiver<bool>,
}

impl Sources {
    /// The offer now.
    pub fn now(&self) -> Offer {
        let (identity, node) = (self.identity.borrow().clone(), self.node.borrow().clone());
        let (active, clock_sure) = (self.active.borrow().clone(), *self.clock_sure.borrow());
        let door = self.door.borrow().clone();
        let maintenance = |accepted| Keys {
            chain: vec![identity.certificate.clone()],
            key: identity.key.clone(),
            accepted,
            allow: Vec::new(),
            revoked: Vec::new(),
            clock_sure,
        };
        let api = active.documents.of::<Api>().next().map(|(_, api)| api);
        let rescue = self.rescue(api);
        let keys = match &door {
            Maintenance::Open => maintenance(Vec::new()),
            // A machined that was started again, or a boot: who is served is not served worse meanwhile, and nobody is shown a
            // certificate that is not the machine's.
            // Not for ever: a disk that hangs must not keep the rescue out.
            Maintenance::Closed(_) if !door.is_decided() && self.is_configured() && Instant::now() < self.until => {
                return Offer::Later("the configuration is looked for");
            }
            Maintenance::Closed(why) if rescue.is_empty() => return Offer::Nothing(why.clone()),
            Maintenance::Closed(_) => maintenance(self.with_own(rescue)),
            Maintenance::Configured => {
                let Some(api) = api else {
                    // Between the door and the engine: for a moment.
                    return Offer::Later("the configuration is being read");
                };
                if matches!(node, Now::Unknown) {
                    return Offer::Later("the machine's certificate is being read");
                }
                let mut keys = maintenance(self.with_own([accepted(api), rescue].concat()));
                if let Some(held) = node.held() {
                    keys.chain = held.chain.iter().map(|one| one.der().to_vec()).collect();
                    keys.key = held.key.der();
                }
                keys.allow = api.allow.iter().map(|net| net.0).collect();
                keys.revoked =
                    api.revoked().filter_map(|text| Some(text.parse::<Fingerprint>().ok()?.bytes())).collect();
                keys
            }
        };
        Offer::Keys(Arc::new(keys))
    }

    /// As far as is known without STATE.
    fn is_configured(&self) -> bool {
        self.mark.exists() || self.meta.record().configured
    }

    /// The rescue authorities: of the documents, else the one that META remembers of them, and the image's.
    fn rescue(&self, api: Option<&Api>) -> Vec<Accepted> {
        let kept = self.meta.record().rescue;
        let documents = api.and_then(|api| api.rescue.as_ref()).or(kept.as_ref());
        let documents = documents.and_then(|pem| rescue::parse(pem));
        let all = documents.iter().chain(&self.rescue);
        all.map(|one| Accepted { der: one.der().to_vec(), rescue: true }).collect()
    }

    fn with_own(&self, mut accepted: Vec<Accepted>) -> Vec<Accepted> {
        // One that cannot be made costs the probe, and nobody's access.
        if let Some(der) = self.own.authority() {
            accepted.push(Accepted { der, rescue: false });
        }
        accepted
    }

    async fn changed(&mut self) {
        let mut meta = self.meta.watch();
        meta.mark_unchanged();
        // A sender that is gone changes nothing any more.
        tokio::select! {
            Ok(()) = self.door.changed() => {}
            Ok(()) = self.identity.changed() => {}
            Ok(()) = self.node.changed() => {}
            Ok(()) = self.active.changed() => {}
            Ok(()) = self.clock_sure.changed() => {}
            Ok(()) = meta.changed() => {}
            else => std::future::pending().await,
        }
    }

    /// Keeps `offer` what it should be, for ever.
    pub async fn follow(mut self, offer: watch::Sender<Offer>) {
        loop {
            let now = self.now();
            offer.send_if_modified(|before| {
                let changed = *before != now;
                *before = now;
                changed
            });
            let until = self.until;
            tokio::select! {
                () = self.changed() => {}
                () = tokio::time::sleep_until(until), if Instant::now() < until => {}
            }
        }
    }
}

fn accepted(api: &Api) -> Vec<Accepted> {
    let parsed = api.accept.iter().filter_map(|one| Certificate::parse(&one.certificate).ok());
    parsed.map(|one| Accepted { der: one.der().to_vec(), rescue: false }).collect()
}

#[cfg(test)]
#[path = "offer_tests.rs"]
mod tests;
