//! By what the API is served, for whoever shows it: taken from what the gateway is offered and what it says of that.
//!
//! Invariant: no key is in it. Kept up to date by `boot`.

use api::fingerprint::Fingerprint;

use crate::gateway::keys::Accepted;
use crate::server::keys::{Delivered, Offer};

/// What clients meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Of the certificate that is shown, as people compare it; empty while there is none.
    pub fingerprint: String,
    /// Fingerprints of the authorities whose clients are let in; machined's own is among them.
    pub accepted: Vec<String>,
    /// Those of the rescue.
    pub rescue: Vec<String>,
    /// Networks that clients may come from; none: all.
    pub allow: Vec<String>,
    /// How many certificates are not let in any more.
    pub revoked: u64,
    /// Strangers are let in: this is maintenance.
    pub open: bool,
    /// Why the gateway does not serve so; empty when it does.
    pub trouble: String,
}

impl Served {
    /// Of this offer, which the gateway has taken, or not.
    #[must_use]
    pub fn of(offer: &Offer, delivered: &Delivered) -> Self {
        let trouble = delivered.trouble().unwrap_or_default();
        let Offer::Keys(keys) = offer else { return Self { trouble, ..Self::default() } };
        let print = |der: &[u8]| Fingerprint::of_der(der).to_string();
        let of = |rescue: bool| {
            let some = keys.accepted.iter().filter(move |one: &&Accepted| one.rescue == rescue);
            some.map(|one| print(&one.der)).collect::<Vec<_>>()
        };
        Self {
            fingerprint: keys.chain.first().map(|der| print(der)).unwrap_or_default(),
            accepted: of(false),
            rescue: of(true),
            allow: keys.allow.iter().map(ToString::to_string).collect(),
            revoked: keys.revoked.len() as u64,
            open: keys.accepted.is_empty(),
            trouble,
        }
    }
}
