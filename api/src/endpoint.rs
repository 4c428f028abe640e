//! Where a node's API is: how an operator writes it, and what is dialled.
//!
//! Invariant: parsing never asks the network; `host()` is what getaddrinfo understands (a zone such as `%eth0`
//! included), and shown again it parses to the same endpoint.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use rustls::pki_types::ServerName;

use crate::PORT;

/// A host and port: `node1`, `10.0.0.1:50000`, `[2001:db8::1]:50000`, `fe80::1%eth0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// What was given is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Nothing where the host should be.
    #[error("has no host; write host, host:port or [IPv6 address]:port")]
    NoHost,
    /// The part after the last colon is no port.
    #[error("port {0:?} is not a number from 1 to 65535")]
    Port(String),
    /// A bracket without its partner, or something between `]` and the port.
    #[error("brackets are only for an IPv6 address: [2001:db8::1]:50000")]
    Brackets,
    /// A character no host name has.
    #[error("{0:?} does not belong in a host name (no scheme, no path: host:port)")]
    Character(char),
}

impl Endpoint {
    /// The host as getaddrinfo takes it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name sent in the handshake, which the certificate must be for unless it is pinned.
    pub(crate) fn server_name(&self) -> ServerName<'static> {
        let bare = self.host.split('%').next().unwrap_or_default();
        // A host name rustls does not accept (an underscore, say) still can be dialled: then no name is sent, and only a pin
        // can make it the right one.
        ServerName::try_from(bare.to_owned()).unwrap_or(ServerName::IpAddress(Ipv6Addr::UNSPECIFIED.into()))
    }

    fn is_v6(&self) -> bool {
        self.host.contains(':')
    }
}

impl FromStr for Endpoint {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or(ParseError::Brackets)?;
            if !is_v6(host) {
                return Err(ParseError::Brackets);
            }
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(ParseError::Brackets),
            }
        } else if is_v6(text) {
            (text, None)
        } else {
            text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
        };
        if host.is_empty() {
            return Err(ParseError::NoHost);
        }
        let odd = |c: &char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%'));
        if let Some(char) = text.chars().filter(|c| !matches!(c, '[' | ']')).find(odd) {
            return Err(ParseError::Character(char));
        }
        let port = match port {
            None => PORT,
            Some(text) => {
                text.parse().ok().filter(|port| *port != 0).ok_or_else(|| ParseError::Port(text.to_owned()))?
            }
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Whether it is an IPv6 address, with or without a zone.
fn is_v6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').unwrap_or((host, "-"));
    !zone.is_empty() && address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6())
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.port == PORT, self.is_v6()) {
            (true, _) => write!(f, "{}", self.host),
            (false, true) => write!(f, "[{}]:{}", self.host, self.port),
            (false, false) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_forms() {
        for (text, host, port) in [
            ("node1", "node1", PORT),
            ("node1:7", "node1", 7),
            ("10.0.0.1", "10.0.0.1", PORT),
            ("10.0.0.1:50001", "10.0.0.1", 50001),
            ("2001:db8::1", "2001:db8::1", PORT),
            ("[2001:db8::1]", "2001:db8::1", PORT),
            ("[2001:db8::1]:50001", "2001:db8::1", 50001),
            ("fe80::1%eth0", "fe80::1%eth0", PORT),
            ("[fe80::1%eth0]:9", "fe80::1%eth0", 9),
            ("bücher.example", "bücher.example", PORT),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host(), endpoint.port()), (host, port), "{text}");
            assert_eq!(endpoint.to_string().parse(), Ok(endpoint), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for (text, error) in [
            ("", ParseError::NoHost),
            (":1", ParseError::NoHost),
            ("a:", ParseError::Port(String::new())),
            ("a:0", ParseError::Port("0".into())),
            ("a:65536", ParseError::Port("65536".into())),
            ("[a]:1", ParseError::Brackets),
            ("[::1", ParseError::Brackets),
            ("[::1]x", ParseError::Brackets),
            ("https://a", ParseError::Character('/')),
            ("a b", ParseError::Character(' ')),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(error), "{text}");
        }
    }

    fuzz::targets! {
        endpoint: |bytes| {
            let Ok(endpoint) = String::from_utf8_lossy(bytes).parse::<Endpoint>() else { return };
            assert_eq!(endpoint.to_string().parse(), Ok(endpoint.clone()));
            let _ = endpoint.server_name();
        },
    }
}
