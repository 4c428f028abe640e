//! From what each source says about each link to what shall be. Owns the specs; `apply`, `dhcp4` and `resolver` act on
//! them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use reconcile::{Controller, Cycle, Next, Ports};

use crate::resources::address::AddressSpec;
use crate::resources::link_config::{LinkConfig, LinkSpec, NetworkSource, Source};
use crate::resources::resolver::{ResolverConfig, ResolverSpec, TimeServer};
use crate::resources::route::RouteSpec;

use super::plan::Desired;

/// glibc and most resolvers read no more than three.
pub(super) const SERVERS: usize = 3;
/// The limit of resolv.conf(5) in older C libraries, still common in containers.
pub(super) const SEARCH: usize = 6;
/// For routes of a link no source gave a metric: what Linux uses for routes without one in IPv6.
const METRIC: u32 = 1024;

/// Everybody who has to report before anything is concluded.
const SOURCES: [Source; 5] = [Source::Default, Source::Router, Source::Dhcp6, Source::Dhcp4, Source::Config];

/// What comes out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Merged {
    /// Links, addresses, routes.
    pub desired: Desired,
    /// Name servers.
    pub resolver: ResolverSpec,
    /// Time servers by address.
    pub time_servers: BTreeMap<IpAddr, TimeServer>,
}

/// For one setting the strongest source wins; lists add up, the strongest source first, without repetitions. What a source
/// says that its link does not listen to (a lease that was kept from before) does not count. The lists of a `Resolver`
/// document replace those of the network.
pub fn merge(configs: &[LinkConfig], resolver: Option<&ResolverConfig>) -> Merged {
    let mut configs: Vec<&LinkConfig> = configs.iter().collect();
    configs.sort_by(|a, b| b.source.cmp(&a.source).then_with(|| a.link.cmp(&b.link)));
    let mut merged = Merged::default();
    let links: BTreeSet<&str> = configs.iter().map(|config| config.link.as_str()).collect();
    for link in links {
        let of_link: Vec<&LinkConfig> = configs.iter().copied().filter(|config| config.link == link).collect();
        merge_link(link, &of_link, &mut merged.desired);
    }
    let specs = &merged.desired.links;
    configs.retain(|config| specs.get(&config.link).is_none_or(|spec| listens(spec, config.source)));
    for config in configs {
        for server in &config.servers {
            push_new(&mut merged.resolver.servers, server_name(*server, &config.link));
        }
        for domain in &config.search {
            push_new(&mut merged.resolver.search, domain.clone());
        }
        for server in &config.time_servers {
            merged.time_servers.entry(*server).or_insert_with(|| TimeServer {
                address: *server,
                link: config.link.clone(),
                source: config.source.name().to_owned(),
            });
        }
    }
    if let Some(said) = resolver {
        if !said.servers.is_empty() {
            merged.resolver.servers = said.servers.iter().map(ToString::to_string).collect();
        }
        if !said.search.is_empty() {
            merged.resolver.search.clone_from(&said.search);
        }
        merged.resolver.origin = Some(said.origin.clone());
    }
    merged.resolver.servers.truncate(SERVERS);
    merged.resolver.search.truncate(SEARCH);
    merged
}

/// Whether a link takes what this source says. A port of a bond takes nothing from outside: its packets are the bond's.
fn listens(spec: &LinkSpec, source: Source) -> bool {
    match source {
        Source::Default | Source::Config => true,
        Source::Router => spec.accept_ra && spec.controller.is_none(),
        Source::Dhcp4 => spec.dhcp4 && spec.controller.is_none(),
        Source::Dhcp6 => spec.dhcp6 && spec.controller.is_none(),
    }
}

fn push_new(list: &mut Vec<String>, item: String) {
    if !list.contains(&item) {
        list.push(item);
    }
}

fn server_name(server: IpAddr, link: &str) -> String {
    match server {
        IpAddr::V6(address) if address.is_unicast_link_local() => format!("{address}%{link}"),
        _ => server.to_string(),
    }
}

/// Whether the kernel has room for one of them only: of an IPv6 address it takes one prefix length, of IPv4 any.
pub(super) fn same_address(a: IpNet, b: IpNet) -> bool {
    a == b || (a.addr().is_ipv6() && a.addr() == b.addr())
}

fn merge_link(link: &str, configs: &[&LinkConfig], desired: &mut Desired) {
    // A link that no source wants switched on or off is not ours to touch.
    let Some(up) = configs.iter().find_map(|config| config.up) else { return };
    let metric = configs.iter().find_map(|config| config.metric).unwrap_or(METRIC);
    let asked = LinkSpec {
        make: configs.iter().find_map(|config| config.make.clone()),
        controller: configs.iter().find_map(|config| config.controller.clone()),
        up,
        mtu: None,
        dhcp4: configs.iter().find_map(|config| config.dhcp4).unwrap_or(false),
        dhcp6: configs.iter().find_map(|config| config.dhcp6).unwrap_or(false),
        accept_ra: configs.iter().find_map(|config| config.accept_ra).unwrap_or(false),
        metric,
        origin: configs.iter().find_map(|config| config.origin.clone()),
    };
    let configs: Vec<_> = configs.iter().filter(|config| listens(&asked, config.source)).collect();
    let mtu = configs.iter().find_map(|config| config.mtu);
    let port = asked.controller.is_some();
    desired.links.insert(link.to_owned(), LinkSpec { mtu, ..asked });
    if port {
        return;
    }
    for config in configs {
        let source = config.source.name().to_owned();
        for address in &config.addresses {
            if !desired.addresses.iter().any(|have| have.link == link && same_address(have.address, *address)) {
                desired.addresses.push(AddressSpec {
                    link: link.to_owned(),
                    address: *address,
                    source: source.clone(),
                    origin: config.origin.clone(),
                });
            }
        }
        for route in &config.routes {
            let route = RouteSpec {
                link: link.to_owned(),
                destination: route.destination.trunc(),
                gateway: route.gateway,
                preferred_source: None,
                metric: route.metric.unwrap_or(metric),
                source: source.clone(),
                origin: config.origin.clone(),
            };
            if !desired.routes.iter().any(|have| have.id() == route.id()) {
                desired.routes.push(route);
            }
        }
    }
}

/// `network/merge`.
pub struct Merge;

impl Controller for Merge {
    const NAME: &'static str = "network/merge";
    type Error = reconcile::CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<LinkConfig>();
        ports.watch::<NetworkSource>();
        ports.watch::<ResolverConfig>();
        ports.own::<LinkSpec>();
        ports.own::<AddressSpec>();
        ports.own::<RouteSpec>();
        ports.own::<ResolverSpec>();
        ports.own::<TimeServer>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, Self::Error> {
        for source in SOURCES {
            if cx.get::<NetworkSource>(source.name())?.is_none() {
                return Ok(Next::Unready);
            }
        }
        let Some(documents) = cx.get::<NetworkSource>(Source::Config.name())? else { return Ok(Next::Unready) };
        let known =
            |config: &LinkConfig| config.source == Source::Config || documents.value.seen.contains(&config.link);
        let configs = cx.list::<LinkConfig>()?.into_iter().map(|object| (*object.value).clone());
        let configs: Vec<LinkConfig> = configs.filter(known).collect();
        let resolver = cx.get::<ResolverConfig>(ResolverSpec::ID)?;
        let merged = merge(&configs, resolver.as_ref().map(|said| &*said.value));
        for (link, spec) in merged.desired.links {
            cx.put(&link, spec)?;
        }
        for address in merged.desired.addresses {
            cx.put(format!("{}/{}", address.link, address.address), address)?;
        }
        for route in merged.desired.routes {
            cx.put(route.id(), route)?;
        }
        for (address, server) in merged.time_servers {
            cx.put(address.to_string(), server)?;
        }
        // Last: `apply` takes it as the sign that the other specs are complete.
        cx.put(ResolverSpec::ID, merged.resolver)?;
        Ok(Next::OnChange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::link_config::{RouteConfig, Source};

    fn config(source: Source, link: &str) -> LinkConfig {
        LinkConfig::new(source, link)
    }

    #[test]
    fn the_strongest_source_wins_and_lists_add_up() {
        let mut default = config(Source::Default, "eth0");
        default.up = Some(true);
        default.dhcp4 = Some(true);
        default.accept_ra = Some(true);
        default.metric = Some(1026);
        let mut lease = config(Source::Dhcp4, "eth0");
        lease.mtu = Some(1400);
        lease.addresses = vec!["10.0.2.15/24".parse().unwrap()];
        lease.routes = vec![RouteConfig {
            destination: "0.0.0.0/0".parse().unwrap(),
            gateway: Some("10.0.2.2".parse().unwrap()),
            metric: None,
        }];
        lease.servers = vec!["10.0.2.3".parse().unwrap()];
        let mut router = config(Source::Router, "eth0");
        router.servers = vec!["fe80::3".parse().unwrap(), "10.0.2.3".parse().unwrap()];
        router.mtu = Some(1300);
        let merged = merge(&[default, router, lease], None);
        let spec = &merged.desired.links["eth0"];
        assert_eq!((spec.up, spec.mtu, spec.dhcp4, spec.accept_ra), (true, Some(1400), true, true));
        assert_eq!(merged.desired.routes[0].metric, 1026);
        assert_eq!(merged.resolver.servers, ["10.0.2.3", "fe80::3%eth0"]);
    }

    #[test]
    fn what_a_link_does_not_listen_to_does_not_count() {
        let mut document = config(Source::Config, "eth0");
        (document.up, document.dhcp4, document.accept_ra) = (Some(true), Some(false), Some(true));
        document.addresses = vec!["10.0.0.5/24".parse().unwrap()];
        let mut default = config(Source::Default, "eth0");
        (default.up, default.dhcp4, default.metric) = (Some(true), Some(true), Some(1026));
        // Kept from before the document.
        let mut lease = config(Source::Dhcp4, "eth0");
        lease.addresses = vec!["10.0.2.15/24".parse().unwrap()];
        lease.servers = vec!["10.0.2.3".parse().unwrap()];
        lease.mtu = Some(1400);
        let mut router = config(Source::Router, "eth0");
        router.servers = vec!["2001:db8::3".parse().unwrap()];
        let merged = merge(&[default.clone(), document.clone(), lease.clone(), router.clone()], None);
        let addresses: Vec<_> = merged.desired.addresses.iter().map(|have| have.address.to_string()).collect();
        assert_eq!(addresses, ["10.0.0.5/24"]);
        assert_eq!((merged.desired.links["eth0"].mtu, merged.desired.links["eth0"].metric), (None, 1026));
        assert_eq!(merged.resolver.servers, ["2001:db8::3"]);

        // A port of a bond takes nothing, and has nothing of its own.
        document.controller = Some("bond0".into());
        let merged = merge(&[default, document, lease, router], None);
        assert!(merged.desired.addresses.is_empty() && merged.resolver.servers.is_empty());
        assert_eq!(merged.desired.links["eth0"].controller.as_deref(), Some("bond0"));
    }

    #[test]
    fn of_an_ipv6_address_with_two_prefix_lengths_the_strongest_source_counts() {
        let mut document = config(Source::Config, "eth0");
        (document.up, document.dhcp6) = (Some(true), Some(true));
        document.addresses = vec!["2001:db8::5/64".parse().unwrap(), "10.0.0.5/24".parse().unwrap()];
        let mut lease = config(Source::Dhcp6, "eth0");
        lease.addresses = vec!["2001:db8::5/128".parse().unwrap(), "10.0.0.5/32".parse().unwrap()];
        let merged = merge(&[lease, document], None);
        let addresses: Vec<_> = merged.desired.addresses.iter().map(|have| have.address.to_string()).collect();
        assert_eq!(addresses, ["2001:db8::5/64", "10.0.0.5/24", "10.0.0.5/32"]);
    }

    #[test]
    fn the_document_replaces_the_lists_it_gives() {
        let mut lease = config(Source::Dhcp4, "eth0");
        (lease.servers, lease.search) = (vec!["10.0.2.3".parse().unwrap()], vec!["lab".into()]);
        let origin = crate::resources::origin::Origin { document: "Resolver".into(), line: 1, revision: 2 };
        let mut said = ResolverConfig { servers: vec!["9.9.9.9".parse().unwrap()], search: vec![], origin };
        let merged = merge(std::slice::from_ref(&lease), Some(&said));
        assert_eq!((merged.resolver.servers, merged.resolver.search), (vec!["9.9.9.9".into()], vec!["lab".into()]));
        assert_eq!(merged.resolver.origin.unwrap().document, "Resolver");
        (said.servers, said.search) = (vec![], vec!["example".into()]);
        let merged = merge(&[lease], Some(&said));
        assert_eq!(
            (merged.resolver.servers, merged.resolver.search),
            (vec!["10.0.2.3".into()], vec!["example".into()])
        );
    }

    #[test]
    fn a_link_nobody_switches_is_left_alone() {
        let mut router = config(Source::Router, "veth1");
        router.mtu = Some(1400);
        assert!(merge(&[router], None).desired.links.is_empty());
    }
}
