//! The documents of the network (`Link`, `Bond`, `Vlan`, `Resolver`) as one source of link configuration, and what came of
//! each. What they mean on this machine is `conclude`, which is pure.
//!
//! Invariant: as long as it is not decided what the configuration is, this source has not reported, so that nothing is
//! concluded from its silence: no static machine asks a DHCP server first, and after a restart nothing is taken away.

mod conclude;
mod say;
mod select;

use std::collections::BTreeMap;

use reconcile::{Controller, Cycle, CycleError, Next, Ports};

use crate::documents;
use crate::events::Events;
use crate::resources::Condition;
use crate::resources::kernel_module::KernelModuleSpec;
use crate::resources::link::Link;
use crate::resources::link_config::{LinkConfig, NetworkSource, Source};
use crate::resources::network_document::{DocumentState, NetworkDocument, NetworkRefusal};
use crate::resources::resolver::{ResolverConfig, ResolverSpec};

use self::conclude::{Wanted, conclude};

/// `network/config`.
pub struct Config {
    events: Events,
    /// As they were told to people.
    told: BTreeMap<String, NetworkDocument>,
}

impl Config {
    /// Nothing told yet.
    pub fn new(events: Events) -> Self {
        Self { events, told: BTreeMap::new() }
    }

    /// What only people can mend. A link that is not there may come in a moment, and one that a bond lacks is told by the
    /// carrier.
    fn tell(&mut self, documents: &BTreeMap<String, NetworkDocument>) {
        for (id, now) in documents {
            let news = self.told.get(id).is_none_or(|told| (told.state, &told.reason) != (now.state, &now.reason));
            if news && !matches!(now.state, DocumentState::Applied | DocumentState::Waiting) {
                self.events.warn("network", format!("{id}: {}", now.reason));
            }
        }
        self.told.clone_from(documents);
    }
}

impl Controller for Config {
    const NAME: &'static str = "network/config";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        documents::declare(ports);
        ports.watch::<Link>();
        ports.watch::<NetworkRefusal>();
        ports.share::<LinkConfig>();
        ports.share::<NetworkSource>();
        ports.share::<Condition>();
        ports.share::<KernelModuleSpec>();
        ports.own::<ResolverConfig>();
        ports.own::<NetworkDocument>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        let (Some(links), Some(bonds), Some(vlans), Some(resolvers)) =
            (documents::of(cx)?, documents::of(cx)?, documents::of(cx)?, documents::of(cx)?)
        else {
            return Ok(Next::Unready);
        };
        let there: BTreeMap<String, Link> =
            cx.list::<Link>()?.into_iter().map(|link| (link.id, (*link.value).clone())).collect();
        // There always is `lo`: none means that nobody has looked yet.
        if there.is_empty() {
            return Ok(Next::Unready);
        }
        let refused = cx.get::<NetworkRefusal>(NetworkRefusal::ID)?.map(|refused| (*refused.value).clone());
        let wanted = Wanted { links, bonds, vlans, resolver: resolvers.into_iter().next() };
        let concluded = conclude(&wanted, &there, &refused.unwrap_or_default());
        self.tell(&concluded.documents);
        for (id, document) in concluded.documents {
            let why_not = if document.state == DocumentState::Applied { "" } else { &document.reason };
            documents::tell(cx, &document.origin, why_not)?;
            cx.put(id, document)?;
        }
        for (name, spec) in concluded.modules {
            cx.put(format!("network/{name}"), spec)?;
        }
        if let Some(resolver) = concluded.resolver {
            cx.put(ResolverSpec::ID, resolver)?;
        }
        let said = concluded.configs.len();
        for config in concluded.configs.into_values() {
            cx.put(config.id(), config)?;
        }
        // Last: see `NetworkSource`.
        let seen = there.into_keys().collect();
        cx.put(Source::Config.name(), NetworkSource { links: said, seen })?;
        Ok(Next::OnChange)
    }
}

#[cfg(test)]
mod tests;
