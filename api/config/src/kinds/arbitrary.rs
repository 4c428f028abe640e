//! Any documents that are right, for properties; of every kind.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::kind::KINDS;
use crate::word::{Destination, Mac, Net, Text};
use crate::{Body, Bytes, Document, Documents, Kind, Sizes, Span, changes, format, parse};

fn word() -> impl Strategy<Value = String> {
    // Among them what YAML takes for something else.
    prop_oneof![
        "[a-z][a-z0-9-]{0,8}[a-z0-9]",
        Just("null".into()),
        Just("yes".into()),
        Just("on".into()),
        Just("n1".into())
    ]
}

fn text() -> impl Strategy<Value = Text> {
    const ODD: &[&str] = &[
        "",
        "~",
        "0x10",
        "1.10",
        "1e3",
        "010",
        "-",
        "- a",
        "a: b",
        "#a",
        " a ",
        "'",
        "{",
        "true",
        "2024-01-01",
        ".inf",
        "\u{e9}",
    ];
    prop_oneof![
        "[ -~]{0,12}".prop_filter("no quote", |t| !t.contains('"')),
        proptest::sample::select(ODD).prop_map(str::to_owned)
    ]
    .prop_map(Text)
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (11u8..=99, any::<[u8; 2]>(), 1u8..=254).prop_map(|(a, [b, c], d)| IpAddr::from([a, b, c, d])),
        any::<[u16; 7]>().prop_map(|s| IpAddr::from([0x2001, s[0], s[1], s[2], s[3], s[4], s[5], s[6]])),
    ]
}

fn network() -> impl Strategy<Value = IpNet> {
    (ip(), 1u8..=32).prop_map(|(ip, length)| IpNet::new_assert(ip, length).trunc())
}

fn route() -> impl Strategy<Value = Route> {
    prop_oneof![
        (ip(), option::of(any::<u32>())).prop_map(|(via, metric)| Route {
            to: Destination::Default,
            via: Some(via),
            metric
        }),
        (network(), option::of(any::<u32>())).prop_map(|(net, metric)| Route {
            to: Destination::Net(net),
            via: None,
            metric
        }),
    ]
}

fn addressing() -> impl Strategy<Value = Addressing> {
    let address = ip().prop_map(|ip| Net(IpNet::new_assert(ip, if ip.is_ipv4() { 32 } else { 64 })));
    let numbers = (option::of(1280u32..=65_536), option::of(any::<u32>()));
    let flags = (option::of(any::<bool>()), any::<bool>(), any::<bool>());
    (flags, vec(address, 0..3), option::of(route()), numbers).prop_map(
        |((dhcp4, dhcp6, accept_ra), mut addresses, route, (mtu, metric))| {
            addresses.dedup();
            Addressing { dhcp4, dhcp6, accept_ra, addresses, routes: route.into_iter().collect(), mtu, metric }
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    let selector = option::of(any::<[u8; 6]>()).prop_flat_map(|mac| (Just(mac.map(Mac)), word(), option::of(word())));
    let selector = selector.prop_map(|(mac, driver, bus_path)| Match { mac, driver: Some(driver), bus_path });
    (option::of(selector), any::<bool>(), addressing()).prop_map(|(selector, up, addressing)| Link {
        selector,
        up,
        addressing,
    })
}

fn bond() -> impl Strategy<Value = Bond> {
    use BondMode::*;
    let mode =
        proptest::sample::select(vec![BalanceRr, ActiveBackup, BalanceXor, Broadcast, Lacp, BalanceTlb, BalanceAlb]);
    (1usize..4, mode, 1u32..1000, addressing()).prop_map(|(links, mode, miimon, addressing)| Bond {
        links: (0..links).map(|i| format!("eth{i}")).collect(),
        mode,
        miimon,
        lacp_rate: (mode == Lacp).then_some(LacpRate::Fast),
        hash_policy: matches!(mode, Lacp | BalanceXor).then_some(HashPolicy::VlanSrcmac),
        primary: (mode == ActiveBackup).then(|| "eth0".into()),
        addressing,
    })
}

fn certificate() -> String {
    include_str!("example-ca.txt").lines().map(|line| format!("{}\n", line.trim())).collect()
}

fn api() -> impl Strategy<Value = Api> {
    let names = (vec(word(), 0..3), vec(network().prop_map(Net), 0..3), vec("[0-9a-f]{64}", 0..2));
    (option::of(word()), any::<[bool; 2]>(), names, 1u64..8760).prop_map(|(name, [accept, rescue], names, hours)| {
        let (subject_names, allow, revoked) = names;
        Api {
            accept: accept.then(|| Accepted { name, certificate: certificate() }).into_iter().collect(),
            rescue: rescue.then(certificate),
            renew_from: subject_names.iter().map(|name| format!("{name}:50000")).collect(),
            subject_names,
            allow,
            revoked,
            certificates: Certificates { server: Span(Duration::from_secs(hours * 3600)), ..Certificates::default() },
        }
    })
}

fn registry() -> impl Strategy<Value = Registry> {
    (vec(ip(), 0..3), option::of(word()), option::of(word()), any::<[bool; 2]>()).prop_map(
        |(mirrors, secret, user, [plain_http, proxy])| {
            let mut mirrors: Vec<_> =
                mirrors.iter().map(|ip| std::net::SocketAddr::new(*ip, 5000).to_string()).collect();
            mirrors.dedup();
            Registry {
                mirrors,
                certificates: (!plain_http).then(certificate),
                user: user.filter(|_| secret.is_some()),
                secret,
                proxy: proxy.then(|| "http://proxy:3128".into()),
                plain_http,
            }
        },
    )
}

fn policy(warn: bool, keys: bool) -> ImagePolicy {
    let verify = if warn { Verify::Warn } else { Verify::Require };
    let [example, _] = ImagePolicy::EXAMPLES else { panic!("two examples") };
    let stream = parse(example).unwrap();
    let of_example = stream.documents.of::<ImagePolicy>().next().unwrap().1.keys.clone();
    ImagePolicy { verify, keys: if keys { of_example } else { Vec::new() } }
}

fn gate() -> impl Strategy<Value = Gate> {
    (word(), 0..5, 1u64..1000).prop_map(|(word, which, seconds)| {
        let given = |of, text: String| (which == of).then_some(text);
        Gate {
            tcp: given(0, format!("{word}:80")),
            http: given(1, format!("http://{word}/")),
            service: given(2, word.clone()),
            writable: given(3, format!("/{word}")),
            confirm: which == 4,
            deadline: Span(Duration::from_secs(seconds + 5)),
            ..Gate::default()
        }
    })
}

fn install() -> impl Strategy<Value = Install> {
    let sizes = (0u64..9, 0u64..9).prop_map(|(from, more)| Sizes {
        from: (from > 0).then_some(Bytes(from << 30)),
        to: Some(Bytes((from + more) << 30)),
    });
    (option::of(sizes), word(), any::<[bool; 3]>()).prop_map(|(size, word, [removable, wipe, image])| Install {
        disk: DiskSelector {
            size,
            serial: Some(word.clone()),
            model: Some(format!("{word}*")),
            removable,
            ..DiskSelector::default()
        },
        image: image.then(|| "registry.example.com/stele:1".to_owned().try_into().unwrap()),
        wipe,
    })
}

fn body() -> impl Strategy<Value = Body> {
    let set = |words: Vec<String>| {
        let mut words = words;
        words.sort();
        words.dedup();
        words
    };
    let hosts = (vec(ip(), 1..3), vec(word(), 0..3)).prop_map(move |(mut addresses, aliases)| {
        addresses.dedup();
        StaticHost { addresses, aliases: set(aliases).into_iter().map(|alias| format!("{alias}.x")).collect() }
    });
    let resolver = (option::of(ip()), vec(word(), 0..3))
        .prop_map(move |(server, search)| Resolver { servers: server.into_iter().collect(), search: set(search) });
    let pairs = |key: &'static str| btree_map(key, text(), 1..5);
    prop_oneof![
        word().prop_map(|hostname| Hostname { hostname }.into()),
        link().prop_map(Body::from),
        bond().prop_map(Body::from),
        (1u16..=4094, addressing()).prop_map(|(id, addressing)| Vlan { link: "eth0".into(), id, addressing }.into()),
        resolver.prop_map(Body::from),
        hosts.prop_map(Body::from),
        vec(word(), 0..3).prop_map(move |servers| Time { servers: set(servers) }.into()),
        pairs("[a-z]{1,4}\\.[a-z_]{1,8}").prop_map(|settings| Sysctl { settings }.into()),
        pairs("[a-z_]{1,8}").prop_map(|parameters| KernelModule { parameters }.into()),
        Just(TrustedRoots { certificates: certificate() }.into()),
        api().prop_map(Body::from),
        registry().prop_map(Body::from),
        (any::<bool>(), any::<bool>()).prop_map(|(warn, keys)| policy(warn, keys).into()),
        gate().prop_map(Body::from),
        install().prop_map(Body::from),
        word().prop_map(|secret| Authority { certificate: certificate(), secret }.into()),
    ]
}

fn document() -> impl Strategy<Value = Document> {
    (body(), word()).prop_map(|(body, name)| {
        let named = KINDS.iter().any(|entry| entry.kind == body.kind() && entry.named);
        Document::of(named.then_some(name.as_str()), body)
    })
}

proptest! {
    #[test]
    fn documents_round_trip(document in document(), other in document()) {
        let documents = Documents::new(vec![document.clone()]);
        let text = format(&documents);
        let read = parse(&text).map_err(|problems| TestCaseError::fail(format!("{problems}\n{text}")))?.documents;
        prop_assert_eq!(&read, &documents, "{}", text);
        prop_assert_eq!(changes(&read, &documents), []);

        let others = Documents::new(vec![other.clone()]);
        let found = changes(&documents, &others);
        let expected = if document == other { 0 } else if document.id() == other.id() { 1 } else { 2 };
        prop_assert_eq!(found.len(), expected);
        prop_assert!(found.iter().all(|change| !change.fields.is_empty() || document.json() == serde_json::json!({}) || other.json() == serde_json::json!({})), "{:?}", found);
    }
}
