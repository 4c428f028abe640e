//! What the documents mean on this machine: which links they speak of, what is said about each, what came of each document.
//! Pure.
//!
//! Invariant: a link is spoken for by one document. Of several the first counts: who makes the link, then who names it, then
//! who selects it; by name among those. Neither of them would leave the link with the defaults, where the machine may be out
//! of reach; taking one, and the same one each time, keeps it where its operator can mend the rest.

use std::collections::BTreeMap;

use config::kinds;

use crate::documents::Configured;
use crate::resources::kernel_module::KernelModuleSpec;
use crate::resources::link::Link;
use crate::resources::link_config::LinkConfig;
use crate::resources::network_document::{DocumentState, NetworkDocument, NetworkRefusal};
use crate::resources::origin::Origin;
use crate::resources::resolver::ResolverConfig;

use super::super::merge::{SEARCH, SERVERS};
use super::say;
use super::select::{Selected, select};

/// Links that software makes, and have no metric by default: as a card's, by number, so that two of them differ.
const METRIC: u32 = 1024;
/// Routes that a document gives no metric begin here, by number, too: before those of DHCP (from 1024 on, see `defaults`)
/// and those that the kernel makes of router announcements (1024).
const OURS: u32 = 512;

/// The documents.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) links: Vec<Configured<kinds::Link>>,
    pub(super) bonds: Vec<Configured<kinds::Bond>>,
    pub(super) vlans: Vec<Configured<kinds::Vlan>>,
    pub(super) resolver: Option<Configured<kinds::Resolver>>,
}

/// What they mean.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Concluded {
    /// By link.
    pub(super) configs: BTreeMap<String, LinkConfig>,
    /// By document.
    pub(super) documents: BTreeMap<String, NetworkDocument>,
    pub(super) resolver: Option<ResolverConfig>,
    /// By module.
    pub(super) modules: BTreeMap<&'static str, KernelModuleSpec>,
}

/// Concludes.
pub(super) fn conclude(wanted: &Wanted, there: &BTreeMap<String, Link>, refused: &NetworkRefusal) -> Concluded {
    let mut work = Work { there, concluded: Concluded::default(), owners: BTreeMap::new(), aliases: BTreeMap::new() };
    for bond in &wanted.bonds {
        work.claim(&bond.name, &bond.origin, Some("bond"));
    }
    for vlan in &wanted.vlans {
        work.claim(&vlan.name, &vlan.origin, Some("vlan"));
    }
    let (selecting, named): (Vec<_>, Vec<_>) = wanted.links.iter().partition(|link| link.body.selector.is_some());
    for link in named.into_iter().chain(selecting) {
        work.link(link);
    }
    for bond in &wanted.bonds {
        work.bond(bond);
    }
    for vlan in &wanted.vlans {
        work.vlan(vlan);
    }
    // After all links that are made: one of them may be a port, and is made all the same.
    for bond in &wanted.bonds {
        work.ports(bond);
    }
    if let Some(resolver) = &wanted.resolver {
        work.resolver(resolver);
    }
    work.refused(refused);
    work.concluded
}

struct Work<'a> {
    there: &'a BTreeMap<String, Link>,
    concluded: Concluded,
    /// Whose each link is.
    owners: BTreeMap<String, Origin>,
    /// Links by the names of documents that select one; none: it is not known which.
    aliases: BTreeMap<String, Option<String>>,
}

impl Work<'_> {
    /// Takes the link for the document; false when it is another's.
    fn claim(&mut self, link: &str, origin: &Origin, made: Option<&'static str>) -> bool {
        if let Some(kind) = made
            && let Some(have) = self.there.get(link).filter(|have| have.virtual_kind != kind)
        {
            let what =
                if have.virtual_kind.is_empty() { "is a device" } else { &*format!("is a {}", have.virtual_kind) };
            let why = format!("there is a link {link} already, which {what}: give the {kind} another name");
            self.state(origin, DocumentState::Conflict, why, &[]);
            return false;
        }
        let Some(owner) = self.owners.get(link).cloned() else {
            self.owners.insert(link.to_owned(), origin.clone());
            let links = if self.there.contains_key(link) { vec![link.to_owned()] } else { Vec::new() };
            self.state(origin, DocumentState::Applied, String::new(), &links);
            return true;
        };
        let both = format!("{} and {} both speak of {link}", owner.document, origin.document);
        let why = format!("{both}; {} counts: take one of them away, or select more narrowly", owner.document);
        self.state(origin, DocumentState::Conflict, why.clone(), &[link.to_owned()]);
        // Shown at both. The one that counts is applied.
        if let Some(document) = self.concluded.documents.get_mut(&owner.document) {
            document.reason = why;
        }
        false
    }

    fn state(&mut self, origin: &Origin, state: DocumentState, reason: String, links: &[String]) {
        let document = NetworkDocument { state, reason, links: links.to_vec(), origin: origin.clone() };
        self.concluded.documents.insert(origin.document.clone(), document);
    }

    /// A problem of a document that counts all the same; the first is shown.
    fn problem(&mut self, origin: &Origin, state: DocumentState, reason: String) {
        if let Some(document) = self.concluded.documents.get_mut(&origin.document)
            && document.state == DocumentState::Applied
        {
            (document.state, document.reason) = (state, reason);
        }
    }

    fn link(&mut self, wanted: &Configured<kinds::Link>) {
        let (body, origin) = (&wanted.body, &wanted.origin);
        let found = match select(&wanted.name, body, self.there) {
            Selected::One(found) => Some(found),
            Selected::None(why) => {
                self.state(origin, DocumentState::Waiting, why, &[]);
                None
            }
            Selected::Several(found) => {
                let why =
                    format!("{} links fit its match: {}; add to it what only one has", found.len(), found.join(", "));
                self.state(origin, DocumentState::Ambiguous, why, &found);
                None
            }
        };
        if body.selector.is_some() {
            self.aliases.insert(wanted.name.clone(), found.clone());
        }
        let Some(link) = found.filter(|link| self.claim(link, origin, None)) else { return };
        let mut config = self.addressed(&link, &body.addressing, origin);
        config.up = Some(body.up);
        self.concluded.configs.insert(link, config);
    }

    /// The link that a name in a document means; an error when it selects none.
    fn named(&self, name: &str) -> Result<String, String> {
        match self.aliases.get(name) {
            None => Ok(name.to_owned()),
            Some(Some(link)) => Ok(link.clone()),
            Some(None) => Err(format!("Link/{name}, which it names, stands for no link")),
        }
    }

    /// Whether the document has the link of its name.
    fn has(&self, name: &str, origin: &Origin) -> bool {
        self.owners.get(name) == Some(origin)
    }

    fn make(&mut self, config: LinkConfig, origin: &Origin) {
        if let Some(make) = &config.make {
            let parameters = match make.module() {
                // Otherwise it makes a bond of its own.
                "bonding" => [("max_bonds".to_owned(), "0".to_owned())].into(),
                _ => BTreeMap::new(),
            };
            self.concluded.modules.entry(make.module()).or_insert_with(|| KernelModuleSpec {
                name: make.module().to_owned(),
                parameters,
                early: true,
                reason: format!("{} wants a {}", origin.document, make.kind()),
                origin: Some(origin.clone()),
            });
        }
        self.concluded.configs.insert(config.link.clone(), config);
    }

    /// What is said of the link's addresses; its routes have a metric where the document gives one, or the link is there.
    fn addressed(&self, link: &str, addressing: &kinds::Addressing, origin: &Origin) -> LinkConfig {
        let mut config = say::addressed(link, addressing, origin);
        let own = addressing.metric.or_else(|| Some(OURS + self.there.get(link)?.index % OURS));
        for route in &mut config.routes {
            route.metric = route.metric.or(own);
        }
        config
    }

    /// A link of software that is there has a number to tell its routes from others'.
    fn metric(&self, link: &str, wanted: Option<u32>) -> Option<u32> {
        wanted.or_else(|| Some(METRIC + self.there.get(link)?.index))
    }

    fn bond(&mut self, wanted: &Configured<kinds::Bond>) {
        let (body, origin, name) = (&wanted.body, &wanted.origin, wanted.name.as_str());
        if !self.has(name, origin) {
            return;
        }
        let primary = body.primary.as_ref().and_then(|primary| self.named(primary).ok());
        let mut config = self.addressed(name, &body.addressing, origin);
        config.make = Some(say::bond(body, primary));
        config.metric = self.metric(name, config.metric);
        self.make(config, origin);
    }

    fn ports(&mut self, wanted: &Configured<kinds::Bond>) {
        let (origin, name) = (&wanted.origin, wanted.name.as_str());
        if !self.has(name, origin) {
            return;
        }
        for port in &wanted.body.links {
            match self.named(port) {
                Ok(port) => self.port(&port, name, origin),
                Err(why) => self.problem(origin, DocumentState::Waiting, why),
            }
        }
    }

    fn port(&mut self, port: &str, bond: &str, origin: &Origin) {
        if !self.there.contains_key(port) {
            self.problem(origin, DocumentState::Waiting, format!("{port}, a link of it, is not there"));
            return;
        }
        let before = self.concluded.configs.get(port);
        if let Some(other) = before.and_then(|config| config.controller.clone()) {
            let why = format!("{port} is a link of {other} already, which counts: take it out of one of them");
            self.problem(origin, DocumentState::Conflict, why);
            return;
        }
        let mtu = self.concluded.configs.get(bond).and_then(|config| config.mtu);
        let mut config = say::port(port, bond, origin);
        if let Some(before) = before {
            // Its own document says how it is made and whether it is on; what it carries is the bond's.
            config.make.clone_from(&before.make);
            config.up = before.up;
            config.origin.clone_from(&before.origin);
            if (!before.addresses.is_empty()
                || !before.routes.is_empty()
                || before.mtu.is_some_and(|its| mtu != Some(its)))
                && let Some(its) = before.origin.clone()
            {
                // The kernel gives a port the mtu of its bond, so that one may stand at both.
                let why = format!(
                    "{port} is a link of {bond}, so its addresses, routes and another mtu do not count: move them there"
                );
                self.problem(&its, DocumentState::Conflict, why);
            }
        }
        self.concluded.configs.insert(port.to_owned(), config);
    }

    fn vlan(&mut self, wanted: &Configured<kinds::Vlan>) {
        let (body, origin, name) = (&wanted.body, &wanted.origin, wanted.name.as_str());
        if !self.has(name, origin) {
            return;
        }
        let link = match self.named(&body.link) {
            Ok(link) => link,
            Err(why) => return self.problem(origin, DocumentState::Waiting, why),
        };
        if !self.there.contains_key(&link) {
            self.problem(origin, DocumentState::Waiting, format!("{link}, which it is on, is not there"));
        }
        let mut config = self.addressed(name, &body.addressing, origin);
        config.make = Some(say::vlan(body, link));
        config.metric = self.metric(name, config.metric);
        self.make(config, origin);
    }

    fn resolver(&mut self, wanted: &Configured<kinds::Resolver>) {
        self.concluded.resolver = Some(ResolverConfig {
            servers: wanted.body.servers.clone(),
            search: wanted.body.search.clone(),
            origin: wanted.origin.clone(),
        });
        let (servers, search) = (wanted.body.servers.len(), wanted.body.search.len());
        let cut = |count: usize, most: usize, what: &str| {
            (count > most).then(|| format!("of {count} {what} the first {most} count: most resolvers read no more"))
        };
        let cut = [cut(servers, SERVERS, "servers"), cut(search, SEARCH, "search domains")];
        let reason = cut.into_iter().flatten().collect::<Vec<_>>().join("; ");
        self.state(&wanted.origin, DocumentState::Applied, reason, &[]);
    }

    /// What the kernel did not do is told at the document that wants it.
    fn refused(&mut self, refused: &NetworkRefusal) {
        for (link, why) in &refused.links {
            if let Some(owner) = self.owners.get(link).cloned() {
                self.problem(&owner, DocumentState::Refused, why.clone());
            }
        }
    }
}
