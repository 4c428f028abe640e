//! Whether the machine has a network: the condition that `needs: [network]` of a service waits for. A machine without any
//! boots all the same, so it is not a required one.

use reconcile::{Controller, Cycle, CycleError, Next, Ports};

use crate::resources::Condition;
use crate::resources::address::{Address, AddressOrigin, AddressScope};
use crate::resources::link::{Link, LinkKind};

/// Met with an address beyond the link, of either family. What others gave to links of software (a container network) is
/// no way out of the machine.
fn judge(links: &[(String, Link)], addresses: &[Address]) -> Condition {
    let physical = |name: &str| links.iter().any(|(id, link)| id == name && link.kind == LinkKind::Physical);
    let found = addresses.iter().find(|address| {
        let ours = matches!(address.origin, AddressOrigin::Stele | AddressOrigin::Router);
        address.usable() && address.scope == AddressScope::Global && (ours || physical(&address.link))
    });
    if let Some(found) = found {
        return Condition::met(format!("{} has {}", found.link, found.address));
    }
    let cards: Vec<_> = links.iter().filter(|(_, link)| link.kind == LinkKind::Physical).collect();
    let wired: Vec<&str> = cards.iter().filter(|(_, link)| link.carrier).map(|(name, _)| name.as_str()).collect();
    Condition::unmet(match (cards.is_empty(), wired.is_empty()) {
        (true, _) => "no network card".into(),
        (_, true) => "no network card has a carrier".into(),
        _ => format!("no address but link-local ones on {}", wired.join(", ")),
    })
}

/// `network/ready`.
pub struct Ready;

impl Controller for Ready {
    const NAME: &'static str = "network/ready";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<Link>();
        ports.watch::<Address>();
        ports.share::<Condition>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        let links: Vec<_> = cx.list::<Link>()?.into_iter().map(|link| (link.id, (*link.value).clone())).collect();
        let addresses: Vec<_> = cx.list::<Address>()?.into_iter().map(|found| (*found.value).clone()).collect();
        cx.put(Condition::NETWORK, judge(&links, &addresses).optional())?;
        Ok(Next::OnChange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::link::OperState;

    fn link(name: &str, kind: LinkKind, carrier: bool) -> (String, Link) {
        let link = Link {
            index: 1,
            kind,
            virtual_kind: String::new(),
            mac: String::new(),
            mtu: 1500,
            up: true,
            carrier,
            carrier_losses: 0,
            oper_state: OperState::Up,
            controller: None,
            active_port: None,
            made: None,
            driver: String::new(),
            bus_path: String::new(),
            speed_mbps: None,
            permanent_mac: String::new(),
            parent: None,
            origin: None,
        };
        (name.into(), link)
    }

    fn address(link: &str, address: &str, scope: AddressScope, origin: AddressOrigin) -> Address {
        Address {
            link: link.into(),
            address: address.parse().unwrap(),
            scope,
            document: None,
            origin,
            tentative: false,
            deprecated: false,
        }
    }

    #[test]
    fn a_network_is_an_address_that_leads_out() {
        let lo = link("lo", LinkKind::Loopback, true);
        let local = [
            address("lo", "127.0.0.1/8", AddressScope::Host, AddressOrigin::Kernel),
            address("eth0", "fe80::1/64", AddressScope::Link, AddressOrigin::Kernel),
            address("cni0", "10.42.0.1/24", AddressScope::Global, AddressOrigin::Other),
        ];
        for (links, reason) in [
            (vec![lo.clone()], "no network card"),
            (vec![lo.clone(), link("eth0", LinkKind::Physical, false)], "no network card has a carrier"),
            (vec![lo, link("eth0", LinkKind::Physical, true)], "no address but link-local ones on eth0"),
        ] {
            assert_eq!(judge(&links, &local), Condition::unmet(reason));
        }
        let links = [link("eth0", LinkKind::Physical, true)];
        // Either family is enough.
        for (text, origin) in [("10.0.2.15/24", AddressOrigin::Stele), ("fec0::2/64", AddressOrigin::Router)] {
            let mut with = address("eth0", text, AddressScope::Global, origin);
            assert!(judge(&links, std::slice::from_ref(&with)).met, "{text}");
            with.tentative = true;
            assert!(!judge(&links, &[with]).met, "{text}");
        }
    }
}
