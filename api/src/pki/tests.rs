//! What is signed, as others read it: x509-parser here, rustls in machined's gateway tests, openssl where it is installed.

use std::{
    process::Command,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{CertificateParams, CustomExtension, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};

use super::*;
use crate::roles::Role;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn unix(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

fn request() -> Request {
    Key::make().unwrap().request("me", &[]).unwrap()
}

fn client(role: Role, ttl: Duration) -> Client {
    Client { common_name: "alice".into(), role, ttl }
}

#[test]
fn an_authority_is_one_and_is_loaded_again() {
    let ca = Ca::make_at("stele api", now()).unwrap();
    let certificate = ca.certificate();
    assert!(certificate.is_authority && !certificate.client && !certificate.server);
    assert_eq!((certificate.subject.as_str(), certificate.issuer.as_str()), ("CN=stele api", "CN=stele api"));
    assert_eq!(certificate.not_before, unix(now() - DAY));
    assert!(certificate.left(now()) > 3650 * DAY && certificate.is_signed_by(certificate));
    let again = Ca::load(&certificate.pem(), &ca.key().pem()).unwrap();
    assert_eq!(again.certificate(), certificate);

    let other = Ca::make("stele api").unwrap();
    assert_eq!(Ca::load(&certificate.pem(), &other.key().pem()).unwrap_err(), Error::Foreign("CN=stele api".into()));
    let key = Key::make().unwrap();
    let leaf = ca.sign_client(&key.request("x", &[]).unwrap(), &client(Role::Admin, DAY)).unwrap();
    assert!(matches!(Ca::load(&leaf.pem(), &key.pem()).unwrap_err(), Error::NoAuthority(_)));
    assert!(!certificate.is_signed_by(other.certificate()), "the same name is not the same key");
}

#[test]
fn a_client_is_what_it_was_granted() {
    let ca = Ca::make_at("ca", now()).unwrap();
    for role in Role::CLIENTS {
        let made = ca.sign_client_at(&request(), &client(role, 720 * HOUR), now()).unwrap();
        assert_eq!(made.roles(), [role]);
        assert_eq!((made.common_name.as_str(), made.issuer.as_str()), ("alice", "CN=ca"));
        assert!(made.client && !made.server && !made.is_authority && made.names.is_empty());
        assert_eq!((made.not_before, made.not_after), (unix(now() - HOUR), unix(now() + 720 * HOUR)));
        assert!(made.is_signed_by(ca.certificate()));
        assert_eq!(Certificate::parse(&made.pem()).unwrap(), made);
    }
    for name in ["", "a\nb", &"x".repeat(65)] {
        let wanted = Client { common_name: name.into(), ..client(Role::Reader, DAY) };
        assert!(matches!(ca.sign_client(&request(), &wanted), Err(Error::Refused(_))), "{name:?}");
    }
}

#[test]
fn a_node_has_its_names_and_both_purposes() {
    let ca = Ca::make_at("ca", now()).unwrap();
    let names = ["node-1.example", "localhost", "192.0.2.7", "2001:db8::7"].map(str::to_owned).to_vec();
    let made = ca.sign_node_at(&request(), &Node { names: names.clone(), ttl: DAY }, now()).unwrap();
    assert_eq!(made.names, names);
    assert_eq!((made.common_name.as_str(), made.roles()), ("node-1.example", vec![Role::Node]));
    assert!(made.client && made.server && !made.is_authority);
    for name in ["", "a b", "*.example", "a..b", "x\u{e9}", &"a".repeat(64)] {
        let wanted = Node { names: vec!["ok".into(), name.into()], ttl: DAY };
        assert_eq!(ca.sign_node(&request(), &wanted).unwrap_err(), Error::Name(name.into()));
    }
    assert!(ca.sign_node(&request(), &Node { names: vec![], ttl: DAY }).is_err());
}

#[test]
fn the_rescue_is_short_from_its_beginning_to_its_end() {
    let ca = Ca::make_at("rescue", now()).unwrap();
    for (ttl, back) in [(HOUR, HOUR), (23 * HOUR, HOUR), (DAY, Duration::ZERO)] {
        let made = ca.sign_rescue_at(&request(), &client(Role::Admin, ttl), now()).unwrap();
        assert_eq!(made.lifetime(), ttl + back);
        assert!(made.lifetime() <= RESCUE);
    }
    let long = ca.sign_rescue_at(&request(), &client(Role::Admin, DAY + Duration::from_secs(1)), now());
    assert!(long.unwrap_err().to_string().contains("24 h"));
}

#[test]
fn nothing_outlives_its_authority() {
    let ca = Ca::make_at("ca", now() - 3652 * DAY).unwrap();
    let made = ca.sign_client_at(&request(), &client(Role::Admin, 720 * HOUR), now()).unwrap();
    assert_eq!(made.not_after, ca.certificate().not_after);
    let late = ca.sign_client_at(&request(), &client(Role::Admin, HOUR), now() + 2 * DAY).unwrap_err();
    assert!(matches!(late, Error::Ended { .. }), "{late}");
}

#[test]
fn serial_numbers_are_random() {
    let (ca, request) = (Ca::make("ca").unwrap(), request());
    let serials: std::collections::BTreeSet<_> =
        (0..50).map(|_| ca.sign_client(&request, &client(Role::Reader, DAY)).unwrap().serial).collect();
    assert_eq!(serials.len(), 50, "also for one key");
    assert!(serials.iter().all(|serial| serial.len() == 32), "{serials:?}");
}

/// A request that asks for more than it gets: an authority, any purpose, an admin, and an extension nobody knows.
fn greedy() -> rcgen::CertificateSigningRequest {
    let mut params = CertificateParams::new(vec!["kubernetes.default".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "root");
    params.distinguished_name.push(DnType::OrganizationName, "stele:admin");
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any];
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0])];
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn of_a_request_nothing_is_granted_but_its_key() {
    let request = Request::from_pem(&greedy().pem().unwrap()).unwrap();
    assert_eq!(
        (request.common_name.as_str(), request.names.as_slice()),
        ("root", ["kubernetes.default".into()].as_slice())
    );
    let ca = Ca::make("ca").unwrap();
    let made = ca.sign_client(&request, &client(Role::Reader, DAY)).unwrap();
    assert_eq!(made.organisations, ["stele:reader"]);
    assert_eq!(made.common_name, "alice");
    assert!(made.names.is_empty() && !made.is_authority && made.client && !made.server);
    let (_, parsed) = x509_parser::parse_x509_certificate(made.der()).unwrap();
    assert!(!parsed.extended_key_usage().unwrap().unwrap().value.any);
    assert!(!parsed.key_usage().unwrap().unwrap().value.key_cert_sign());
    let unknown = parsed.extensions().iter().any(|extension| extension.oid.to_id_string().contains("99999"));
    assert!(!unknown);
}

#[test]
fn a_request_that_was_changed_or_has_another_kind_of_key_is_refused() {
    let mut der = request().der().to_vec();
    let at = der.windows(2).position(|two| two == b"me").unwrap();
    der[at] = b'M';
    assert_eq!(Request::from_der(&der).unwrap_err(), Error::Unsigned);
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let other = CertificateParams::default().serialize_request(&key).unwrap();
        assert!(Request::from_der(other.der()).unwrap_err().to_string().contains("P-256"));
    }
    der.push(0);
    assert!(matches!(Request::from_der(&der), Err(Error::Parse { .. })));
}

#[test]
fn pem_of_something_else_says_what_it_wants() {
    let key = Key::make().unwrap();
    let pem = key.pem();
    assert_eq!(*Key::from_pem(&pem).unwrap().der(), *key.der());
    assert!(Certificate::parse(&pem).unwrap_err().to_string().contains("BEGIN CERTIFICATE"));
    assert!(Key::from_pem("").is_err() && Request::from_pem("x").is_err() && Certificate::chain("").is_err());
    let ca = Ca::make("ca").unwrap().certificate().pem();
    assert!(Certificate::parse(&format!("{ca}{ca}")).unwrap_err().to_string().contains("more than one"));
    assert_eq!(Certificate::chain(&format!("comment\n{ca}{ca}")).unwrap().len(), 2);
    assert!(!format!("{key:?} {:?}", Ca::make("x").unwrap()).contains("PRIVATE"));
    let wrong = Key::from_pem(&pem.replace("MIG", "MIX")).unwrap_err().to_string();
    assert!(!wrong.contains("MIX"), "no error repeats a key: {wrong}");
}

/// Another implementation's word. Development machines have openssl; nothing else here needs it.
#[test]
fn openssl_agrees() {
    #[expect(clippy::disallowed_methods, reason = "this is a test on a development machine")]
    let openssl = |arguments: &[&str]| Command::new("openssl").args(arguments).output();
    if openssl(&["version"]).is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca = Ca::make("ca").unwrap();
    let authority = file("ca.pem", &ca.certificate().pem());
    let node = Node { names: vec!["node.example".into(), "192.0.2.7".into()], ttl: DAY };
    let node = file("node.pem", &ca.sign_node(&request(), &node).unwrap().pem());
    let alice = file("client.pem", &ca.sign_client(&request(), &client(Role::Admin, DAY)).unwrap().pem());
    let foreign = Ca::make("ca").unwrap().sign_client(&request(), &client(Role::Admin, DAY)).unwrap();
    let foreign = file("foreign.pem", &foreign.pem());
    let cases: [(&str, &[&str], bool); 7] = [
        (&node, &["-purpose", "sslserver", "-verify_hostname", "node.example"], true),
        (&node, &["-purpose", "sslserver", "-verify_ip", "192.0.2.7"], true),
        (&node, &["-purpose", "sslserver", "-verify_ip", "192.0.2.8"], false),
        (&node, &["-purpose", "sslclient"], true),
        (&alice, &["-purpose", "sslclient"], true),
        (&alice, &["-purpose", "sslserver"], false),
        (&foreign, &["-purpose", "sslclient"], false),
    ];
    for (certificate, options, good) in cases {
        let arguments = [&["verify", "-x509_strict", "-CAfile", &authority], options, &[certificate]].concat();
        let output = openssl(&arguments).unwrap();
        assert_eq!(output.status.success(), good, "{options:?}: {output:?}");
    }
    // A key and a request that openssl made, in its own forms.
    let key = folder.path().join("key.pem").to_str().unwrap().to_owned();
    let made = openssl(&["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &key]).unwrap();
    assert!(made.status.success(), "{made:?}");
    let wanted =
        ["req", "-new", "-key", &key, "-subj", "/O=stele:admin/CN=bob", "-addext", "subjectAltName=DNS:bob.example"];
    let asked = openssl(&wanted).unwrap();
    let request = Request::from_pem(std::str::from_utf8(&asked.stdout).unwrap()).unwrap();
    assert_eq!((request.common_name.as_str(), request.names.as_slice()), ("bob", ["bob.example".into()].as_slice()));
    let key = Key::from_pem(&std::fs::read_to_string(&key).unwrap()).unwrap();
    assert!(ca.sign_client(&request, &client(Role::Admin, DAY)).unwrap().is_of(&key));
}

fuzz::targets! {
    certificate: |bytes| {
        if let Ok(certificate) = Certificate::from_der(bytes) {
            assert_eq!(Certificate::parse(&certificate.pem()).unwrap(), certificate);
            let _ = (certificate.roles(), certificate.lifetime(), certificate.is_signed_by(&certificate));
        }
        let _ = Certificate::chain(&String::from_utf8_lossy(bytes));
    },
    certificate_request: |bytes| {
        if let Ok(request) = Request::from_der(bytes) {
            assert_eq!(Request::from_pem(&request.pem()).unwrap(), request);
        }
        let _ = Request::from_pem(&String::from_utf8_lossy(bytes));
    },
    private_key: |bytes| {
        let _ = Key::from_der(bytes);
        let _ = Key::from_pem(&String::from_utf8_lossy(bytes));
    },
}
