//! Why there is no connection to a node: one variant for each thing an operator does something else about.

use std::{borrow::Cow, io, sync::Arc, time::Duration};

use super::{refusal::Refusal, untrusted::Untrusted};
use crate::{endpoint::Endpoint, facts::Facts, fingerprint::Fingerprint};

/// Why there is no connection to a node. Cheap to clone, because tonic keeps it too.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Connect {
    /// The host name has no address.
    #[error("{endpoint}: cannot find the address of {:?}: {source}", endpoint.host())]
    Dns {
        /// What was dialled.
        endpoint: Endpoint,
        /// What the resolver said.
        source: Arc<io::Error>,
    },
    /// Nobody listens there.
    #[error("{endpoint}: connection refused: nothing listens on port {}", endpoint.port())]
    Refused {
        /// What was dialled.
        endpoint: Endpoint,
    },
    /// No answer in time.
    #[error("{endpoint}: no answer to {step} within {within:?}")]
    Timeout {
        /// What was dialled.
        endpoint: Endpoint,
        /// "the connection" or "the TLS handshake".
        step: &'static str,
        /// How long was waited.
        within: Duration,
    },
    /// The network says no: no route, reset, and so on.
    #[error("{endpoint}: {source}")]
    Io {
        /// What was dialled.
        endpoint: Endpoint,
        /// What the kernel said.
        source: Arc<io::Error>,
    },
    /// The connection was closed before the handshake was done.
    #[error("{endpoint}: the connection was closed during the TLS handshake")]
    Closed {
        /// What was dialled.
        endpoint: Endpoint,
    },
    /// What answers does not speak TLS.
    #[error("{endpoint}: what answers there does not speak TLS")]
    NotTls {
        /// What was dialled.
        endpoint: Endpoint,
    },
    /// The handshake failed otherwise.
    #[error("{endpoint}: TLS handshake: {source}")]
    Tls {
        /// What was dialled.
        endpoint: Endpoint,
        /// What rustls said.
        source: rustls::Error,
    },
    /// It is not the node that was pinned.
    #[error("{endpoint}: the certificate is not the pinned one\n  pinned: {}\n  seen:   {seen}", list(pinned))]
    Fingerprint {
        /// What was dialled.
        endpoint: Endpoint,
        /// The fingerprints that would have been right.
        pinned: Vec<Fingerprint>,
        /// The one that the peer showed.
        seen: Fingerprint,
    },
    /// Its certificate is not one to be trusted.
    #[error("{endpoint}: {}\n  seen:   {seen}", why.sentence(node))]
    Untrusted {
        /// What was dialled.
        endpoint: Endpoint,
        /// What is wrong with it.
        why: Untrusted,
        /// The certificate that the peer showed.
        node: Box<Facts>,
        /// Its fingerprint.
        seen: Fingerprint,
    },
    /// The node does not let this client in.
    #[error("{endpoint}: {}", why.sentence(client.as_deref()))]
    NotLetIn {
        /// What was dialled.
        endpoint: Endpoint,
        /// Why not.
        why: Refusal,
        /// The client's certificate, when there was one.
        client: Option<Box<Facts>>,
        /// The node's.
        node: Box<Facts>,
    },
}

fn list(all: &[Fingerprint]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n          ")
}

impl Connect {
    /// What to do about it.
    pub fn remedy(&self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Untrusted { why, node, .. } => return why.remedy(node).into(),
            Self::NotLetIn { why, client, node, .. } => return why.remedy(client.as_deref(), node).into(),
            Self::Dns { .. } => "check the name, or give the IP address from the node's console",
            Self::Refused { .. } => {
                "check address and port (the console shows `stele: address`); a node that is still booting does not \
                 listen yet"
            }
            Self::Timeout { .. } | Self::Io { .. } => {
                "check the address, the cable and firewalls; the node's console shows its addresses"
            }
            Self::Closed { .. } => {
                "the node may be stopping, starting or at its limit of connections: try again; one that is configured lets \
                 nobody in with a version of Stele that cannot read its configuration (its console says so)"
            }
            Self::NotTls { .. } | Self::Tls { .. } => "check address and port: it does not look like a node's API",
            Self::Fingerprint { .. } => {
                "a node that was configured since is recognised by its authority: leave out --fingerprint, with the context that \
                 has it;\neither the node was installed anew or lost its identity (compare `stele: fingerprint` on its console, \
                 then pin that one), or the address belongs to another machine, or somebody is in between: do not go \
                 on before you know which"
            }
        })
    }

    /// Whether a node that was reached before may be reached again without anybody doing something. All but
    /// certificates that do not fit: a node on its way down or up refuses in many ways, a port forwarder in between in more.
    pub fn is_transient(&self) -> bool {
        !matches!(self, Self::Fingerprint { .. } | Self::Untrusted { .. } | Self::NotLetIn { .. })
    }
}
