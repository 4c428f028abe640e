//! `pki/certificate`: has the certificate that the API shows signed and renewed, and shows every certificate that matters.
//!
//! Invariant: what the API shows is never taken away, only replaced; a certificate that cannot be renewed is said in time, as
//! event and condition, again after every restart and once a day.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use api::{
    fingerprint::Fingerprint,
    pki::{Ca, Node},
};
use config::kinds::{Api, Authority};
use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use tokio::{sync::watch, time::Instant};

use super::{
    plan::{Facts, Step, plan},
    renew, show,
};
use crate::{
    configuration::Active,
    documents,
    events::Events,
    identity::Machine,
    pki::node,
    resources::{
        Condition,
        address::{Address, AddressOrigin, AddressScope},
        authority::Authority as Signs,
        certificate::{Certificate, Validity},
        origin::Origin,
    },
    trace::chain,
};

/// Between two attempts to have others sign, and two signatures of our own for the same reasons.
const AGAIN: Duration = Duration::from_secs(60);

/// The same thing is said again after so long.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Id of the condition.
const CONDITION: &str = "certificate";

/// By hand.
const RENEW: &str = "apictl cert renew --node --secrets FILE";

/// What to do about a certificate that nobody renews.
const BY_HAND: &str = "nobody renews it by itself; run: apictl cert renew --node --secrets FILE";

/// What to do about an authority.
const ROTATE: &str = "replace it: apictl cert rotate-ca --secrets FILE";

/// What the controller works with.
#[derive(Debug)]
pub struct World {
    /// The configuration, with the authority's key.
    pub active: watch::Receiver<Arc<Active>>,
    /// The identity.
    pub node: node::Handle,
    /// What the machine is called.
    pub machine: watch::Receiver<Machine>,
    /// Whether the clock can be believed.
    pub clock_sure: watch::Receiver<bool>,
    /// The log for people.
    pub events: Events,
    /// The rescue authority that is built into the image.
    pub rescue: Option<api::pki::Certificate>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Cycle(#[from] CycleError),
    /// The authority's key is missing or wrong, or STATE failed.
    #[error("cannot sign the certificate that the API shows")]
    Sign(#[from] node::Error),
}

/// `pki/certificate`.
#[derive(Debug)]
pub struct Certificates {
    world: World,
    held: watch::Receiver<node::Now>,
    /// When others were last asked, and why they did not sign.
    asked: Option<(Instant, String)>,
    /// When this machine last signed for itself, and what that was for.
    signed: Option<(Instant, Reasons)>,
    /// What was said, and when.
    said: BTreeMap<String, (String, Instant)>,
}

/// What a signature was for: as long as nothing of it changes, another one would not be better.
#[derive(Debug, PartialEq, Eq)]
struct Reasons {
    names: Vec<String>,
    ttl: Duration,
    clock_sure: bool,
    authority: Fingerprint,
}

/// A document of the configuration.
struct Found<'a, K> {
    body: &'a K,
    origin: Origin,
}

impl Certificates {
    /// With nothing done yet.
    pub fn new(world: World) -> Self {
        let held = world.node.watch();
        Self { world, held, asked: None, signed: None, said: BTreeMap::new() }
    }

    /// Names and addresses by which others reach this machine, as a certificate has them: addresses in their one form, and
    /// no more than it has room for. The plan compares.
    fn names(&self, api: Option<&Api>, addresses: Vec<Address>) -> Vec<String> {
        let mut names = {
            let machine = self.world.machine.borrow();
            vec![machine.hostname.clone(), machine.short().to_owned()]
        };
        let mut global: Vec<IpAddr> = addresses
            .into_iter()
            .filter(|found| {
                found.scope == AddressScope::Global && found.usable() && found.origin != AddressOrigin::Other
            })
            .map(|found| found.address.addr())
            .collect();
        global.sort();
        names.extend(api.into_iter().flat_map(|api| api.subject_names.iter().cloned()));
        names.extend(global.iter().map(ToString::to_string));
        names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
        for name in &mut names {
            if let Ok(address) = name.parse::<IpAddr>() {
                *name = address.to_string();
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names.truncate(node::NAMES);
        names
    }

    /// Says what has not been said for a day.
    fn say(&mut self, id: &str, sentence: Option<&str>) {
        let Some(sentence) = sentence else {
            self.said.remove(id);
            return;
        };
        let fresh = |(said, at): &(String, Instant)| said == sentence && at.elapsed() < DAY;
        if !self.said.get(id).is_some_and(fresh) {
            self.world.events.warn("certificate", sentence);
            self.said.insert(id.to_owned(), (sentence.to_owned(), Instant::now()));
        }
    }

    /// Does what is due; how long nothing will be.
    async fn keep(
        &mut self,
        active: &Active,
        api: Option<&Api>,
        ca: Option<&Ca>,
        names: &[String],
    ) -> Result<Duration, Error> {
        let held = match &*self.held.borrow_and_update() {
            node::Now::Unknown => return Ok(AGAIN),
            now => now.held().cloned(),
        };
        let Some(api) = api.filter(|_| active.revision.is_some()) else { return Ok(AGAIN) };
        let facts = Facts {
            now: SystemTime::now(),
            clock_sure: *self.world.clock_sure.borrow_and_update(),
            held: held.as_ref().and_then(|held| held.chain.first()),
            names,
            authority: ca.map(Ca::certificate),
            lifetime: api.certificates.server.0,
            ask: !api.renew_from.is_empty(),
        };
        match (plan(&facts), ca, &held) {
            (Step::Sign(ttl), Some(ca), _) => {
                let (names, authority) = (names.to_vec(), ca.certificate().fingerprint());
                let reasons = Reasons { names, ttl, clock_sure: facts.clock_sure, authority };
                if let Some((at, before)) = &self.signed
                    && *before == reasons
                    && at.elapsed() < AGAIN
                {
                    return Ok(AGAIN.saturating_sub(at.elapsed()));
                }
                let signed = self.world.node.sign(ca, &Node { names: reasons.names.clone(), ttl }).await?;
                let own = &signed.chain[0];
                let until = show::moment(own.not_after);
                self.world.events.info("certificate", format!("signed for {} until {until}", own.names.join(", ")));
                (self.asked, self.signed) = (None, Some((Instant::now(), reasons)));
                Ok(AGAIN)
            }
            (Step::Ask, _, Some(held)) => {
                if let Some((at, _)) = &self.asked
                    && at.elapsed() < AGAIN
                {
                    return Ok(AGAIN.saturating_sub(at.elapsed()));
                }
                let accepted: String = api.accept.iter().map(|one| format!("{}\n", one.certificate.trim())).collect();
                match renew::renew(&api.renew_from, &accepted, held, &self.world.node).await {
                    Ok(()) => {
                        self.asked = None;
                        self.world.events.info("certificate", "renewed by another machine");
                    }
                    Err(why) => {
                        tracing::warn!("the machine's certificate is not renewed yet: {why}");
                        self.asked = Some((Instant::now(), why));
                    }
                }
                Ok(AGAIN)
            }
            (Step::Wait(pause), ..) => Ok(pause),
            (Step::Sign(_) | Step::Ask, ..) => Ok(AGAIN),
        }
    }

    /// Puts the one that the API shows, and whether it can be relied on.
    fn show_own(&mut self, cx: &mut Cycle<'_>, by_itself: bool, wanted: &[String]) -> Result<(), CycleError> {
        let Some(held) = self.held.borrow().held().cloned() else {
            let why = "nobody has signed a certificate for this machine: its API shows the one of maintenance; run: apictl cert \
                       renew --node --secrets FILE";
            return cx.put(CONDITION, Condition::unmet(why).optional());
        };
        let own = &held.chain[0];
        let validity = show::validity(own, by_itself, SystemTime::now());
        let (renewal, remedy) = match (&self.asked, by_itself) {
            (Some((_, why)), _) => (format!("nobody has renewed it: {why}"), format!("nobody has renewed it: {why}")),
            (None, true) => {
                ("by itself, at half its life".to_owned(), "it should have been renewed by itself".to_owned())
            }
            (None, false) => ("by hand: apictl cert renew --node --secrets FILE".to_owned(), BY_HAND.to_owned()),
        };
        let sentence = show::sentence("the machine's certificate", own, validity, &remedy);
        let sentence = sentence.or_else(|| {
            let missing = unnamed(wanted, &own.names);
            (!missing.is_empty()).then(|| {
                let missing = missing.join(", ");
                format!("the machine's certificate is not for {missing}: who asks for that is told so; run: {RENEW}")
            })
        });
        self.say(Certificate::API, sentence.as_deref());
        let condition = match sentence {
            None => Condition::met(format!("the machine's certificate is good until {}", show::moment(own.not_after))),
            Some(sentence) => Condition::unmet(sentence),
        };
        cx.put(CONDITION, condition.optional())?;
        cx.put(Certificate::API, show::describe(own, "the API shows it", renewal, validity, None))
    }

    /// Puts an authority of a document.
    fn show_authority(
        &mut self,
        cx: &mut Cycle<'_>,
        id: &str,
        purpose: &str,
        pem: &str,
        origin: Option<&Origin>,
    ) -> Result<(), CycleError> {
        let Ok(certificate) = api::pki::Certificate::parse(pem) else { return Ok(()) };
        let validity = show::validity(&certificate, false, SystemTime::now());
        let what = format!("the authority {} ({purpose})", certificate.subject);
        let sentence = show::sentence(&what, &certificate, validity, ROTATE);
        // An authority that begins later, or that nobody uses, hurts nobody.
        self.say(id, sentence.as_deref().filter(|_| matches!(validity, Validity::EndsSoon | Validity::Over)));
        let renewal = "by hand: apictl cert rotate-ca --secrets FILE".to_owned();
        cx.put(id, show::describe(&certificate, purpose, renewal, validity, origin.cloned()))
    }
}

/// Names that the certificate should have: all of those that somebody gave the machine, and one of its addresses. Which of
/// those it has is the network's doing, and changes.
fn unnamed<'a>(wanted: &'a [String], has: &[String]) -> Vec<&'a str> {
    let outside = wanted.iter().map(String::as_str).filter(|name| !["localhost", "127.0.0.1", "::1"].contains(name));
    let (addresses, mut missing): (Vec<&str>, Vec<&str>) = outside.partition(|name| name.parse::<IpAddr>().is_ok());
    let is_there = |name: &&str| has.iter().any(|one| one == *name);
    missing.retain(|name| !is_there(name));
    if !addresses.iter().any(is_there) {
        missing.extend(addresses);
    }
    missing
}

/// The only document of a kind.
fn only<K: config::Kind>(active: &Active) -> Option<Found<'_, K>> {
    let (document, body) = active.documents.of::<K>().next()?;
    let origin = Origin { document: document.id(), line: document.at.line, revision: active.revision.unwrap_or(0) };
    Some(Found { body, origin })
}

/// The authority, with its key from the secrets.
fn authority(active: &Active, found: &Authority) -> Result<Ca, String> {
    let secret = active.secrets.get(&found.secret).and_then(|secret| secret.key.as_ref());
    let key = secret.ok_or_else(|| format!("the secret {} has no key", found.secret))?;
    Ca::load(&found.certificate, key.as_str()).map_err(|error| chain(&error))
}

impl Controller for Certificates {
    const NAME: &'static str = "pki/certificate";
    type Error = Error;

    fn declare(ports: &mut Ports) {
        ports.watch::<Address>();
        ports.own::<Certificate>().own::<Signs>();
        ports.share::<Condition>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Error> {
        let active = self.world.active.borrow_and_update().clone();
        let addresses = cx.list::<Address>()?.into_iter().map(|found| (*found.value).clone()).collect();
        self.world.machine.borrow_and_update();
        let (api, own) = (only::<Api>(&active), only::<Authority>(&active));
        let names = self.names(api.as_ref().map(|found| found.body), addresses);
        self.world.node.put_names(names.clone());
        if active.revision.is_none() {
            // In maintenance, or not known: nothing that has an end.
            return Ok(if active.decided() { Next::OnChange } else { Next::Unready });
        }
        let ca = own.as_ref().map(|found| (authority(&active, found.body), &found.origin));
        if let Some((result, origin)) = &ca {
            let why_not = result.as_ref().err().map_or("", String::as_str);
            documents::tell(cx, origin, why_not)?;
            let certificate = own.as_ref().and_then(|own| api::pki::Certificate::parse(&own.body.certificate).ok());
            let signs = Signs {
                fingerprint: certificate.as_ref().map(|one| one.fingerprint().to_string()).unwrap_or_default(),
                subject: certificate.map(|one| one.subject).unwrap_or_default(),
                problem: why_not.to_owned(),
                origin: (*origin).clone(),
            };
            cx.put(Signs::ID, signs)?;
        }
        let ca = ca.and_then(|(ca, _)| ca.ok());
        let pause = self.keep(&active, api.as_ref().map(|found| found.body), ca.as_ref(), &names).await?;
        let by_itself = ca.is_some() || api.as_ref().is_some_and(|found| !found.body.renew_from.is_empty());
        // An authority of our own signs for new names at once; nobody else hears of them.
        self.show_own(cx, by_itself, if ca.is_some() { &[] } else { &names })?;
        if let Some(Found { body, origin }) = &own {
            self.show_authority(
                cx,
                Certificate::AUTHORITY,
                "this machine signs with it",
                &body.certificate,
                Some(origin),
            )?;
        }
        if let Some(Found { body, origin }) = &api {
            for (n, accepted) in body.accept.iter().enumerate() {
                let id = format!("accepted/{n}");
                self.show_authority(cx, &id, "its clients are let in", &accepted.certificate, Some(origin))?;
            }
            if let Some(rescue) = &body.rescue {
                self.show_authority(cx, Certificate::RESCUE, "the rescue", rescue, Some(origin))?;
            }
        }
        if let Some(rescue) = self.world.rescue.clone() {
            self.show_authority(cx, "rescue/image", "the rescue of the image", &rescue.pem(), None)?;
        }
        Ok(Next::After(pause.max(Duration::from_millis(10))))
    }

    async fn wake(&mut self) {
        let World { active, machine, clock_sure, .. } = &mut self.world;
        // A sender that is gone changes nothing any more.
        tokio::select! {
            Ok(()) = active.changed() => {}
            Ok(()) = machine.changed() => {}
            Ok(()) = clock_sure.changed() => {}
            Ok(()) = self.held.changed() => {}
            else => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
