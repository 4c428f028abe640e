//! Keys, requests, certificates and the authorities that sign them. Pure but for the random numbers and the clock.
//!
//! Invariant: keys are ECDSA P-256; serial numbers are random; a certificate says what its signer grants, and of a request
//! nothing but the key is taken over. Secrets are wiped when they are dropped and never printed. Used by `apictl`, machined
//! and the tests of both.
//!
//! ```text
//! Key::make ── request ──▶ Request ──▶ Ca::sign_client, sign_rescue, sign_node ──▶ Certificate
//! ```

mod ca;
mod certificate;
mod key;
mod sign;

pub use ca::Ca;
pub use certificate::Certificate;
pub use key::{Key, Request};
pub use sign::{BACK, Client, Node, RESCUE};

/// Why there is no key, request or certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The library failed to make or sign one.
    #[error("cannot make {what}: {why}")]
    Make {
        /// "a key", "a certificate".
        what: &'static str,
        /// What the library says.
        why: String,
    },
    /// Not PEM, or PEM of something else.
    #[error("this is not {what} in PEM: {why}")]
    Pem {
        /// "a certificate", "a private key".
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// PEM, but not what it says.
    #[error("{what} does not parse: {why}")]
    Parse {
        /// "the certificate", "the private key".
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Key and certificate of an authority are of two.
    #[error("the private key is not that of the certificate {0}")]
    Foreign(String),
    /// A certificate that may not sign.
    #[error("{0} is not the certificate of an authority: it may not sign certificates")]
    NoAuthority(String),
    /// An authority past its end.
    #[error("the authority {subject} is not valid any more: it ended {ended}")]
    Ended {
        /// Its subject.
        subject: String,
        /// When.
        ended: String,
    },
    /// A request that was changed on its way, or whose key its maker does not have.
    #[error("the request is not signed by its own key")]
    Unsigned,
    /// A name that cannot be in a certificate.
    #[error("{0:?} is neither an IP address nor a DNS name")]
    Name(String),
    /// Something that is asked for and not granted.
    #[error("{0}")]
    Refused(String),
}

/// Every block of this kind in a PEM text, in order.
fn pem_blocks(what: &'static str, tags: &[&str], text: &str) -> Result<Vec<zeroize::Zeroizing<Vec<u8>>>, Error> {
    let blocks = pem::parse_many(text).map_err(|error| Error::Pem { what, why: error.to_string() })?;
    let blocks: Vec<_> = blocks
        .into_iter()
        .filter(|block| tags.contains(&block.tag()))
        .map(|block| zeroize::Zeroizing::new(block.into_contents()))
        .collect();
    if blocks.is_empty() {
        return Err(Error::Pem { what, why: format!("it has no block BEGIN {}", tags.join(" or ")) });
    }
    Ok(blocks)
}

/// DER as PEM, with Unix line ends.
fn pem_text(tag: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), config)
}

#[cfg(test)]
mod tests;
