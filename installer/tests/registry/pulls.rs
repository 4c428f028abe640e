//! Pulls that go well: over good lines and bad ones, with mirrors, proxies, passwords and tokens.

use std::io::{Read, Write};
use std::net::TcpListener;

use config::image::pull::{Auth, Check, Endpoint, Login, Proxy, Step};

use crate::fixture::{Image, PASSWORD, at, pull};
use crate::proxy::{Between, How};
use crate::server::Server;

fn pushed(image: &Image) -> Server {
    let registry = Server::open();
    image.push(&registry.image("1.2.0"), &["--plain-http"]).unwrap();
    registry
}

fn plain(registry: &Server) -> Endpoint {
    at(format!("http://{}", registry.address))
}

#[test]
fn by_tag_by_digest_and_from_a_folder() {
    let image = Image::signed();
    let registry = pushed(&image);
    let request = image.request(&registry.image("1.2.0"), vec![plain(&registry)]);
    let said = pull(&request);
    let steps: Vec<Step> = said.progress.iter().map(|one| one.step).collect();
    assert!(steps.is_sorted_by_key(|step| *step as u8), "{steps:?}");
    assert!(said.progress.iter().is_sorted_by_key(|one| one.done));
    assert_eq!(said.progress.last().map(|one| (one.step, one.done)), Some((Step::Check, image.size())));
    let pulled = said.end.unwrap();
    image.compare(&pulled);
    assert_eq!((pulled.fetched, pulled.kept), (image.size(), 0));
    assert_eq!(pulled.signed_by.as_deref(), Some("release"));
    assert_eq!(pulled.manifest.version.to_string(), "1.2.0");
    assert_eq!(pulled.endpoint, format!("http://{}", registry.address));

    // what is there is not fetched again, unless a disk lost it
    let again = pull(&request).end.unwrap();
    assert_eq!((again.fetched, again.kept), (0, image.size()));
    std::fs::write(&again.files[1].path, "other").unwrap();
    let again = pull(&request).end.unwrap();
    assert_eq!(again.fetched, again.files[1].size);
    image.compare(&again);

    let by_digest = format!("{}/stele/test@{}", registry.address, image.digest());
    let mut request = image.request(&by_digest, vec![plain(&registry)]);
    request.have = vec![again.files[0].digest.clone()];
    assert_eq!(pull(&request).end.unwrap().files, again.files[1..]);

    std::fs::remove_dir_all(image.work.path().join("pulled")).unwrap();
    let layout = image.layout().display().to_string();
    for name in [format!("oci:{layout}"), format!("oci:{layout}:1.2.0"), format!("oci:{layout}@{}", image.digest())] {
        image.compare(&pull(&image.request(&name, Vec::new())).end.unwrap());
    }
}

#[test]
fn a_line_that_is_cut_again_and_again() {
    let image = Image::signed();
    let registry = pushed(&image);
    let cutting = Between::start(&registry.address, How::Cut(400_000));
    let request = image.request(&registry.image("1.2.0"), vec![at(cutting.url())]);
    let pulled = pull(&request).end.unwrap();
    image.compare(&pulled);
    // each byte came once
    assert_eq!(pulled.fetched, image.size());
    assert!(cutting.connections() > 12, "{}", cutting.connections());
}

#[test]
fn a_pull_goes_on_where_another_ended() {
    let image = Image::signed();
    let registry = pushed(&image);
    // one that gives the start of the UKI and is gone then
    let going = Between::start(&registry.address, How::Gone(400_000, 7));
    let mut request = image.request(&registry.image("1.2.0"), vec![at(going.url())]);
    assert!(pull(&request).refused(Check::Unreachable, "broke off").again);
    request.endpoints = vec![plain(&registry)];
    let pulled = pull(&request).end.unwrap();
    image.compare(&pulled);
    assert!(pulled.kept >= 300_000 && pulled.fetched + pulled.kept == image.size(), "{pulled:?}");
}

#[test]
fn what_one_mirror_serves_wrongly_comes_from_the_next() {
    let image = Image::signed();
    let registry = pushed(&image);
    let (lying, empty) = (Between::start(&registry.address, How::Lie), Server::open());
    let silent = Between::start(&registry.address, How::Silent);
    let mut request = image.request(&registry.image("1.2.0"), vec![at(lying.url())]);
    request.limits.stall = 3;
    pull(&request).refused(Check::Digest, "other bytes than its digest says");
    request.endpoints =
        vec![at(silent.url()), at("http://127.0.0.1:1"), plain(&empty), at(lying.url()), plain(&registry)];
    let pulled = pull(&request).end.unwrap();
    image.compare(&pulled);
    assert_eq!(pulled.endpoint, lying.url());
    // part of it from one that lies, before it was cut
    std::fs::remove_file(&pulled.files[0].path).unwrap();
    let partial = format!("{}.part", pulled.files[0].path);
    std::fs::write(&partial, vec![7; 200_000]).unwrap();
    request.endpoints = vec![plain(&registry)];
    let pulled = pull(&request).end.unwrap();
    image.compare(&pulled);
    assert!(!std::path::Path::new(&partial).exists());
}

#[test]
fn a_registry_with_an_authority_and_a_password_of_its_own() {
    let (image, registry) = (Image::signed(), Server::closed("127.0.0.1"));
    let folder = image.work.path();
    let (right, wrong) = (folder.join("right"), folder.join("wrong"));
    std::fs::write(&right, format!("{PASSWORD}\n")).unwrap();
    std::fs::write(&wrong, "another\n").unwrap();
    let ca = registry.ca().display().to_string();
    let push = |file: &std::path::Path| {
        let file = file.display().to_string();
        image.push(&registry.image("1.2.0"), &["--ca", &ca, "--user", "node", "--password-file", &file])
    };
    assert!(push(&wrong).unwrap_err().contains("user and password are not taken"));
    push(&right).unwrap();

    let request = |ca: bool, password: Option<&str>| {
        let login = |password: &str| Auth::Login(Login { user: "node".into(), password: password.to_owned().into() });
        let pem = ca.then(|| std::fs::read_to_string(registry.ca()).unwrap());
        let url = format!("https://{}", registry.address);
        let endpoint = Endpoint { ca: pem.into_iter().collect(), auth: password.map(login), ..at(url) };
        image.request(&registry.image("1.2.0"), vec![endpoint])
    };
    let refusal = pull(&request(false, Some(PASSWORD))).refused(Check::Unreachable, "UnknownIssuer");
    assert!(!refusal.again && refusal.remedy.contains("authority"), "{refusal:?}");
    pull(&request(true, None)).refused(Check::Auth, "wants a user and a password");
    pull(&request(true, Some("another"))).refused(Check::Auth, "not taken");
    let mut token = request(true, None);
    token.endpoints[0].auth = Some(Auth::Token("x".to_owned().into()));
    pull(&token).refused(Check::Auth, "the token is not taken");
    image.compare(&pull(&request(true, Some(PASSWORD))).end.unwrap());
}

#[test]
fn through_a_proxy_that_alone_knows_the_name() {
    let name = "registry.invalid";
    let (image, registry) = (Image::signed(), Server::closed(name));
    let password = image.work.path().join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let proxy = Between::start(&registry.address, How::Proxy);
    let login = |user: &str, password: &str| Login { user: user.into(), password: password.to_owned().into() };
    let endpoint = Endpoint {
        url: format!("https://{name}"),
        ca: vec![std::fs::read_to_string(registry.ca()).unwrap()],
        auth: Some(Auth::Login(login("node", PASSWORD))),
        proxy: Some(Proxy { url: proxy.url(), login: Some(login("u", "p")) }),
    };
    let request = image.request(&format!("{name}/stele/test:1.2.0"), vec![endpoint]);
    // nobody has pushed it, but everything up to that question went well
    pull(&request).refused(Check::Missing, "404");

    let open = pushed(&image);
    let proxy = Between::start(&open.address, How::Proxy);
    let endpoint = Endpoint { proxy: Some(Proxy { url: proxy.url(), login: None }), ..at(format!("http://{name}")) };
    let request = image.request(&format!("{name}/stele/test:1.2.0"), vec![endpoint]);
    image.compare(&pull(&request).end.unwrap());
}

#[test]
fn a_registry_that_wants_tokens_of_another_service() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let realm = format!("http://{}/token", listener.local_addr().unwrap());
    let registry = Server::tokens(&realm, &certificate.pem());
    let token = token(&key, certificate.der());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut request) = (stream.unwrap(), [0; 4096]);
            let read = stream.read(&mut request).unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            // node:steel and stone
            let known = request.contains("authorization: Basic bm9kZTpzdGVlbCBhbmQgc3RvbmU=");
            let asked = request.contains("GET /token?service=test&scope=repository:stele/test:pull");
            let (status, body) = match known && asked {
                true => ("200 OK", format!("{{\"token\":\"{token}\"}}")),
                false => ("401 Unauthorized", request),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    let image = Image::signed();
    let password = image.work.path().join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let file = password.display().to_string();
    let words = ["--plain-http", "--user", "node", "--password-file", &file];
    image.push(&registry.image("1.2.0"), &words).unwrap();
    let mut request = image.request(&registry.image("1.2.0"), vec![plain(&registry)]);
    pull(&request).refused(Check::Auth, "/token");
    let login = Login { user: "node".into(), password: PASSWORD.to_owned().into() };
    request.endpoints[0].auth = Some(Auth::Login(login));
    image.compare(&pull(&request).end.unwrap());
}

/// A token as the registry takes it: signed by the key whose certificate it was given.
fn token(key: &rcgen::KeyPair, certificate: &[u8]) -> String {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use base64::Engine;
    let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
    let chain = base64::engine::general_purpose::STANDARD.encode(certificate);
    let head = serde_json::json!({ "typ": "JWT", "alg": "ES256", "x5c": [chain] });
    let access = serde_json::json!([{ "type": "repository", "name": "stele/test", "actions": ["pull", "push"] }]);
    let claims = serde_json::json!({
        "iss": "test", "aud": "test", "sub": "node", "jti": "1", "exp": 4_000_000_000u64, "nbf": 0, "iat": 0, "access": access,
    });
    let text = format!("{}.{}", encode(head.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).unwrap();
    let signature = pair.sign(&aws_lc_rs::rand::SystemRandom::new(), text.as_bytes()).unwrap();
    format!("{text}.{}", encode(signature.as_ref()))
}
