//! Every kind by its examples.

use crate::kind::KINDS;
use crate::{format, parse};

#[test]
fn every_example_parses_and_round_trips() {
    for entry in KINDS {
        assert!(!entry.examples.is_empty() && !entry.doc.is_empty(), "{}", entry.kind);
        assert_eq!(entry.named, !entry.name.is_empty(), "{}", entry.kind);
        for example in entry.examples {
            let stream = parse(example).unwrap_or_else(|problems| panic!("{problems}\n{example}"));
            let [document] = stream.documents.iter().as_slice() else { panic!("{example}") };
            assert_eq!(document.kind(), entry.kind);
            let text = format(&stream.documents);
            assert_eq!(parse(&text).unwrap_or_else(|p| panic!("{p}\n{text}")), stream, "{text}");
        }
    }
}

#[test]
fn what_a_field_cannot_be_is_refused_at_its_place() {
    let head = |kind: &str, fields: &str| format!("apiVersion: stele/v1\nkind: {kind}\n{fields}\n");
    for (kind, fields, path, message) in [
        ("Hostname", "hostname: a_b", "hostname", "expected a host name"),
        ("Hostname", "hostname: localhost", "hostname", "other than localhost"),
        ("Link", "name: eth0/1", "name", "expected the name of a link"),
        ("Link", "name: a234567890123456", "name", "1 to 15"),
        ("Link", "name: a\nmatch: {}", "match", "at least one of mac"),
        ("Link", "name: a\nmatch: { mac: 52:54 }", "match.mac", "52:54:00:12:34:56"),
        ("Link", "name: a\naddresses: [192.0.2.5]", "addresses[0]", "192.0.2.5/24"),
        ("Link", "name: a\naddresses: [192.0.2.0/24]", "addresses[0]", "address of the network"),
        ("Link", "name: a\naddresses: [0.0.0.0/0]", "addresses[0]", "address of a host"),
        ("Link", "name: a\nroutes: [{ to: default }]", "routes[0]", "needs via"),
        ("Link", "name: a\nroutes: [{ to: 192.0.2.1/24, via: 192.0.2.2 }]", "routes[0].to", "192.0.2.0/24"),
        ("Link", "name: a\nroutes: [{ to: 192.0.2.0/24, via: '::1' }]", "routes[0].via", "same family"),
        ("Link", "name: a\nroutes: [{ to: default, via: x }]", "routes[0].via", "such as 192.0.2.5"),
        ("Link", "name: a\nmtu: 60", "mtu", "68 to 65536"),
        ("Link", "name: a\nmtu: 1000\ndhcp6: true", "mtu", "1280"),
        ("Bond", "name: b\nlinks: []", "links", "at least one"),
        ("Bond", "name: b\nlinks: [b]", "links[0]", "of itself"),
        ("Bond", "name: b\nlinks: [a, a]", "links[1]", "keep one"),
        ("Bond", "name: b\nlinks: [a]\nmode: fast", "mode", "not one of those known"),
        ("Bond", "name: b\nlinks: [a]\nlacpRate: fast", "lacpRate", "802.3ad"),
        ("Bond", "name: b\nlinks: [a]\nhashPolicy: layer2", "hashPolicy", "goes only with"),
        ("Bond", "name: b\nlinks: [a]\nprimary: c", "primary", "one of links"),
        ("Vlan", "name: v\nlink: a\nid: 0", "id", "1 to 4094"),
        ("Vlan", "name: v\nlink: v\nid: 1", "link", "over itself"),
        ("Resolver", "servers: [a]", "servers[0]", "such as 192.0.2.5"),
        ("Resolver", "servers: ['fe80::1']", "servers[0]", "link-local"),
        ("Resolver", "search: ['a b']", "search[0]", "a domain"),
        ("StaticHost", "name: a\naddresses: []", "addresses", "at least one"),
        ("StaticHost", "name: a\naddresses: [192.0.2.1]\naliases: [a]", "aliases[0]", "keep one"),
        ("StaticHost", "name: localhost\naddresses: [192.0.2.1]", "name", "always there"),
        ("Time", "servers: ['a:123']", "servers[0]", "without a port"),
        ("Sysctl", "name: a\nsettings: {}", "settings", "at least one"),
        ("Sysctl", "name: a\nsettings: { ../x: 1 }", "settings.../x", "net.ipv4.ip_forward"),
        ("Sysctl", "name: a\nsettings: { vm.x: 1, vm/x: 1 }", "settings.vm/x", "same setting as vm.x"),
        (
            "Sysctl",
            "name: a\nsettings: { net/ipv6/conf/e.1/accept_ra: 1 }",
            "settings.net/ipv6/conf/e.1/accept_ra",
            "acceptRa",
        ),
        ("Sysctl", "name: a\nsettings: { vm.x: 1.5 }", "settings.vm.x", "quotes"),
        ("KernelModule", "name: a/b", "name", "name of a module"),
        ("KernelModule", "name: a\nparameters: { b: 'a\"b' }", "parameters.b", "without quotes"),
        ("TrustedRoots", "name: a\ncertificates: x", "certificates", "BEGIN CERTIFICATE"),
        ("Api", "accept: [{ certificate: x }]", "accept[0].certificate", "BEGIN CERTIFICATE"),
        ("Api", "allow: [192.0.2.1/24]", "allow[0]", "192.0.2.0/24"),
        ("Api", "revoked: [abc]", "revoked[0]", "64 hexadecimal"),
        ("Api", "certificates: { server: 1m }", "certificates.server", "1h to 8760h"),
        ("Api", "renewFrom: [a]", "renewFrom[0]", "host:port"),
        ("Authority", "certificate: x\nsecret: a b", "secret", "name of a secret"),
        ("Registry", "name: https://a", "name", "host:port"),
        ("Registry", "name: a.b:5000\nmirrors: [a.b:5000]", "mirrors[0]", "of itself"),
        ("Registry", "name: a.b\nmirrors: [m, m]", "mirrors[1]", "keep one"),
        ("Registry", "name: a.b\nmirrors: [http://m]", "mirrors[0]", "host:port"),
        ("Registry", "name: a.b\nuser: me", "user", "needs secret"),
        ("Registry", "name: a.b\nuser: 'a:b'\nsecret: s", "user", "without a colon"),
        ("Registry", "name: a.b\nproxy: proxy:3128", "proxy", "http://proxy.example.com:3128"),
        ("Registry", "name: a.b\nproxy: http://u:p@proxy:3128", "proxy", "http://proxy.example.com:3128"),
        ("Registry", "name: a.b\ncertificates: x", "certificates", "BEGIN CERTIFICATE"),
        ("ImagePolicy", "verify: never", "verify", "not one of those known"),
        ("ImagePolicy", "keys: [x]", "keys[0]", "BEGIN PUBLIC KEY"),
        ("Gate", "name: a", "", "expected one of tcp"),
        ("Gate", "name: a\ntcp: 'a:1'\nconfirm: true", "confirm", "make a gate of each"),
        ("Gate", "name: a\ntcp: a", "tcp", "host:port"),
        ("Gate", "name: a\nhttp: ftp://a", "http", "expected a URL"),
        ("Gate", "name: a\nhttp: http://me:you@a/", "http", "expected a URL"),
        ("Gate", "name: a\nwritable: var", "writable", "full path"),
        ("Gate", "name: a\nwritable: /var/../etc", "writable", "full path"),
        ("Gate", "name: a\nconfirm: true\ndeadline: 48h", "deadline", "1s to 24h"),
        ("Gate", "name: a\nconfirm: true\ndeadline: 2s", "interval", "less than deadline"),
        ("Install", "disk: {}", "disk", "at least one of"),
        ("Install", "disk: { removable: true }", "disk", "at least one of"),
        ("Install", "disk: { size: 10GB.. }", "disk.size", "64GiB..2TiB"),
        ("Install", "disk: { model: '' }", "disk.model", "expected some text"),
        ("Install", "disk: { serial: a }\nimage: stele:1", "image", "registry.example.com"),
    ] {
        let problems = parse(&head(kind, fields)).expect_err(fields).0;
        let found = problems.iter().find(|p| p.path == path).unwrap_or_else(|| panic!("{fields}: {problems:?}"));
        assert!(found.message.contains(message) && found.line > 0, "{found:?}");
    }
    let key = "-----BEGIN PRIVATE KEY-----\n  AAAA\n  -----END PRIVATE KEY-----";
    let found = parse(&head("ImagePolicy", &format!("keys:\n- |\n  {key}"))).unwrap_err().to_string();
    assert!(found.contains("stays with who signs"), "{found}");
    let ed25519 = "-----BEGIN PUBLIC KEY-----\n  MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n  -----END PUBLIC KEY-----";
    let found = parse(&head("ImagePolicy", &format!("keys:\n- |\n  {ed25519}"))).unwrap_err().to_string();
    assert!(found.contains("curve P-256"), "{found}");
    let found = parse(&head("TrustedRoots", &format!("name: a\ncertificates: |\n  {key}"))).unwrap_err().to_string();
    assert!(found.contains("belongs into the secrets"), "{found}");
}

#[test]
fn names_of_settings_are_paths() {
    for (key, path) in [
        ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
        ("net/ipv4/conf/eth0.10/forwarding", Some("net/ipv4/conf/eth0.10/forwarding")),
        ("net.ipv4.conf.eth0/10.forwarding", Some("net/ipv4/conf/eth0.10/forwarding")),
        ("kernel", None),
        ("net..x", None),
        ("net.ipv4.*", None),
        ("/vm/x", None),
        ("vm/../x", None),
    ] {
        assert_eq!(super::sysctl_path(key).as_deref(), path, "{key}");
    }
}
