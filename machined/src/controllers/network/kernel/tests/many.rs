//! Bonds, VLANs, sizes, addresses and routes in any combination: the kernel takes what is planned, and then nothing is left.

use std::collections::BTreeMap;
use std::io::Write as _;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::*;
use crate::controllers::network::netlink::OUR_GROUP;
use crate::resources::virtual_link::{Bond, BondMode, HashPolicy, LacpRate, Virtual, Vlan};

/// Each starts from where the one before it ended.
const ROUNDS: usize = 60;

fn bond() -> impl Strategy<Value = Bond> {
    let mode = prop_oneof![
        Just(BondMode::ActiveBackup),
        Just(BondMode::Lacp),
        Just(BondMode::BalanceXor),
        Just(BondMode::BalanceRr),
        Just(BondMode::Broadcast),
        Just(BondMode::BalanceTlb),
        Just(BondMode::BalanceAlb),
    ];
    let rate = prop_oneof![Just(LacpRate::Slow), Just(LacpRate::Fast)];
    let hash = prop_oneof![Just(HashPolicy::Layer2), Just(HashPolicy::Layer34), Just(HashPolicy::Encap23)];
    let primary = proptest::option::of(prop_oneof![Just("eth0".to_owned()), Just("eth1".to_owned())]);
    (mode, rate, hash, primary, 50u32..200).prop_map(|(mode, lacp_rate, hash_policy, primary, miimon)| Bond {
        mode,
        miimon,
        lacp_rate,
        hash_policy,
        primary,
    })
}

/// Documents of one number on one link are refused long before.
fn vlan(link: &'static str, id: u16) -> impl Strategy<Value = Option<Virtual>> {
    let wanted = proptest::option::of((prop_oneof![Just(link), Just("veth7"), Just("none0")], id..id + 3));
    wanted.prop_map(|vlan| Some(Virtual::Vlan(vlan.map(|(link, id)| Vlan { link: link.to_owned(), id })?)))
}

/// One link's share of what is wanted.
type One = (bool, Option<u32>, bool, bool, bool);

fn one() -> impl Strategy<Value = One> {
    let mtu = prop_oneof![Just(None), Just(Some(1300)), Just(Some(1400)), Just(Some(9000))];
    (prop::bool::weighted(0.8), mtu, any::<bool>(), any::<bool>(), any::<bool>())
}

prop_compose! {
    fn desired()(
        bond in proptest::option::of(bond()),
        first in vlan("bond0", 5),
        second in vlan("vlan5", 8),
        ports in prop::array::uniform2(any::<bool>()),
        ones in prop::array::uniform6(one()),
    ) -> Desired {
        let names = ["eth0", "eth1", "veth7", "bond0", "vlan5", "vlan6"];
        let made = [None, None, None, bond.map(Virtual::Bond), first, second];
        let (mut links, mut addresses, mut routes) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (at, ((name, make), (up, mtu, v4, v6, accept_ra))) in names.into_iter().zip(made).zip(ones).enumerate() {
            if at >= 3 && make.is_none() {
                continue;
            }
            let port = at < 2 && ports[at];
            let controller = port.then(|| "bond0".to_owned());
            links.insert(name.to_owned(), LinkSpec { make, controller, up, mtu, accept_ra, metric: 1, ..LinkSpec::default() });
            let mut address = |text: String| {
                let address = text.parse().unwrap();
                addresses.push(AddressSpec { link: name.into(), address, source: "test".into(), origin: None });
            };
            let mut route = |to: String, via: Option<String>| routes.push(RouteSpec {
                link: name.into(),
                destination: to.parse().unwrap(),
                gateway: via.map(|via| via.parse().unwrap()),
                preferred_source: None,
                metric: 100 + u32::try_from(at).unwrap(),
                source: "test".into(),
                origin: None,
            });
            if v4 && !port {
                address(format!("10.{at}.0.2/24"));
                route(format!("172.16.{at}.0/24"), None);
                route("0.0.0.0/0".into(), Some(format!("10.{at}.0.1")));
            }
            if v6 && !port {
                address(format!("2001:db8:{at}::2/64"));
                route("::/0".into(), Some(format!("2001:db8:{at}::1")));
            }
        }
        Desired { links, addresses, routes, own_mtus: BTreeMap::new() }
    }
}

/// Whether this kernel can make bonds and VLANs, the latter on `parent`. Asked by making one of each.
pub(in crate::controllers::network) async fn can_make(parent: &str) -> bool {
    let bond = Virtual::Bond(Bond {
        mode: BondMode::ActiveBackup,
        miimon: 100,
        lacp_rate: LacpRate::Slow,
        hash_policy: HashPolicy::Layer2,
        primary: None,
    });
    for (link, make) in [("try0", bond), ("try1", Virtual::Vlan(Vlan { link: parent.into(), id: 9 }))] {
        match Kernel.apply(&Change::CreateLink { link: link.into(), make }).await {
            Ok(()) => Kernel.apply(&Change::DeleteLink { link: link.into() }).await.unwrap(),
            Err(error @ Error::NoModule { .. }) => {
                // past the test harness, which would hide it
                let _ = writeln!(std::io::stderr(), "SKIPPED, one test of real bonds and VLANs: {error}");
                return false;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    true
}

#[test]
fn bonds_and_vlans_become_what_is_planned() {
    in_namespace(async || {
        for name in ["eth0", "eth1", "veth7"] {
            let far = format!("far-{name}");
            let made = with(async |handle: Handle| {
                handle.link().add(LinkVeth::new(name, &far).build()).execute().await.unwrap();
                Ok(())
            });
            made.await.unwrap();
            Kernel.apply(&Change::SetUp { link: far, up: true }).await.unwrap();
        }
        if !can_make("eth0").await {
            return;
        }
        let mut runner = TestRunner::deterministic();
        for round in 0..ROUNDS {
            let desired = desired().new_tree(&mut runner).unwrap().current();
            let cycles = settle(&desired).await;
            assert!(cycles <= 3, "round {round}: {cycles} cycles");
            check(round, &desired, &Kernel.observe().await.unwrap());
        }
        settle(&Desired::default()).await;
        assert!(Kernel.observe().await.unwrap().links.iter().all(|link| link.group != OUR_GROUP));
    });
}

fn check(round: usize, desired: &Desired, now: &Observed) {
    let find = |name: &str| now.links.iter().find(|link| link.name == name);
    for (name, spec) in &desired.links {
        let Some(link) = find(name) else {
            let Some(Virtual::Vlan(vlan)) = &spec.make else { panic!("round {round}: no {name}") };
            assert!(find(&vlan.link).is_none(), "round {round}: {name} is not there");
            continue;
        };
        if let (Some(Virtual::Bond(wanted)), Some(Virtual::Bond(have))) = (&spec.make, &link.made) {
            assert_eq!((wanted.mode, wanted.miimon, wanted.hash_policy), (have.mode, have.miimon, have.hash_policy));
        } else {
            assert_eq!(spec.make, link.made, "round {round}");
        }
        let bond = spec.controller.as_deref().and_then(find);
        assert_eq!(link.controller, bond.map(|bond| bond.index), "round {round}: {name}");
    }
    for wanted in desired.addresses.iter().filter(|wanted| find(&wanted.link).is_some()) {
        let there = now.addresses.iter().any(|have| have.link == wanted.link && have.address == wanted.address);
        assert!(there, "round {round}: {wanted:?}");
    }
}
