//! What the gateway tells machined about a client before the client's own bytes: its address and its certificate.
//!
//! Invariant: at most 8 KiB, strict; what `parse` accepts, `format` wrote. The gateway vouches for every word of it, and
//! machined believes it only from the gateway's uid. Written by `gateway::session`, read by `server::accept`.

use std::{fmt, net::SocketAddr};

use tokio::io::AsyncRead;

use super::wire::{self, Decoder, Encoder, Error, Kind};

const KIND: Kind = Kind { magic: *b"STLP", version: 3, limit: 8192 - 9 };

/// A distinguished name longer than this is nobody we issued to.
const MAX_SUBJECT: usize = 1024;

/// Roles are Organizations, and there are four.
const MAX_ORGANISATIONS: usize = 16;

/// Longest text of one Organization (RFC 5280 allows 64 characters, of up to four bytes).
const MAX_ORGANISATION: usize = 256;

/// Longest text of a common name (RFC 5280 allows 64 characters, of up to four bytes).
const MAX_NAME: usize = 256;

/// Names of a node's certificate; nodes ask for 64 at most.
const MAX_NAMES: usize = 96;

/// Longest DNS name.
const MAX_DNS: usize = 255;

/// Longest text of an IPv6 address with scope and port.
const MAX_ADDRESS: usize = 80;

/// Who is at the other end of a connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Preamble {
    /// The client's address; an IPv4 client is shown as IPv4.
    pub address: SocketAddr,
    /// The certificate that the gateway has verified; none in maintenance.
    pub certificate: Option<Certificate>,
}

/// What of a client's certificate matters.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The distinguished name, as RFC 4514 text.
    pub subject: String,
    /// Of it, the common name; "" without one.
    pub common_name: String,
    /// Its Organizations: the roles.
    pub organisations: Vec<String>,
    /// SHA-256 of the DER certificate.
    pub fingerprint: [u8; 32],
    /// Whether the rescue authority signed it: machined shouts about it.
    pub rescue: bool,
    /// DNS names and addresses of a node's; of others none are told.
    pub names: Vec<String>,
    /// Valid from, in seconds since 1970.
    pub not_before: i64,
    /// Valid until, in seconds since 1970.
    pub not_after: i64,
}

impl Preamble {
    /// The frame to send; fails when a name is longer than machined would take.
    pub fn format(&self) -> Result<Vec<u8>, Error> {
        let mut frame = Encoder::new(KIND);
        frame.field(self.address.to_string().as_bytes());
        match &self.certificate {
            None => frame.number(0),
            Some(certificate) => {
                frame.number(1);
                frame.field(certificate.subject.as_bytes());
                frame.field(certificate.common_name.as_bytes());
                frame.number(certificate.organisations.len());
                certificate.organisations.iter().for_each(|organisation| frame.field(organisation.as_bytes()));
                frame.field(&certificate.fingerprint);
                frame.number(usize::from(certificate.rescue));
                frame.number(certificate.names.len());
                certificate.names.iter().for_each(|name| frame.field(name.as_bytes()));
                frame.field(&certificate.not_before.to_be_bytes());
                frame.field(&certificate.not_after.to_be_bytes());
            }
        }
        frame.finish()
    }

    /// Reads one from the start of a connection.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, Error> {
        Self::parse(&wire::read(KIND, stream).await?)
    }

    fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut fields = Decoder::new(body);
        let text = fields.text("address", MAX_ADDRESS)?;
        let address: SocketAddr = text.parse().map_err(|_| Error::Invalid("address"))?;
        if address.to_string() != text {
            return Err(Error::Invalid("address"));
        }
        let certificate = match fields.number("has certificate", 1)? {
            0 => None,
            _ => Some(Certificate::parse(&mut fields)?),
        };
        fields.finish()?;
        Ok(Self { address, certificate })
    }
}

impl Certificate {
    fn parse(fields: &mut Decoder<'_>) -> Result<Self, Error> {
        let subject = fields.text("subject", MAX_SUBJECT)?.to_owned();
        let common_name = fields.text("common name", MAX_NAME)?.to_owned();
        let organisations = list(fields, "organisation", MAX_ORGANISATIONS, MAX_ORGANISATION)?;
        let fingerprint = fields.field("fingerprint")?.try_into().map_err(|_| Error::Invalid("fingerprint"))?;
        let rescue = fields.number("rescue", 1)? == 1;
        let names = list(fields, "name", MAX_NAMES, MAX_DNS)?;
        let not_before = time(fields, "not before")?;
        let not_after = time(fields, "not after")?;
        Ok(Self { subject, common_name, organisations, fingerprint, rescue, names, not_before, not_after })
    }
}

fn time(fields: &mut Decoder<'_>, name: &'static str) -> Result<i64, Error> {
    Ok(i64::from_be_bytes(fields.field(name)?.try_into().map_err(|_| Error::Invalid(name))?))
}

fn list(fields: &mut Decoder<'_>, name: &'static str, most: usize, longest: usize) -> Result<Vec<String>, Error> {
    let count = fields.number(name, most)?;
    (0..count).map(|_| fields.text(name, longest).map(str::to_owned)).collect()
}

impl fmt::Debug for Preamble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.address)?;
        match &self.certificate {
            None => f.write_str("without certificate"),
            Some(certificate) => write!(f, "{certificate:?}"),
        }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.subject, self.organisations)?;
        if self.rescue { f.write_str(" (rescue)") } else { Ok(()) }
    }
}

#[cfg(test)]
#[path = "preamble/tests.rs"]
mod tests;
