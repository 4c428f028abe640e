//! Who is let in, who is told what, and who may stay when the terms change.

use std::net::IpAddr;

use api::{
    pki::{Ca, Client, Key, Node},
    roles::Role,
};
use rustls::AlertDescription as Alert;
use std::time::SystemTime;

use super::{
    keys::Accepted,
    tls::{Guest, Terms},
    *,
};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const HERE: &str = "192.0.2.1";
const ELSEWHERE: &str = "198.51.100.1";

fn request(key: &Key) -> api::pki::Request {
    key.request("x", &[]).unwrap()
}

fn identity(key: &Key, certificate: &api::pki::Certificate) -> Identity {
    Identity { certificate: certificate.der().to_vec(), key: key.der() }
}

fn wanted(ttl: Duration) -> Client {
    Client { common_name: "alice".into(), role: Role::Admin, ttl }
}

fn client_at(ca: &Ca, ttl: Duration, at: SystemTime) -> Identity {
    let key = Key::make().unwrap();
    identity(&key, &ca.sign_client_at(&request(&key), &wanted(ttl), at).unwrap())
}

fn client(ca: &Ca) -> Identity {
    client_at(ca, DAY, SystemTime::now())
}

fn rescue(ca: &Ca, ttl: Duration) -> Identity {
    let key = Key::make().unwrap();
    identity(&key, &ca.sign_rescue(&request(&key), &wanted(ttl)).unwrap())
}

fn accepted(ca: &Ca, rescue: bool) -> Accepted {
    Accepted { der: ca.certificate().der().to_vec(), rescue }
}

/// Shakes hands on these terms, in memory; who was let in, or what the client was told.
async fn shake(terms: &Terms, from: &str, node: &Identity, client: Option<&Identity>) -> Result<Guest, Alert> {
    let from: IpAddr = from.parse().unwrap();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let acceptor = tokio_rustls::TlsAcceptor::from(terms.config(from).expect("not turned away before"));
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client_config(node, client)));
    let served = async {
        let mut server = acceptor.accept(ours).await.ok()?;
        server.write_all(b"x").await.ok()?;
        Some(terms.guest(from, server.get_ref().1.peer_certificates()).unwrap())
    };
    let asked = async {
        let told = |error: std::io::Error| match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(alert)) => *alert,
            other => panic!("{other:?}"),
        };
        let mut client = connector.connect(name, theirs).await.map_err(told)?;
        client.read_exact(&mut [0; 1]).await.map(drop).map_err(told)
    };
    let (guest, asked) = timeout(SOON, async { tokio::join!(served, asked) }).await.unwrap();
    asked.map(|()| guest.unwrap())
}

#[tokio::test]
async fn each_refusal_has_an_alert_of_its_own() {
    let node = Identity::make().unwrap();
    let (ca, rescuer, foreign) = (Ca::make("ca").unwrap(), Ca::make("rescue").unwrap(), Ca::make("ca").unwrap());
    let now = SystemTime::now();
    let server_only = {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let signer = rcgen::KeyPair::try_from(ca.key().der().as_slice()).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_der(&ca.certificate().der().into(), signer).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        Identity { certificate, key: key.serialize_der().into() }
    };
    let revoked = client(&ca);
    let sure = Keys {
        accepted: vec![accepted(&ca, false), accepted(&rescuer, true)],
        revoked: vec![revoked.fingerprint()],
        allow: vec!["192.0.2.0/24".parse().unwrap()],
        ..keys(&node)
    };
    let unsure = Terms::build(&Keys { clock_sure: false, ..sure.clone() }).unwrap();
    let sure = Terms::build(&sure).unwrap();
    let (past, future) = (now - 10 * DAY, now + 10 * DAY);
    let (good, early) = (client(&ca), client_at(&ca, DAY, future));
    let (late, strange) = (client_at(&ca, DAY, past), client_at(&foreign, DAY, past));
    let (short, long) = (rescue(&rescuer, DAY), client_at(&rescuer, 30 * HOUR, now));
    // The certificate of a CA is nobody's.
    let authority = identity(ca.key(), ca.certificate());
    type Case<'a> = (&'a str, &'a Terms, &'a str, Option<&'a Identity>, Result<bool, Alert>);
    let cases: [Case<'_>; 17] = [
        ("a good one", &sure, HERE, Some(&good), Ok(false)),
        ("none", &sure, HERE, None, Err(Alert::CertificateRequired)),
        ("revoked", &sure, HERE, Some(&revoked), Err(Alert::CertificateRevoked)),
        ("over", &sure, HERE, Some(&late), Err(Alert::CertificateExpired)),
        ("over, and the clock not sure", &unsure, HERE, Some(&late), Err(Alert::CertificateExpired)),
        ("not yet", &sure, HERE, Some(&early), Err(Alert::CertificateExpired)),
        ("not yet, and the clock not sure", &unsure, HERE, Some(&early), Ok(false)),
        ("of another authority of that name", &sure, HERE, Some(&client(&foreign)), Err(Alert::UnknownCA)),
        ("that, and over", &sure, HERE, Some(&strange), Err(Alert::UnknownCA)),
        ("that, and not yet", &unsure, HERE, Some(&client_at(&foreign, DAY, future)), Err(Alert::UnknownCA)),
        ("self-signed", &sure, HERE, Some(&Identity::make().unwrap()), Err(Alert::UnknownCA)),
        ("for servers", &sure, HERE, Some(&server_only), Err(Alert::UnsupportedCertificate)),
        ("an authority's own", &sure, HERE, Some(&authority), Err(Alert::CertificateUnknown)),
        ("a rescue", &sure, HERE, Some(&short), Ok(true)),
        ("a rescue that is too long", &sure, HERE, Some(&long), Err(Alert::CertificateUnknown)),
        ("a rescue from elsewhere", &sure, ELSEWHERE, Some(&short), Ok(true)),
        ("a good one from elsewhere", &sure, ELSEWHERE, Some(&good), Err(Alert::AccessDenied)),
    ];
    for (name, terms, from, client, expected) in cases {
        let got = shake(terms, from, &node, client).await;
        assert_eq!(got.map(|guest| guest.certificate.unwrap().rescue), expected, "{name}");
    }
}

#[test]
fn who_comes_from_elsewhere_is_turned_away_before_tls() {
    let node = Identity::make().unwrap();
    let (ca, rescuer) = (Ca::make("ca").unwrap(), Ca::make("rescue").unwrap());
    let allow = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    let closed = Keys { accepted: vec![accepted(&ca, false)], allow, ..keys(&node) };
    let open = Keys { allow: vec![], ..closed.clone() };
    let mut with_rescue = closed.clone();
    with_rescue.accepted.push(accepted(&rescuer, true));
    let [closed, open, with_rescue] = [closed, open, with_rescue].map(|keys| Terms::build(&keys).unwrap());
    for (from, welcome) in [
        (HERE, true),
        ("2001:db8::1", true),
        ("127.0.0.1", true),
        ("::1", true),
        (ELSEWHERE, false),
        ("2001::1", false),
    ] {
        let from = from.parse().unwrap();
        assert_eq!(closed.config(from).is_some(), welcome, "{from}");
        assert!(open.config(from).is_some() && with_rescue.config(from).is_some(), "{from}");
    }
}

#[tokio::test]
async fn new_terms_end_those_who_are_not_welcome_any_more_and_nobody_else() {
    let node = Identity::make().unwrap();
    let (old, new, rescuer) = (Ca::make("ca").unwrap(), Ca::make("ca").unwrap(), Ca::make("rescue").unwrap());
    let base = Keys { accepted: vec![accepted(&old, false), accepted(&rescuer, true)], ..keys(&node) };
    let terms = Terms::build(&base).unwrap();
    let guest = shake(&terms, HERE, &node, Some(&client(&old))).await.unwrap();
    let rescued = shake(&terms, ELSEWHERE, &node, Some(&rescue(&rescuer, HOUR))).await.unwrap();
    // The same authority with a new certificate: the key is what counts.
    let renewed = {
        let key = rcgen::KeyPair::try_from(old.key().der().as_slice()).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "ca");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Accepted { der: params.self_signed(&key).unwrap().der().to_vec(), rescue: false }
    };
    let (one, two, help) = (accepted(&old, false), accepted(&new, false), accepted(&rescuer, true));
    let digest = |guest: &Guest| guest.certificate.as_ref().unwrap().fingerprint;
    let other = Identity::make().unwrap();
    let network = |text: &str| vec![text.parse().unwrap()];
    type Case<'a> = (&'a str, Keys, (bool, bool));
    let cases: [Case<'_>; 9] = [
        ("another certificate of the node", Keys { accepted: base.accepted.clone(), ..keys(&other) }, (true, true)),
        ("overlap", Keys { accepted: vec![two.clone(), one.clone(), help.clone()], ..base.clone() }, (true, true)),
        ("the new one alone", Keys { accepted: vec![two, help.clone()], ..base.clone() }, (false, true)),
        ("renewed", Keys { accepted: vec![renewed, help], ..base.clone() }, (true, true)),
        ("without rescue", Keys { accepted: vec![one], ..base.clone() }, (true, false)),
        ("revoked", Keys { revoked: vec![digest(&guest)], ..base.clone() }, (false, true)),
        ("other networks", Keys { allow: network("198.51.100.0/25"), ..base.clone() }, (false, true)),
        ("this network", Keys { allow: network("192.0.2.0/25"), ..base.clone() }, (true, true)),
        ("maintenance", keys(&node), (false, false)),
    ];
    for (name, keys, expected) in cases {
        let terms = Terms::build(&keys).unwrap();
        assert_eq!((terms.keep(&guest), terms.keep(&rescued)), expected, "{name}");
    }
    assert!(!terms.is_over(&guest));
}

#[tokio::test]
async fn a_rotation_cuts_nobody_whose_authority_is_still_accepted() {
    let fixture = start(TEST_LIMITS);
    let node = Identity::make().unwrap();
    let (old, new) = (Ca::make("ca").unwrap(), Ca::make("ca").unwrap());
    let terms = |of: &[&Ca]| Keys { accepted: of.iter().map(|ca| accepted(ca, false)).collect(), ..keys(&node) };
    let mut delivery = fixture.give(&terms(&[&old])).await;
    let connect = async |ca: &Ca| {
        let mut stream = fixture.connect(&node, Some(&client(ca))).await.unwrap();
        stream.write_all(b"x").await.unwrap();
        (stream, fixture.client().await.1)
    };
    let (mut early, mut behind_early) = connect(&old).await;
    assert_eq!(fixture.give_again(&mut delivery, &terms(&[&old, &new])).await, None);
    let (mut late, mut behind_late) = connect(&new).await;
    // Both speak: `early` has gone through a change of the authorities.
    for (client, machined) in [(&mut early, &mut behind_early), (&mut late, &mut behind_late)] {
        machined.write_all(b"y").await.unwrap();
        client.read_exact(&mut [0; 1]).await.unwrap();
    }
    // A node's certificate is a client's too, and its new one changes nothing for those who are in.
    let key = Key::make().unwrap();
    let own = new.sign_node(&request(&key), &Node { names: vec!["localhost".into()], ttl: DAY }).unwrap();
    let rotated = Keys { accepted: vec![accepted(&new, false)], ..keys(&identity(&key, &own)) };
    assert_eq!(fixture.give_again(&mut delivery, &rotated).await, None);
    assert!(ended(&mut early).await, "its authority is gone");
    behind_late.write_all(b"z").await.unwrap();
    late.read_exact(&mut [0; 1]).await.unwrap();
    let mut again = fixture.connect(&identity(&key, &own), Some(&client(&old))).await.unwrap();
    assert!(ended(&mut again).await);
}
