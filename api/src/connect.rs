//! Connections to a node: TCP, TLS 1.3 with a certificate that is pinned or signed, and a gRPC channel on top.
//!
//! Invariant: no byte of a call is sent before the certificate was checked. A channel reconnects by itself through
//! the same checks; who must know about breaks uses `follow`.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::{CertificateError, ClientConfig, crypto::aws_lc_rs, pki_types::ServerName, version::TLS13};
use tokio::{
    io::AsyncBufReadExt,
    net::{TcpStream, lookup_host},
    sync::Mutex,
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::Channel;
use tower::service_fn;

pub use crate::{
    client::Identity,
    error::Connect as Error,
    pin::{Authorities, AuthoritiesError, Pin},
};
use crate::{
    endpoint::Endpoint,
    error::{Refusal, Untrusted},
    fingerprint::Fingerprint,
    pin::{Seen, Verifier},
    preface::{self, Spoken},
};

/// How long TCP and TLS may take together: a busy emulated node answers a handshake within a few seconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An idle connection is asked for a sign of life this often; the answer must come within as long again, so a node
/// that lost its power is noticed after 20 s.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// How long a node may take to say that it does not let a client in: in TLS 1.3 that comes after the client's part of the
/// handshake is done. One that says nothing for so long is not refusing; machined may be on its way back.
const VERDICT: Duration = Duration::from_secs(3);

/// Connects to one node. Cheap to clone; clones agree on the certificate of the first use.
#[derive(Clone, Debug)]
pub struct Connector {
    endpoint: Endpoint,
    pin: Pin,
    client: Option<Identity>,
    name: Option<ServerName<'static>>,
    timeout: Duration,
    first_use: Arc<OnceLock<Fingerprint>>,
}

impl Connector {
    /// For a node and what makes it the right one.
    pub fn new(endpoint: Endpoint, pin: Pin) -> Self {
        Self { endpoint, pin, client: None, name: None, timeout: CONNECT_TIMEOUT, first_use: Arc::default() }
    }

    /// Shows this certificate to a node that asks for one.
    #[must_use]
    pub fn client(mut self, identity: Option<Identity>) -> Self {
        self.client = identity;
        self
    }

    /// The name or address that the node's certificate must be for, instead of the endpoint's host.
    #[must_use]
    pub fn server_name(mut self, name: Option<ServerName<'static>>) -> Self {
        self.name = name;
        self
    }

    /// Another limit than `CONNECT_TIMEOUT` for TCP and TLS together.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Where it connects to.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The fingerprint of the node, once connected.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.first_use.get().copied()
    }

    /// Connects now, and gives a channel that connects again when it must.
    pub async fn connect(&self) -> Result<Channel, Error> {
        // Dialled here and not by tonic, so that the error keeps its type.
        let first = Arc::new(Mutex::new(Some(TokioIo::new(self.dial().await?))));
        let connector = self.clone();
        let dial = service_fn(move |_| {
            let (first, connector) = (first.clone(), connector.clone());
            async move {
                if let Some(ready) = first.lock().await.take() {
                    return Ok::<_, Error>(ready);
                }
                connector.dial().await.map(TokioIo::new)
            }
        });
        // The authority is no more than a label: TLS is ours, and a zone such as %eth0 is not valid in a URI.
        Ok(Channel::from_static("https://node")
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(dial))
    }

    /// One verified connection.
    async fn dial(&self) -> Result<Spoken<TlsStream<TcpStream>>, Error> {
        let deadline = Instant::now() + self.timeout;
        let tcp = self.dial_tcp(deadline).await?;
        // Without Nagle's delay; the calls are small.
        tcp.set_nodelay(true).map_err(|source| self.io(source))?;
        let pin = match (&self.pin, self.first_use.get()) {
            (Pin::FirstUse, Some(seen)) => Pin::Exact(vec![*seen]),
            (pin, _) => pin.clone(),
        };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let tls = |source| Error::Tls { endpoint: self.endpoint.clone(), source };
        let verifier = Arc::new(Verifier::new(pin.clone(), provider.clone()).map_err(tls)?);
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(tls)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone());
        let mut config = match &self.client {
            Some(identity) => config.with_client_auth_cert(identity.chain(), identity.key()).map_err(tls)?,
            None => config.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = self.name.clone().unwrap_or_else(|| self.endpoint.server_name());
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
        let mut stream = match timeout_at(deadline, handshake).await {
            Err(_) => return Err(self.late("the TLS handshake")),
            Ok(Err(source)) => return Err(self.refused_by_tls(source, pin, verifier.seen())),
            Ok(Ok(stream)) => stream,
        };
        // The node's verdict on the client's certificate; the first bytes of HTTP/2 are as good, and it is asked for them.
        let verdict = async {
            // One that has refused may not listen any more: what it said is still to be read.
            let _ = preface::say(&mut stream).await;
            stream.fill_buf().await
        };
        match timeout_at(deadline.min(Instant::now() + VERDICT), verdict).await {
            Ok(Ok([])) => return Err(Error::Closed { endpoint: self.endpoint.clone() }),
            Ok(Err(source)) => return Err(self.refused_by_tls(source, pin, verifier.seen())),
            Ok(Ok(_)) | Err(_) => {}
        }
        if let Some(Seen { fingerprint: seen, .. }) = verifier.seen() {
            let first = *self.first_use.get_or_init(|| seen);
            // Two first uses at the same time, and they saw different nodes.
            if self.pin == Pin::FirstUse && first != seen {
                return Err(Error::Fingerprint { endpoint: self.endpoint.clone(), pinned: vec![first], seen });
            }
        }
        Ok(Spoken::new(stream))
    }

    /// Tries every address of the host; each gets an equal share of the time that is left.
    async fn dial_tcp(&self, deadline: Instant) -> Result<TcpStream, Error> {
        let lookup = timeout_at(deadline, lookup_host((self.endpoint.host(), self.endpoint.port()))).await;
        let found = lookup.map_err(|_| self.late("the name lookup"))?;
        let dns = |source| Error::Dns { endpoint: self.endpoint.clone(), source: Arc::new(source) };
        let addresses: Vec<SocketAddr> = found.map_err(dns)?.collect();
        let mut last = dns(io::Error::other("no address"));
        for (at, address) in addresses.iter().enumerate() {
            let left = u32::try_from(addresses.len() - at).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / left;
            last = match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(source)) if source.kind() == io::ErrorKind::ConnectionRefused => {
                    Error::Refused { endpoint: self.endpoint.clone() }
                }
                Ok(Err(source)) => self.io(source),
                Err(_) => self.late("the connection"),
            };
        }
        Err(last)
    }

    fn refused_by_tls(&self, source: io::Error, pin: Pin, seen: Option<Seen>) -> Error {
        let endpoint = self.endpoint.clone();
        if let (Pin::Exact(pinned), Some(Seen { fingerprint: seen, .. })) = (&pin, &seen)
            && !pinned.contains(seen)
        {
            return Error::Fingerprint { endpoint, pinned: pinned.clone(), seen: *seen };
        }
        let invalid = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let stranger = matches!(invalid, Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)));
        if let (Pin::Either(pinned, _), Some(Seen { fingerprint: seen, .. }), true) = (&pin, &seen, stranger) {
            return Error::Fingerprint { endpoint, pinned: pinned.clone(), seen: *seen };
        }
        if matches!(source.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) {
            return Error::Closed { endpoint };
        }
        let Some(error) = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return self.io(source);
        };
        match (error, seen) {
            (rustls::Error::InvalidMessage(_), None) => Error::NotTls { endpoint },
            (rustls::Error::InvalidCertificate(error), Some(Seen { fingerprint, facts })) => {
                let name = self.name.as_ref().map_or_else(|| endpoint.host().into(), ServerName::to_str);
                let why = Untrusted::of(error, &name);
                Error::Untrusted { why, node: Box::new(facts), seen: fingerprint, endpoint }
            }
            (rustls::Error::AlertReceived(alert), seen) => match Refusal::of(*alert) {
                Some(why) => {
                    let client = self.client.as_ref().map(|identity| Box::new(identity.facts().clone()));
                    let node = Box::new(seen.map(|seen| seen.facts).unwrap_or_default());
                    Error::NotLetIn { endpoint, why, client, node }
                }
                None => Error::Tls { endpoint, source: error.clone() },
            },
            (error, _) => Error::Tls { endpoint, source: error.clone() },
        }
    }

    fn io(&self, source: io::Error) -> Error {
        Error::Io { endpoint: self.endpoint.clone(), source: Arc::new(source) }
    }

    fn late(&self, step: &'static str) -> Error {
        Error::Timeout { endpoint: self.endpoint.clone(), step, within: self.timeout }
    }
}
