//! Words of documents that have a grammar of their own: networks, hardware addresses, destinations, plain text.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::unit::text;

/// An address with the length of its network's prefix: `192.0.2.5/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("title" = "address/prefix", "pattern" = r"^[0-9a-fA-F.:]+/[0-9]{1,3}$"))]
pub struct Net(pub IpNet);

/// The hardware address of a link: `52:54:00:12:34:56`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("title" = "hardware address", "pattern" = "^[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}$"))]
pub struct Mac(pub [u8; 6]);

/// Where a route leads: a network, or `default`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String", extend("title" = "network or default", "pattern" = "^(default|[0-9a-fA-F.:]+/[0-9]{1,3})$"))]
pub enum Destination {
    /// Everything that no other route takes, in the family of `via`.
    Default,
    /// This network.
    Net(IpNet),
}

text!(Net, |text: &str| text.parse().ok().map(Net), "192.0.2.5/24 or 2001:db8::5/64");
text!(Mac, mac, "52:54:00:12:34:56");
text!(Destination, destination, "default, 198.51.100.0/24 or 2001:db8::/32");

fn mac(text: &str) -> Option<Mac> {
    let mut bytes = [0; 6];
    let mut parts = text.split([':', '-']);
    for byte in &mut bytes {
        let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(part, 16).ok()?;
    }
    parts.next().is_none().then_some(Mac(bytes))
}

fn destination(text: &str) -> Option<Destination> {
    if text == "default" {
        return Some(Destination::Default);
    }
    text.parse().ok().map(Destination::Net)
}

impl Deref for Net {
    type Target = IpNet;
    fn deref(&self) -> &IpNet {
        &self.0
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Net(net) => net.fmt(f),
        }
    }
}

/// Text, or a whole number that stands for its digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Text(pub String);

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Text".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyText)
    }
}

struct AnyText;

impl Visitor<'_> for AnyText {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a whole number; put anything else in quotes")
    }
    fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
        Ok(Text(value.to_string()))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<Text, E> {
        Ok(Text(value.to_owned()))
    }
}

/// Whether this may be the name of a host: labels of letters, digits and `-`, at most 63 each and 253 together.
pub(crate) fn is_host_name(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Whether this is an address, or may be the name of a host; `300.1.2.3` is neither.
pub(crate) fn is_host(text: &str) -> bool {
    let numbers = text.split('.').next_back().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    text.parse::<IpAddr>().is_ok() || (is_host_name(text) && !numbers)
}

/// `host:port`, IPv6 addresses in brackets.
pub(crate) fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    is_bare_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// `host` or `host:port`, IPv6 addresses in brackets: what is served there.
pub(crate) fn is_authority(text: &str) -> bool {
    is_endpoint(text) || is_bare_host(text)
}

/// A host as it stands before a port.
fn is_bare_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host(host) && !host.contains(':'),
    }
}

/// Whether Linux takes this as the name of a link: at most 15 bytes, no `/`, `:` or space.
pub(crate) fn is_link_name(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && text != "."
        && text != ".."
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'))
}

/// Whether this is a name for a document that names nothing outside of it.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && !text.starts_with(['-', '.'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}
/// What [`is_name`] asks for.
pub(crate) const NAME: &str = "expected 1 to 63 of letters, digits, -, . and _, not - or . first";
