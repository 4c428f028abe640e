//! The gateway between real TLS clients and a machined that is played by the test.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{keys::Keys, preamble::Preamble, *};
use crate::pki::Identity;

mod admission;

const SOON: Duration = Duration::from_secs(10);

const TEST_LIMITS: Limits =
    Limits { total: 100, each: 90, handshakes: 64, shaking: 80, handshake: Duration::from_millis(600) };

/// A gateway on its own thread, and the sockets of the machined that the test plays.
struct Fixture {
    folder: tempfile::TempDir,
    address: SocketAddr,
    api: Option<UnixListener>,
    keys: UnixListener,
    ready: mpsc::UnboundedReceiver<()>,
    _stop: oneshot::Sender<()>,
}

fn start(limits: Limits) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = |name| -> PathBuf { folder.path().join(name) };
    let api = UnixListener::bind(path("api")).unwrap();
    let keys = UnixListener::bind(path("keys")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (told, ready) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let (api_path, keys_path) = (path("api"), path("keys"));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let start = Start { listener, api: &api_path, keys: &keys_path, limits };
            tokio::select! {
                ended = serve(start, || told.send(()).unwrap()) => ended.unwrap(),
                _ = stopped => {}
            }
        });
    });
    Fixture { folder, address, api: Some(api), keys, ready, _stop: stop }
}

impl Fixture {
    /// Hands out keys as machined does; the connection must be kept, like machined keeps it.
    async fn give(&self, keys: &Keys) -> UnixStream {
        let mut stream = self.asked().await;
        assert_eq!(self.give_again(&mut stream, keys).await, None);
        stream
    }

    async fn asked(&self) -> UnixStream {
        timeout(SOON, self.keys.accept()).await.unwrap().unwrap().0
    }

    async fn give_again(&self, stream: &mut UnixStream, keys: &Keys) -> Option<String> {
        self.say(stream, Some(keys)).await
    }

    async fn say(&self, stream: &mut UnixStream, keys: Option<&Keys>) -> Option<String> {
        stream.write_all(&keys::format(keys).unwrap()).await.unwrap();
        timeout(SOON, keys::read_answer(stream)).await.unwrap().unwrap()
    }

    /// The next client as machined sees it.
    async fn client(&self) -> (Preamble, UnixStream) {
        let (mut stream, _) = timeout(SOON, self.api.as_ref().unwrap().accept()).await.unwrap().unwrap();
        (Preamble::read(&mut stream).await.unwrap(), stream)
    }

    async fn connect(&self, node: &Identity, client: Option<&Identity>) -> std::io::Result<TlsStream<TcpStream>> {
        let config = client_config(node, client);
        let tcp = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await
    }
}

fn client_config(node: &Identity, client: Option<&Identity>) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned(node.certificate.clone())));
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(client.key.to_vec()));
            builder.with_client_auth_cert(vec![client.certificate.clone().into()], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[derive(Debug)]
struct Pinned(Vec<u8>);

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let same = certificate.as_ref() == self.0;
        if same { Ok(ServerCertVerified::assertion()) } else { Err(rustls::CertificateError::UnknownIssuer.into()) }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn keys(identity: &Identity) -> Keys {
    let (chain, key) = (vec![identity.certificate.clone()], identity.key.clone());
    Keys { chain, key, accepted: vec![], allow: vec![], revoked: vec![], clock_sure: true }
}

/// An authority, and two clients that it issued for.
fn clients() -> (Vec<u8>, [Identity; 2]) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().der().to_vec();
    let issuer = rcgen::Issuer::new(params, key);
    let issue = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "stele:admin");
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        Identity { certificate, key: key.serialize_der().into() }
    };
    (authority, [issue("one"), issue("two")])
}

/// Whether the other side ends it, with or without an alert.
async fn ended(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    timeout(SOON, stream.read_to_end(&mut Vec::new())).await.is_ok()
}

#[tokio::test]
async fn a_client_is_announced_and_its_bytes_pumped_both_ways() {
    let mut fixture = start(TEST_LIMITS);
    let node = Identity::make().unwrap();
    assert!(fixture.ready.is_empty(), "not ready without keys");
    let _keys = fixture.give(&keys(&node)).await;
    fixture.ready.recv().await.unwrap();
    let mut client = fixture.connect(&node, None).await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    client.write_all(b"question").await.unwrap();
    let (preamble, mut machined) = fixture.client().await;
    assert_eq!(preamble.address, client.get_ref().0.local_addr().unwrap());
    assert_eq!(preamble.certificate, None);
    let mut question = [0; 8];
    machined.read_exact(&mut question).await.unwrap();
    assert_eq!(&question, b"question");
    machined.write_all(b"answer").await.unwrap();
    drop(machined);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer, b"answer", "a clean end, with close_notify");
}

#[tokio::test]
async fn keys_change_live_and_unusable_ones_change_nothing() {
    let fixture = start(TEST_LIMITS);
    let (old, new) = (Identity::make().unwrap(), Identity::make().unwrap());
    let mut delivery = fixture.give(&keys(&old)).await;
    let mut early = fixture.connect(&old, None).await.unwrap();
    early.write_all(b"1").await.unwrap();
    let (_, mut machined) = fixture.client().await;
    let mixed = Keys { key: new.key.clone(), ..keys(&old) };
    assert!(fixture.give_again(&mut delivery, &mixed).await.is_some(), "key and certificate do not match");
    fixture.connect(&old, None).await.unwrap();
    assert_eq!(fixture.give_again(&mut delivery, &keys(&new)).await, None);
    fixture.connect(&old, None).await.expect_err("the old certificate is gone");
    fixture.connect(&new, None).await.unwrap();
    // machined is killed: the last keys stay, and the connection of before still runs.
    drop(delivery);
    fixture.connect(&new, None).await.unwrap();
    machined.write_all(b"still here").await.unwrap();
    let mut byte = [0; 12];
    assert!(timeout(SOON, early.read(&mut byte)).await.unwrap().unwrap() > 0);
    // The next machined is asked again.
    let _delivery = fixture.give(&keys(&old)).await;
    fixture.connect(&old, None).await.unwrap();
}

#[tokio::test]
async fn without_keys_nobody_is_let_in_and_who_is_in_is_let_go() {
    let mut fixture = start(TEST_LIMITS);
    let node = Identity::make().unwrap();
    let mut delivery = fixture.asked().await;
    assert_eq!(fixture.say(&mut delivery, None).await, None);
    fixture.ready.recv().await.expect("there is nothing more to wait for");
    let mut early = TcpStream::connect(fixture.address).await.unwrap();
    assert!(ended(&mut early).await, "it is told at once, not left waiting");

    assert_eq!(fixture.give_again(&mut delivery, &keys(&node)).await, None);
    let mut client = fixture.connect(&node, None).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let (_, mut upstream) = fixture.client().await;
    upstream.read_exact(&mut [0; 1]).await.unwrap();

    assert_eq!(fixture.say(&mut delivery, None).await, None);
    assert!(ended(&mut client).await && ended(&mut upstream).await);
    // machined is killed: that opens nothing.
    drop(delivery);
    let connecting = timeout(SOON, fixture.connect(&node, None)).await.expect("it is told at once");
    connecting.expect_err("nobody is let in");
}

#[tokio::test]
async fn certificates_are_asked_for_checked_passed_on_and_revoked() {
    let fixture = start(TEST_LIMITS);
    let node = Identity::make().unwrap();
    let (authority, [one, two]) = clients();
    let mut delivery = fixture.give(&keys(&node)).await;
    let mut stranger = fixture.connect(&node, None).await.unwrap();
    stranger.write_all(b"x").await.unwrap();
    let (_, _machined) = fixture.client().await;
    let mut terms = Keys { accepted: vec![keys::Accepted { der: authority, rescue: false }], ..keys(&node) };
    assert_eq!(fixture.give_again(&mut delivery, &terms).await, None);
    assert!(ended(&mut stranger).await, "who came before the node had authorities is let go");
    for unknown in [None, Some(Identity::make().unwrap())] {
        let mut client = fixture.connect(&node, unknown.as_ref()).await.unwrap();
        assert!(ended(&mut client).await, "{unknown:?}");
    }
    let mut clients = Vec::new();
    for identity in [&one, &two] {
        let mut client = fixture.connect(&node, Some(identity)).await.unwrap();
        client.write_all(b"x").await.unwrap();
        let (preamble, machined) = fixture.client().await;
        let certificate = preamble.certificate.unwrap();
        assert_eq!(certificate.organisations, ["stele:admin"]);
        assert_eq!(certificate.fingerprint, identity.fingerprint());
        assert!(certificate.subject.contains("CN="), "{}", certificate.subject);
        clients.push((client, machined));
    }
    terms.revoked = vec![one.fingerprint()];
    assert_eq!(fixture.give_again(&mut delivery, &terms).await, None);
    let (revoked, kept) = clients.split_at_mut(1);
    assert!(ended(&mut revoked[0].0).await, "revoked: the open connection ends");
    kept[0].1.write_all(b"y").await.unwrap();
    kept[0].0.read_exact(&mut [0; 1]).await.unwrap();
    let mut again = fixture.connect(&node, Some(&one)).await.unwrap();
    assert!(ended(&mut again).await, "revoked: no new connection either");
}

#[tokio::test]
async fn slow_and_hostile_clients_keep_nobody_out() {
    let fixture = start(TEST_LIMITS);
    let node = Identity::make().unwrap();
    let _keys = fixture.give(&keys(&node)).await;
    // Every place for a handshake is taken by somebody who says nothing, or half of something.
    let mut silent = Vec::new();
    for n in 0..TEST_LIMITS.handshakes {
        let mut tcp = TcpStream::connect(fixture.address).await.unwrap();
        if n % 2 == 0 {
            tcp.write_all(&[0x16, 3, 1, 2, 0, 1, 0]).await.unwrap();
        }
        silent.push(tcp);
    }
    // Not TLS at all, and a handshake without a first byte after it.
    let mut noise = TcpStream::connect(fixture.address).await.unwrap();
    noise.write_all(&[0xa5; 4000]).await.unwrap();
    let begun = Instant::now();
    let mut idle = fixture.connect(&node, None).await.unwrap();
    let mut good = fixture.connect(&node, None).await.unwrap();
    good.write_all(b"x").await.unwrap();
    fixture.client().await;
    assert!(begun.elapsed() < TEST_LIMITS.handshake * 6, "{:?}", begun.elapsed());
    for mut tcp in silent {
        assert!(ended(&mut tcp).await);
    }
    assert!(ended(&mut noise).await);
    assert!(ended(&mut idle).await, "a handshake alone is not a client");
}

#[tokio::test]
async fn who_says_nothing_gives_way_to_who_does() {
    let patient = Duration::from_secs(600);
    let fixture = start(Limits { handshakes: 4, shaking: 4, handshake: patient, ..TEST_LIMITS });
    let node = Identity::make().unwrap();
    let _keys = fixture.give(&keys(&node)).await;
    // From another client: an address of its own of the loopback network.
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    other.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut lone = other.connect(fixture.address).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..3 {
        silent.push(TcpStream::connect(fixture.address).await.unwrap());
    }
    let mut good = timeout(SOON, fixture.connect(&node, None)).await.expect("it waits for nobody").unwrap();
    good.write_all(b"x").await.unwrap();
    fixture.client().await;
    assert!(ended(&mut silent[0]).await, "the oldest of the client that had the most");
    let lonely = timeout(Duration::from_millis(200), lone.read(&mut [0; 1])).await;
    assert!(lonely.is_err(), "who has one keeps it: {lonely:?}");
}

#[tokio::test]
async fn connections_are_bounded_and_places_come_back() {
    let fixture = start(Limits { total: 5, each: 3, ..TEST_LIMITS });
    let node = Identity::make().unwrap();
    let _keys = fixture.give(&keys(&node)).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut client = fixture.connect(&node, None).await.unwrap();
        client.write_all(b"x").await.unwrap();
        open.push((client, fixture.client().await));
    }
    fixture.connect(&node, None).await.expect_err("the fourth of one address");
    open.pop();
    let retry = async {
        while fixture.connect(&node, None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, retry).await.expect("its place is free again");
}

#[tokio::test]
async fn a_missing_machined_is_a_clean_end() {
    let mut fixture = start(TEST_LIMITS);
    let node = Identity::make().unwrap();
    let _keys = fixture.give(&keys(&node)).await;
    fixture.api = None;
    std::fs::remove_file(fixture.folder.path().join("api")).unwrap();
    let mut client = fixture.connect(&node, None).await.unwrap();
    client.write_all(b"x").await.unwrap();
    let end = timeout(SOON, client.read(&mut [0; 1])).await.unwrap();
    assert_eq!(end.unwrap(), 0, "close_notify, not a reset");
}
