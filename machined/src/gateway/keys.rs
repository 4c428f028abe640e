//! The message by which machined gives the gateway its keys or takes them back, and the gateway's answer.
//!
//! Invariant: the private key is wiped from every buffer of ours once the TLS library has it; it is never on disk. Sent by
//! `server::keys` after every change and every new connection, received by `gateway::follow`.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use tokio::io::AsyncRead;
use zeroize::Zeroizing;

use super::wire::{self, Decoder, Encoder, Error, Kind};

/// 1 MiB: a chain, dozens of authorities and thousands of revocations.
const KEYS: Kind = Kind { magic: *b"STLK", version: 3, limit: 1 << 20 };

/// The gateway's answer: empty, or why it cannot use the keys.
const ANSWER: Kind = Kind { magic: *b"STLA", version: 1, limit: 1024 };

/// A certificate chain is at most this long; ours are two.
const MAX_CHAIN: usize = 8;

/// Authorities: one, two while they are changed, and the rescue authority; with room.
const MAX_ACCEPTED: usize = 64;

/// Allowed networks; with room.
const MAX_ALLOWED: usize = 1024;

/// Revocations, 36 bytes each.
const MAX_REVOKED: usize = 16 * 1024;

/// What the gateway needs to speak TLS for this node.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Own certificate first, then its issuers; DER.
    pub chain: Vec<Vec<u8>>,
    /// The certificate's private key; PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
    /// Authorities whose client certificates are accepted. Empty: maintenance, no client is asked for one.
    pub accepted: Vec<Accepted>,
    /// Networks that clients may come from; empty: all. The loopback may always, and so may who has a certificate of the rescue.
    pub allow: Vec<IpNet>,
    /// SHA-256 of the DER of each client certificate that is no longer accepted.
    pub revoked: Vec<[u8; 32]>,
    /// Whether the machine's clock was set by somebody who knows. While it was not, a certificate that is not valid *yet* is
    /// let in.
    pub clock_sure: bool,
}

/// An authority whose client certificates are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Accepted {
    /// Its certificate.
    pub der: Vec<u8>,
    /// Whether it is the rescue's: what it signs is let in only when it is valid for 24 hours at most, and machined is told.
    pub rescue: bool,
}

impl Keys {
    fn encode(&self, frame: &mut Encoder) {
        let mut list = |items: &[Vec<u8>]| {
            frame.number(items.len());
            items.iter().for_each(|item| frame.field(item));
        };
        list(&self.chain);
        frame.number(self.accepted.len());
        for accepted in &self.accepted {
            frame.number(usize::from(accepted.rescue));
            frame.field(&accepted.der);
        }
        frame.number(self.allow.len());
        for network in &self.allow {
            match network.addr() {
                IpAddr::V4(address) => frame.field(&address.octets()),
                IpAddr::V6(address) => frame.field(&address.octets()),
            }
            frame.number(network.prefix_len().into());
        }
        frame.number(self.revoked.len());
        self.revoked.iter().for_each(|digest| frame.field(digest));
        frame.number(usize::from(self.clock_sure));
        frame.field(&self.key);
    }

    fn decode(fields: &mut Decoder<'_>) -> Result<Self, Error> {
        let count = fields.number("chain", MAX_CHAIN)?;
        let chain = (0..count).map(|_| fields.field("chain").map(<[u8]>::to_vec)).collect::<Result<_, _>>()?;
        let count = fields.number("accepted", MAX_ACCEPTED)?;
        let accepted = (0..count).map(|_| Accepted::decode(fields)).collect::<Result<_, _>>()?;
        let count = fields.number("allow", MAX_ALLOWED)?;
        let allow = (0..count).map(|_| network(fields)).collect::<Result<_, _>>()?;
        let count = fields.number("revoked", MAX_REVOKED)?;
        let digest = |bytes: &[u8]| bytes.try_into().map_err(|_| Error::Invalid("revoked"));
        let revoked = (0..count).map(|_| fields.field("revoked").and_then(digest)).collect::<Result<_, _>>()?;
        let clock_sure = fields.number("clock", 1)? == 1;
        let key = Zeroizing::new(fields.field("key")?.to_vec());
        Ok(Self { chain, key, accepted, allow, revoked, clock_sure })
    }
}

impl Accepted {
    fn decode(fields: &mut Decoder<'_>) -> Result<Self, Error> {
        let rescue = fields.number("rescue", 1)? == 1;
        Ok(Self { der: fields.field("accepted")?.to_vec(), rescue })
    }
}

fn network(fields: &mut Decoder<'_>) -> Result<IpNet, Error> {
    let wrong = Error::Invalid("allow");
    let bytes = fields.field("allow")?;
    let address: IpAddr = match (<[u8; 4]>::try_from(bytes), <[u8; 16]>::try_from(bytes)) {
        (Ok(v4), _) => v4.into(),
        (_, Ok(v6)) => v6.into(),
        _ => return Err(wrong),
    };
    let prefix = u8::try_from(fields.number("prefix", 128)?).map_err(|_| Error::Invalid("prefix"))?;
    IpNet::new(address, prefix).map_err(|_| wrong)
}

/// The frame to send. Without keys the gateway serves nobody.
pub fn format(keys: Option<&Keys>) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut frame = Encoder::new(KEYS);
    frame.number(usize::from(keys.is_some()));
    if let Some(keys) = keys {
        keys.encode(&mut frame);
    }
    frame.finish().map(Zeroizing::new)
}

/// Reads one frame. Not cancel-safe.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<Keys>, Error> {
    parse(&Zeroizing::new(wire::read(KEYS, stream).await?))
}

fn parse(body: &[u8]) -> Result<Option<Keys>, Error> {
    let mut fields = Decoder::new(body);
    let keys = match fields.number("keys", 1)? {
        0 => None,
        _ => Some(Keys::decode(&mut fields)?),
    };
    fields.finish()?;
    Ok(keys)
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, accepted, allow, revoked, clock_sure, key: _ } = self;
        let (chain, accepted, revoked) = (chain.len(), accepted.len(), revoked.len());
        write!(
            f,
            "Keys({chain} certificates, {accepted} accepted, {revoked} revoked, from {allow:?}, clock {clock_sure})"
        )
    }
}

/// Formats the gateway's answer: `None` when the keys are in use, else why not.
pub fn format_answer(refusal: Option<&str>) -> Result<Vec<u8>, Error> {
    let mut frame = Encoder::new(ANSWER);
    let text: String = refusal.unwrap_or_default().chars().filter(|c| !c.is_control()).take(200).collect();
    frame.field(text.as_bytes());
    frame.finish()
}

/// Reads the gateway's answer.
pub async fn read_answer(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<String>, Error> {
    let body = wire::read(ANSWER, stream).await?;
    let mut fields = Decoder::new(&body);
    let text = fields.text("answer", 1024)?.to_owned();
    fields.finish()?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn keys_and_answers_round_trip_and_hide_the_key() {
        let keys = Keys {
            chain: vec![vec![1; 400], vec![2; 300]],
            key: Zeroizing::new(vec![77; 138]),
            accepted: vec![Accepted { der: vec![3; 500], rescue: false }, Accepted { der: vec![6; 500], rescue: true }],
            allow: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            revoked: vec![[4; 32], [5; 32]],
            clock_sure: true,
        };
        for sent in [None, Some(&keys)] {
            let frame = format(sent).unwrap();
            assert_eq!(read(&mut frame.as_slice()).await.unwrap().as_ref(), sent);
        }
        assert!(!format!("{keys:?}").contains("77"));
        for answer in [None, Some("the key does not fit\nthe certificate")] {
            let frame = format_answer(answer).unwrap();
            let read = read_answer(&mut frame.as_slice()).await.unwrap();
            assert_eq!(read, answer.map(|text| text.replace('\n', "")));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(keys) = parse(&body) {
                prop_assert_eq!(&format(keys.as_ref()).unwrap()[9..], &body[..]);
            }
        }
    }

    fuzz::targets! {
        keys: |bytes| {
            if let Some(Ok(Some(keys))) = read(&mut &bytes[..]).now_or_never() {
                // What the gateway does with them: nothing in them may end it.
                let _ = crate::gateway::tls::Terms::build(&keys);
            }
            if let Ok(keys) = parse(bytes) {
                assert_eq!(format(keys.as_ref()).unwrap()[9..], *bytes);
            }
            let _ = read_answer(&mut &bytes[..]).now_or_never();
        },
        client_certificate: |bytes| {
            if let Ok((certificate, _)) = crate::gateway::tls::describe(bytes, true) {
                let address = "[::1]:1".parse().unwrap();
                let preamble = crate::gateway::preamble::Preamble { address, certificate: Some(certificate) };
                // machined takes what the gateway could write, or the gateway says that it cannot.
                if let Ok(frame) = preamble.format() {
                    let _ = crate::gateway::preamble::Preamble::read(&mut frame.as_slice()).now_or_never();
                }
            }
        },
    }
}
