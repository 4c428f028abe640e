//! Whose certificate is let in: which authority signed it, whether it is revoked, and what a clock that nobody has set is
//! worth.
//!
//! Invariant: a certificate is let in only when the chain check of webpki passes with one authority, and that authority is
//! known from then on. What the rescue authority signed is let in only if it is valid for 24 hours at most, and is always
//! told. Each refusal has an alert of its own, so that the client can say what to do. Used by `tls`.
//!
//! ```text
//! revoked                             certificate_revoked
//! no authority of ours                unknown_ca
//! over, or not valid yet              certificate_expired   (not yet valid: let in while the clock is not sure)
//! of a rescue, and valid too long     certificate_unknown
//! from a network that is not allowed  access_denied         (a rescue certificate is let in from everywhere)
//! none at all                         certificate_required  (rustls does that)
//! ```

use std::{collections::HashSet, sync::Arc, time::Duration};

use api::pki::{Certificate, RESCUE};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, UnixTime},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::keys::{Accepted, Keys};
use crate::pki::fingerprint;

/// An authority whose certificates are accepted.
#[derive(Debug)]
pub(super) struct Authority {
    /// As machined named it.
    pub(super) accepted: Accepted,
    certificate: Certificate,
    /// The chain check with this authority alone.
    chains: Arc<dyn ClientCertVerifier>,
}

/// A rescue certificate that is valid for longer than it may be.
#[derive(Debug, thiserror::Error)]
#[error("a certificate of the rescue authority is valid for {} h; at most {} h are let in", .0.as_secs() / 3600, RESCUE.as_secs() / 3600)]
struct TooLong(Duration);

/// Checks client certificates.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    authorities: Arc<[Authority]>,
    hints: Arc<[DistinguishedName]>,
    revoked: Arc<HashSet<[u8; 32]>>,
    clock_sure: bool,
    /// Let nobody in but the rescue.
    rescue_only: bool,
}

impl Admission {
    /// Of authorities that parse; the number of the first that does not, and why.
    pub(super) fn build(keys: &Keys) -> Result<Self, (usize, Error)> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let (mut authorities, mut hints) = (Vec::new(), Vec::new());
        for (n, accepted) in keys.accepted.iter().enumerate() {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(accepted.der.clone())).map_err(|error| (n, error))?;
            let chains = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
                .build()
                .map_err(|error| (n, Error::General(error.to_string())))?;
            hints.extend_from_slice(chains.root_hint_subjects());
            let unreadable = |_| (n, CertificateError::BadEncoding.into());
            let certificate = Certificate::from_der(&accepted.der).map_err(unreadable)?;
            authorities.push(Authority { accepted: accepted.clone(), certificate, chains });
        }
        Ok(Self {
            authorities: authorities.into(),
            hints: hints.into(),
            revoked: Arc::new(keys.revoked.iter().copied().collect()),
            clock_sure: keys.clock_sure,
            rescue_only: false,
        })
    }

    /// The same, for clients from networks that are not allowed; none when there is no rescue.
    pub(super) fn for_rescue(&self) -> Option<Self> {
        let rescue = self.authorities.iter().any(|authority| authority.accepted.rescue);
        rescue.then(|| Self { rescue_only: true, ..self.clone() })
    }

    /// The authority that lets this chain in at `now`.
    pub(super) fn admit(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<&Authority, Error> {
        let (own, others) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
        if self.is_revoked(&fingerprint(own)) {
            return Err(CertificateError::Revoked.into());
        }
        // Only to look at its time and lifetime; whether it is good is said by the chain check.
        let parsed = Certificate::from_der(own).map_err(|_| CertificateError::BadEncoding)?;
        let authority = self.signer(own, others, now, &parsed)?;
        if authority.accepted.rescue && parsed.lifetime() > RESCUE {
            return Err(CertificateError::Other(OtherError(Arc::new(TooLong(parsed.lifetime())))).into());
        }
        if self.rescue_only && !authority.accepted.rescue {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(authority)
    }

    fn signer(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
        parsed: &Certificate,
    ) -> Result<&Authority, Error> {
        let mut refusal = CertificateError::UnknownIssuer;
        // Its time is the first thing that the chain check looks at. Whose it is matters more: so once more as if it were good.
        let began = u64::try_from(parsed.not_before).unwrap_or(0);
        let began = UnixTime::since_unix_epoch(Duration::from_secs(began));
        for authority in self.authorities.iter() {
            let check = |at| authority.chains.verify_client_cert(own, others, at);
            let error = match check(now) {
                Ok(_) => return Ok(authority),
                Err(error) => error,
            };
            use CertificateError as E;
            match error {
                Error::InvalidCertificate(why @ (E::Expired | E::ExpiredContext { .. })) if check(began).is_ok() => {
                    refusal = why;
                }
                Error::InvalidCertificate(why @ (E::NotValidYet | E::NotValidYetContext { .. }))
                    if check(began).is_ok() =>
                {
                    if !self.clock_sure {
                        return Ok(authority);
                    }
                    refusal = why;
                }
                // Another authority's, perhaps of the same name.
                Error::InvalidCertificate(
                    E::UnknownIssuer
                    | E::BadSignature
                    | E::Expired
                    | E::ExpiredContext { .. }
                    | E::NotValidYet
                    | E::NotValidYetContext { .. },
                ) => {}
                // Its purpose is looked at before its signature, too.
                Error::InvalidCertificate(why) if others.is_empty() && parsed.is_signed_by(&authority.certificate) => {
                    refusal = why;
                }
                Error::InvalidCertificate(_) if others.is_empty() => {}
                Error::InvalidCertificate(why) => refusal = why,
                other => return Err(other),
            }
        }
        Err(refusal.into())
    }

    /// Whether this certificate was revoked.
    pub(super) fn is_revoked(&self, fingerprint: &[u8; 32]) -> bool {
        self.revoked.contains(fingerprint)
    }

    /// Whether this authority is (still) accepted.
    pub(super) fn accepts(&self, accepted: &Accepted) -> bool {
        self.authorities.iter().any(|authority| authority.accepted == *accepted)
    }

    /// Whether the machine's clock can be believed.
    pub(super) fn clock_sure(&self) -> bool {
        self.clock_sure
    }

    /// For what does not depend on the authority.
    fn any(&self) -> Result<&Arc<dyn ClientCertVerifier>, Error> {
        self.authorities.first().map(|first| &first.chains).ok_or_else(|| Error::General("no authority".into()))
    }
}

impl ClientCertVerifier for Admission {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(own).chain(others).cloned().collect();
        self.admit(&chain, now).map(|_| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any()?.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.any()?.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.any().map(|any| any.supported_verify_schemes()).unwrap_or_default()
    }
}
