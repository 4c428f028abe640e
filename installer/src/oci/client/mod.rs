//! HTTP towards one registry or mirror of it: TLS with the public authorities and its own, a proxy, credentials, redirects.
//!
//! Invariant: every wait has a deadline, nothing that a server sends is kept beyond a limit, and credentials go to the registry
//! itself or to the service that it names for tokens, never along a redirect.

mod auth;
mod body;
mod connect;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use config::image::pull::{Auth, Check, Endpoint};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

pub(super) use body::Body;

use super::endpoint::Address;
use super::failure::Failure;

/// To the real place of a blob, and to HTTPS.
const REDIRECTS: usize = 5;
/// Of one read, and of all headers together.
const BUFFER: usize = 64 * 1024;
/// Name, connection, TLS: each.
const CONNECT: Duration = Duration::from_secs(10);

/// What is sent along.
pub(super) type Sent = UnsyncBoxBody<Bytes, std::io::Error>;

/// Nothing is sent along.
pub(super) fn nothing() -> Sent {
    http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Asks one endpoint.
pub(super) struct Client {
    pub(super) address: Address,
    tls: TlsConnector,
    proxy: Option<connect::Proxy>,
    auth: Option<Auth>,
    /// What was asked for with success, as a header.
    authorization: Option<HeaderValue>,
    /// Without a byte.
    stall: Duration,
}

/// What a server answers.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Client {
    pub(super) fn new(endpoint: &Endpoint, stall: Duration) -> Result<Self, Failure> {
        let address = Address::parse(&endpoint.url, "registry")?;
        let proxy = endpoint.proxy.as_ref().map(connect::Proxy::new).transpose()?;
        let authorization = match &endpoint.auth {
            Some(Auth::Token(token)) => Some(auth::bearer(token.as_str())?),
            _ => None,
        };
        let tls = tls(endpoint)?;
        Ok(Self { address, tls, proxy, auth: endpoint.auth.clone(), authorization, stall })
    }

    /// Asks for what is there, wherever that leads.
    pub(super) async fn get(&mut self, path: &str, headers: &[(HeaderName, String)]) -> Result<Answer, Failure> {
        let mut url = self.address.url(path)?;
        let mut answer = self.ask(&Method::GET, &url, headers, nothing).await?;
        for _ in 0..REDIRECTS {
            if !answer.status.is_redirection() {
                return Ok(answer);
            }
            let to = answer.headers.get(header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or_default();
            let here = Address::of(&url).ok_or_else(|| self.refused("leads nowhere"))?;
            url = here.follow(to).ok_or_else(|| self.refused("leads to an address that is not followed"))?;
            answer = self.ask(&Method::GET, &url, headers, nothing).await?;
        }
        Err(self.refused("leads to other addresses again and again"))
    }

    /// One question, a second time with credentials when they are asked for.
    pub(super) async fn ask(
        &mut self,
        method: &Method,
        url: &Uri,
        headers: &[(HeaderName, String)],
        body: impl Fn() -> Sent,
    ) -> Result<Answer, Failure> {
        let own = Address::of(url).is_some_and(|to| to.same_origin(&self.address));
        let authorization = self.authorization.clone().filter(|_| own);
        let answer = self.send(method, url, headers, authorization, body()).await?;
        if answer.status != StatusCode::UNAUTHORIZED || !own {
            return Ok(answer);
        }
        self.authorize(&answer.headers).await?;
        let answer = self.send(method, url, headers, self.authorization.clone(), body()).await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let what = if self.auth.is_some() {
                "user and password are not taken"
            } else {
                "nobody may ask without a password"
            };
            return Err(Failure::new(Check::Auth, format!("{}: {what}", self.address)));
        }
        Ok(answer)
    }

    /// One request on a connection of its own, which lives as long as the answer is read.
    async fn send(
        &self,
        method: &Method,
        url: &Uri,
        headers: &[(HeaderName, String)],
        authorization: Option<HeaderValue>,
        body: Sent,
    ) -> Result<Answer, Failure> {
        let to = Address::of(url).ok_or_else(|| self.refused("leads nowhere"))?;
        let stream = connect::open(&to, self.proxy.as_ref(), &self.tls).await?;
        let broken =
            |error: hyper::Error| Failure::passing(Check::Unreachable, format!("{to} broke off: {}", chain(&error)));
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // who gives plain HTTP to a proxy says where it is to go
        let by_proxy = self.proxy.as_ref().filter(|_| !to.secure);
        let target = match by_proxy {
            Some(_) => url.to_string(),
            None => url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned(),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, &to.authority)
            .header(header::USER_AGENT, concat!("stele/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT_ENCODING, "identity")
            .header(header::CONNECTION, "close");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        if let Some(value) = by_proxy.and_then(|proxy| proxy.authorization.clone()) {
            request = request.header(header::PROXY_AUTHORIZATION, value);
        }
        let request =
            request.body(body).map_err(|_| Failure::new(Check::Request, format!("{to} cannot be asked that")))?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        // what is sent may be large: the server's silence counts, not the time it takes
        let sending = sender.send_request(request);
        let answer = if method == Method::GET || method == Method::HEAD {
            timeout(self.stall, sending).await.map_err(|_| self.silent(&to))?
        } else {
            sending.await
        };
        let (head, incoming) = answer.map_err(broken)?.into_parts();
        let body = Body::new(incoming, driver, self.stall, to.to_string());
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    fn silent(&self, to: &Address) -> Failure {
        Failure::passing(Check::Unreachable, format!("{to} did not answer within {} s", self.stall.as_secs()))
    }

    fn refused(&self, what: &str) -> Failure {
        Failure::new(Check::Unreachable, format!("{} {what}", self.address))
    }
}

impl Answer {
    /// The failure that a status means; `what` was asked for.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let message = format!("{what}: the registry answers {}", self.status);
        match self.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                Failure::new(Check::Auth, message)
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Failure::new(Check::Missing, message),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
                Failure::passing(Check::Unreachable, message)
            }
            status if status.is_server_error() => Failure::passing(Check::Unreachable, message),
            _ => Failure::new(Check::Unreachable, message),
        }
    }
}

/// Public authorities as Mozilla trusts them, and the endpoint's own.
fn tls(endpoint: &Endpoint) -> Result<TlsConnector, Failure> {
    let wrong = |why: String| Failure::new(Check::Request, format!("the authorities of {}: {why}", endpoint.url));
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for pem in &endpoint.ca {
        let mut found = 0;
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
            found += 1;
        }
        if found == 0 {
            return Err(wrong("there is no certificate in the text".to_owned()));
        }
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
