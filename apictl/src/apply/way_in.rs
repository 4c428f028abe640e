//! Whether the client would still be let in afterwards. A document that locks its own author out is a mistake in most cases.

use api::{pki::Certificate, v1::ApplyMode};
use config::kinds::Api;

use crate::{
    exit::{Code, Failure, Result},
    source::Source,
    target::Target,
};

/// Refuses documents that would not let this client in; on trial they may: that ends by itself.
pub(super) fn check(source: &Source, target: &Target, mode: ApplyMode) -> Result {
    let (Some(client), Some((_, api))) = (&target.client, source.documents.of::<Api>().next()) else { return Ok(()) };
    let Ok(own) = Certificate::from_der(client.der()) else { return Ok(()) };
    let accepted = api.accept.iter().map(|accepted| accepted.certificate.as_str()).chain(api.rescue.as_deref());
    let known = accepted.filter_map(|pem| Certificate::parse(pem).ok()).any(|ca| own.is_signed_by(&ca));
    let revoked = api.revoked().any(|print| print == own.fingerprint().to_string());
    let why = match (known, revoked) {
        (true, false) => return Ok(()),
        (false, _) => "no authority under accept signed it",
        (true, true) => "it stands under revoked",
    };
    if mode == ApplyMode::Trial {
        return Ok(());
    }
    Err(Failure::new(
        Code::Usage,
        format!("the document Api would lock you out: your certificate ({}) is not let in: {why}", own.subject),
        "use a context with a certificate that is; or correct the document; --mode trial tries it and comes back",
    ))
}
