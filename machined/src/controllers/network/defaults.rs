//! What a link gets without configuration: every physical link and `lo` is switched on; physical ones follow router
//! announcements and ask for a lease.

use reconcile::{Controller, Cycle, Next, Ports};

use crate::resources::link::{Link, LinkKind};
use crate::resources::link_config::{LinkConfig, NetworkSource, Source};

/// Each link has its own metric, so that two links with a default route each do not fight for one slot. Above what people
/// write by hand, so that theirs win.
const METRIC: u32 = 1024;

/// What the defaults say about a link; nothing about what software made.
pub fn defaults(name: &str, link: &Link) -> Option<LinkConfig> {
    let mut config = LinkConfig::new(Source::Default, name);
    config.up = Some(true);
    match link.kind {
        // A port's packets belong to its bond or bridge (or, in some clouds, to the paravirtual card beside it).
        LinkKind::Physical if link.controller.is_some() => Some(config),
        LinkKind::Loopback => Some(config),
        LinkKind::Physical => {
            config.dhcp4 = Some(true);
            config.accept_ra = Some(true);
            config.metric = Some(METRIC + link.index);
            Some(config)
        }
        LinkKind::Virtual | LinkKind::Other => None,
    }
}

/// `network/defaults`.
pub struct Defaults;

impl Controller for Defaults {
    const NAME: &'static str = "network/defaults";
    type Error = reconcile::CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<Link>();
        ports.share::<LinkConfig>();
        ports.share::<NetworkSource>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Self::Error> {
        let links = cx.list::<Link>()?;
        // There always is `lo`: none means that nobody has looked yet.
        if links.is_empty() {
            return Ok(Next::Unready);
        }
        let configs: Vec<LinkConfig> = links.iter().filter_map(|link| defaults(&link.id, &link.value)).collect();
        let said = NetworkSource { links: configs.len(), ..NetworkSource::default() };
        for config in configs {
            cx.put(config.id(), config)?;
        }
        // Last: see `NetworkSource`.
        cx.put(Source::Default.name(), said)?;
        Ok(Next::OnChange)
    }
}
