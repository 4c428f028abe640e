//! A file from a URL, over HTTP or HTTPS. Bounded in time, in size and in redirects; no cookies, no proxy.
//!
//! Invariant: what comes is at most [`RAW`] bytes. Errors name the address without what stands behind its `?`, which may be a
//! token. Nobody is trusted but public authorities: before the first configuration there are no others.

use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::{Either, select};
use http::{Request, Response, StatusCode, Uri, header, uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::decode::RAW;
use crate::trace::chain;

/// Name, connection and TLS together, for each address.
const CONNECT: Duration = Duration::from_secs(10);
/// Without a byte.
const STALL: Duration = Duration::from_secs(15);
/// A whole file, redirects too: 16 MiB over a bad line.
const WHOLE: Duration = Duration::from_secs(120);
/// From a short address to the real one, and to HTTPS.
const REDIRECTS: usize = 3;
/// Some kilobytes are usual.
const HEADERS: usize = 64 * 1024;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{0} is no address of a file: expected http://HOST/PATH/ or https://HOST/PATH/, without user or password")]
    Address(String),
    #[error("no address is known for {0}")]
    Name(String, #[source] std::io::Error),
    #[error("no connection to {0}")]
    Connect(String, #[source] std::io::Error),
    #[error("{0} did not answer within {1} s")]
    Slow(String, u64),
    #[error("{0} does not speak HTTP as it should")]
    Http(String, #[source] hyper::Error),
    #[error("{0} answers {1}")]
    Status(String, StatusCode),
    #[error("{0} is larger than {mib} MiB", mib = RAW >> 20)]
    Large(String),
    #[error("{0} leads to other addresses more than {most} times", most = REDIRECTS)]
    Redirects(String),
    #[error("{0} leads to {1}, which is not followed")]
    Redirect(String, String),
}

/// Fetches files.
#[derive(Clone)]
pub(super) struct Client {
    tls: TlsConnector,
}

/// What may be shown of an address.
pub(super) fn shown(url: &Uri) -> String {
    let host = url.authority().map_or("", |authority| authority.as_str().rsplit('@').next().unwrap_or_default());
    format!("{}://{host}{}", url.scheme_str().unwrap_or_default(), url.path())
}

/// An address of ours.
pub(super) fn parse(text: &str) -> Result<Uri, Error> {
    let url: Uri = text.parse().map_err(|_| Error::Address("this".into()))?;
    let scheme = matches!(url.scheme_str(), Some("http" | "https"));
    let plain =
        url.authority().is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty());
    if scheme && plain { Ok(url) } else { Err(Error::Address(shown(&url))) }
}

/// Public authorities, as Mozilla trusts them.
static PUBLIC: LazyLock<Arc<RootCertStore>> =
    LazyLock::new(|| Arc::new(RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }));

/// Asks a URL, and whether it is answered with success; why not. With authorities of the machine's own, only they count.
pub async fn answers(url: &str, authorities: &Path) -> Result<(), String> {
    let ask = async {
        let url = parse(url).map_err(|error| chain(&error))?;
        let client = match std::fs::read(authorities) {
            Ok(text) => Client::trusting(Arc::new(roots(&text))),
            Err(_) => Client::new(),
        };
        let client = client.map_err(|error| error.to_string())?;
        client.get(&url).await.map_err(|error| chain(&error))?.ok_or_else(|| format!("{} is not there", shown(&url)))
    };
    ask.await.map(drop)
}

fn roots(text: &[u8]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = pem::parse_many(text).unwrap_or_default();
    roots.add_parsable_certificates(found.into_iter().map(|one| one.into_contents().into()));
    roots
}

impl Client {
    /// Trusts public authorities.
    pub(super) fn new() -> Result<Self, rustls::Error> {
        Self::trusting(PUBLIC.clone())
    }

    fn trusting(roots: Arc<RootCertStore>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)) })
    }

    /// The file; none when the server says that there is none. Cancel-safe.
    pub(super) async fn get(&self, url: &Uri) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let late = |_| Error::Slow(shown(url), WHOLE.as_secs());
        timeout(WHOLE, self.follow(url)).await.map_err(late)?
    }

    async fn follow(&self, first: &Uri) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let mut url = first.clone();
        for _ in 0..=REDIRECTS {
            match self.once(&url).await? {
                Answer::File(file) => return Ok(file),
                Answer::Elsewhere(to) => url = elsewhere(&url, &to)?,
            }
        }
        Err(Error::Redirects(shown(first)))
    }

    async fn once(&self, url: &Uri) -> Result<Answer, Error> {
        let secure = url.scheme() == Some(&uri::Scheme::HTTPS);
        let host = url.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = dial(url, &host, port).await?;
        if !secure {
            return ask(url, stream).await;
        }
        let name = ServerName::try_from(host).map_err(|_| Error::Address(shown(url)))?;
        let stream = match timeout(CONNECT, self.tls.connect(name, stream)).await {
            Ok(stream) => stream.map_err(|error| Error::Connect(shown(url), error))?,
            Err(_) => return Err(Error::Slow(shown(url), CONNECT.as_secs())),
        };
        ask(url, stream).await
    }
}

enum Answer {
    File(Option<Zeroizing<Vec<u8>>>),
    Elsewhere(String),
}

/// Tries every address of the host.
async fn dial(url: &Uri, host: &str, port: u16) -> Result<TcpStream, Error> {
    let slow = || Error::Slow(shown(url), CONNECT.as_secs());
    let found = timeout(CONNECT, lookup_host((host, port))).await.map_err(|_| slow())?;
    let mut last = Error::Name(host.to_owned(), std::io::ErrorKind::NotFound.into());
    for address in found.map_err(|error| Error::Name(host.to_owned(), error))? {
        last = match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => Error::Connect(shown(url), error),
            Err(_) => slow(),
        };
    }
    Err(last)
}

/// One request on a connection of its own, which is driven as long as the answer is read.
async fn ask(url: &Uri, stream: impl AsyncRead + AsyncWrite + Send + Unpin) -> Result<Answer, Error> {
    let broken = |error| Error::Http(shown(url), error);
    let mut builder = http1::Builder::new();
    let (mut sender, connection) =
        builder.max_buf_size(HEADERS).handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let path = url.path_and_query().map_or("/", uri::PathAndQuery::as_str);
    let request = Request::get(path)
        .header(header::HOST, url.authority().map_or("", uri::Authority::as_str))
        .header(header::USER_AGENT, concat!("stele/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|_| Error::Address(shown(url)))?;
    let work = pin!(async {
        let slow = |_| Error::Slow(shown(url), STALL.as_secs());
        let response = timeout(STALL, sender.send_request(request)).await.map_err(slow)?.map_err(broken)?;
        answer(url, response).await
    });
    match select(work, pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        // What has come may not have been read yet.
        Either::Right((_, work)) => work.await,
    }
}

async fn answer(url: &Uri, response: Response<Incoming>) -> Result<Answer, Error> {
    match response.status() {
        status if status.is_success() => body(url, response.into_body()).await.map(|file| Answer::File(Some(file))),
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Answer::File(None)),
        status if status.is_redirection() => {
            let to = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            to.map(|to| Answer::Elsewhere(to.to_owned())).ok_or_else(|| Error::Status(shown(url), status))
        }
        status => Err(Error::Status(shown(url), status)),
    }
}

async fn body(url: &Uri, mut body: Incoming) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut file = Zeroizing::new(Vec::new());
    let slow = |_| Error::Slow(shown(url), STALL.as_secs());
    while let Some(frame) = timeout(STALL, body.frame()).await.map_err(slow)? {
        let frame = frame.map_err(|error| Error::Http(shown(url), error))?;
        let data = frame.data_ref().map_or(&[][..], |data| data);
        if file.len() + data.len() > RAW {
            return Err(Error::Large(shown(url)));
        }
        file.extend_from_slice(data);
    }
    Ok(file)
}

/// A redirect to a whole address, or to another path of the same server; never from HTTPS to HTTP.
fn elsewhere(from: &Uri, to: &str) -> Result<Uri, Error> {
    let refused = |to: &str| Error::Redirect(shown(from), to.split('?').next().unwrap_or_default().to_owned());
    let whole = match (to.starts_with('/') && !to.starts_with("//"), from.scheme_str(), from.authority()) {
        (true, Some(scheme), Some(authority)) => format!("{scheme}://{authority}{to}"),
        _ => to.to_owned(),
    };
    let next = parse(&whole).map_err(|_| refused(to))?;
    let weaker = from.scheme() == Some(&uri::Scheme::HTTPS) && next.scheme() != from.scheme();
    if weaker { Err(refused(to)) } else { Ok(next) }
}

#[cfg(test)]
mod tests;
