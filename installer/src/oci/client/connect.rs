//! Connections: to each address of a name in turn, through a proxy when there is one, with TLS.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::image::pull::{self, Check, Login};
use http::HeaderValue;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{CONNECT, chain};
use crate::oci::endpoint::Address;
use crate::oci::failure::Failure;

/// The answer of a proxy to CONNECT: a line and some headers.
const ANSWER: usize = 8 * 1024;

/// A way out.
pub(super) struct Proxy {
    address: Address,
    pub(super) authorization: Option<HeaderValue>,
}

impl Proxy {
    pub(super) fn new(proxy: &pull::Proxy) -> Result<Self, Failure> {
        let address = Address::parse(&proxy.url, "proxy")?;
        let authorization = proxy.login.as_ref().map(basic).transpose()?;
        Ok(Self { address, authorization })
    }
}

/// User and password as a header.
pub(super) fn basic(login: &Login) -> Result<HeaderValue, Failure> {
    let text = STANDARD.encode(format!("{}:{}", login.user, login.password.as_str()));
    secret(&format!("Basic {text}"))
}

/// A header that is in no log.
pub(super) fn secret(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Failure::new(Check::Request, "a token has characters that no header can hold"))?;
    value.set_sensitive(true);
    Ok(value)
}

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection on which HTTP can be spoken to `to`.
pub(super) async fn open(to: &Address, proxy: Option<&Proxy>, tls: &TlsConnector) -> Result<Box<dyn Stream>, Failure> {
    let Some(proxy) = proxy else {
        let stream = dial(to).await?;
        return if to.secure { secure(stream, to, tls).await } else { Ok(Box::new(stream)) };
    };
    let stream = dial(&proxy.address).await?;
    let mut stream: Box<dyn Stream> =
        if proxy.address.secure { secure(stream, &proxy.address, tls).await? } else { Box::new(stream) };
    if !to.secure {
        return Ok(stream);
    }
    let asked = timeout(CONNECT, tunnel(&mut stream, to, proxy)).await;
    asked.map_err(|_| slow(&proxy.address))??;
    secure(stream, to, tls).await
}

/// Each address of the host in turn.
async fn dial(to: &Address) -> Result<TcpStream, Failure> {
    let failed =
        |why: String| Failure::passing(Check::Unreachable, format!("no connection to {}: {why}", to.with_port()));
    let found = timeout(CONNECT, lookup_host((to.host.as_str(), to.port))).await.map_err(|_| slow(to))?;
    let mut last = failed("no address is known for the name".to_owned());
    for address in found.map_err(|error| failed(error.to_string()))? {
        last = match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed(error.to_string()),
            Err(_) => slow(to),
        };
    }
    Err(last)
}

async fn secure(stream: impl Stream + 'static, to: &Address, tls: &TlsConnector) -> Result<Box<dyn Stream>, Failure> {
    let name = ServerName::try_from(to.host.clone())
        .map_err(|_| Failure::new(Check::Request, format!("{} is no name of a server", to.host)))?;
    match timeout(CONNECT, tls.connect(name, stream)).await {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => {
            let message = format!("no TLS with {}: {}", to.with_port(), chain(&error));
            let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            Err(match refused {
                Some(rustls::Error::InvalidCertificate(_)) => Failure::new(Check::Unreachable, message).remedy(
                    "look at the machine's clock, and name the registry's authority in `kind: Registry` (or TrustedRoots)",
                ),
                _ => Failure::passing(Check::Unreachable, message),
            })
        }
        Err(_) => Err(slow(to)),
    }
}

fn slow(to: &Address) -> Failure {
    let message = format!("no connection to {} within {} s", to.with_port(), CONNECT.as_secs());
    Failure::passing(Check::Unreachable, message)
}

/// Has the proxy connect us (RFC 9110, section 9.3.6). Read byte by byte: what comes behind the empty line is not ours.
async fn tunnel(stream: &mut Box<dyn Stream>, to: &Address, proxy: &Proxy) -> Result<(), Failure> {
    let failed = |why: String| Failure::passing(Check::Unreachable, format!("the proxy {}: {why}", proxy.address));
    let host = to.with_port();
    let mut request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n").into_bytes();
    if let Some(value) = &proxy.authorization {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(value.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    stream.write_all(&request).await.map_err(|error| failed(error.to_string()))?;
    stream.flush().await.map_err(|error| failed(error.to_string()))?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == ANSWER {
            return Err(failed("does not answer as a proxy".to_owned()));
        }
        answer.push(stream.read_u8().await.map_err(|error| failed(error.to_string()))?);
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).unwrap_or_default();
    match status {
        "200" => Ok(()),
        "407" => Err(Failure::new(Check::Auth, format!("the proxy {} wants user and password", proxy.address))),
        _ => {
            let line = text.lines().next().unwrap_or_default();
            Err(failed(format!("answers {}", crate::oci::spec::printable(line))))
        }
    }
}
