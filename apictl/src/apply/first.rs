//! The first configuration of a node: what it needs beside documents.
//!
//! Invariant: secrets go only to a node whose fingerprint was compared or that an authority vouches for.

use std::{collections::BTreeSet, time::Duration};

use api::{
    connect::{Authorities, Pin},
    pki::{Node as Names, Request},
    v1::{EnrolmentRequestRequest, enrolment_client::EnrolmentClient},
};
use config::kinds::{Api, Authority, Bond, Hostname, Link, Vlan};

use crate::{
    bundle::{self, API, Bundle},
    enlist,
    exit::{Code, Failure, Result},
    identity,
    node::{App, Node},
    settings,
    source::Source,
    target::{self, Target},
};

/// Of a node that cannot renew its certificate by itself: a year, and warnings in time.
pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Of the certificate by which the node is asked right after, when there is no context that has one.
const HOUR: Duration = Duration::from_secs(3600);

/// Of the certificate that a context is given.
const MONTH: Duration = Duration::from_secs(720 * 3600);

/// The document with the secrets that the others name; "" when there is nothing to send.
pub(super) fn secrets(source: &Source, bundle: Option<&Bundle>, target: &Target, first: bool) -> Result<String> {
    let names = source.documents.secrets();
    let mut known = source.secrets.clone().unwrap_or_default();
    if let Some(bundle) = bundle {
        known.secrets.extend(bundle.secrets.secrets.clone());
    }
    let named = match known.named(&names) {
        Ok(named) => named,
        // What is not given stays as the node has it.
        Err(_) if !first => {
            let given = names.into_iter().filter(|name| known.get(name).is_some()).collect();
            known.named(&given).unwrap_or_default()
        }
        Err(missing) => {
            let message = format!("the documents name secrets that were not given: {}", missing.join(", "));
            return Err(Failure::usage(message, "give the bundle that holds them: --secrets FILE"));
        }
    };
    if named.secrets.is_empty() {
        return Ok(String::new());
    }
    if target.pin == Pin::FirstUse {
        return Err(Failure::usage(
            "secrets are not sent to a node that was not verified",
            "pin it: --fingerprint SHA256, which its console shows",
        ));
    }
    Ok(named.format())
}

/// How the node is reached once it is configured: by who signed its certificate, with a certificate of our own.
pub(super) fn reached_by(source: &Source, bundle: Option<&Bundle>, target: &Target) -> Result<Target> {
    let mut pem = bundle.and_then(|bundle| bundle.certificate(API)).unwrap_or_default().to_owned();
    for (_, authority) in source.documents.of::<Authority>() {
        pem.extend(["\n", &authority.certificate]);
    }
    for (_, api) in source.documents.of::<Api>() {
        api.accept.iter().for_each(|accepted| pem.extend(["\n", &accepted.certificate]));
    }
    let authorities = Authorities::from_pem(&pem)
        .map_err(|error| Failure::usage(format!("the authorities of the documents: {error}"), ""))?;
    let mut after = Target { pin: Pin::Authorities(authorities), ..target.clone() };
    if after.client.is_none() {
        let Some(bundle) = bundle.filter(|bundle| bundle.signs(API)) else {
            return Err(Failure::usage(
                "once it is configured the node wants a certificate of you, and there is none",
                "apictl gen config makes a context with one; or give --client-cert FILE; or --secrets FILE, to sign one",
            ));
        };
        let issued = bundle::administrator(&bundle.ca(API)?, HOUR)?;
        let certificate = issued.certificate.pem();
        after.client = Some(identity::identity(&certificate, &issued.key, "the secrets bundle")?);
    }
    Ok(after)
}

/// The answer to the node's own request, signed here; "" when nothing here can sign.
pub(super) async fn certificate(
    node: &Node,
    source: &Source,
    bundle: Option<&Bundle>,
    target: &Target,
) -> Result<String> {
    let authority = source.documents.of::<Authority>().next().is_some();
    let Some(bundle) = bundle.filter(|bundle| bundle.signs(API)) else {
        return match authority {
            // It signs for itself.
            true => Ok(String::new()),
            false => Err(Failure::usage(
                "the node needs a certificate, and nothing here can sign one",
                "give the secrets bundle that holds api-ca with its key: --secrets FILE",
            )),
        };
    };
    let asked = EnrolmentClient::new(node.channel.clone()).request(EnrolmentRequestRequest {}).await?.into_inner();
    let request = Request::from_pem(&asked.request)
        .map_err(|error| Failure::new(Code::Failed, format!("the node's request: {error}"), ""))?;
    let api = source.documents.of::<Api>().next().map(|(_, api)| api);
    let ttl = match (authority, api) {
        (true, Some(api)) => api.certificates.server.0,
        _ => YEAR,
    };
    let names = names([asked.names, documented(source)].concat(), target, api);
    bundle.ca(API)?.sign_node(&request, &Names { names, ttl }).map(|signed| signed.pem()).map_err(bundle::failed)
}

/// What the node will be called and reached by once the documents are in effect.
fn documented(source: &Source) -> Vec<String> {
    let hostname =
        source.documents.of::<Hostname>().flat_map(|(_, one)| [one.hostname.clone(), one.short().to_owned()]);
    let links = source.documents.of::<Link>().map(|(_, one)| &one.addressing);
    let bonds = source.documents.of::<Bond>().map(|(_, one)| &one.addressing);
    let vlans = source.documents.of::<Vlan>().map(|(_, one)| &one.addressing);
    let addresses =
        links.chain(bonds).chain(vlans).flat_map(|one| one.addresses.iter().map(|net| net.0.addr().to_string()));
    hostname.chain(addresses).collect()
}

/// The node's own names, the one it was reached by, and those of its document; each once.
pub(crate) fn names(own: Vec<String>, target: &Target, api: Option<&Api>) -> Vec<String> {
    let host = target.server_name.as_ref().map_or_else(|| target.endpoint.host().into(), |name| name.to_str());
    // A link-local address means something only here; an underscore is in no certificate.
    let host = (!host.contains(['%', '_'])).then(|| host.into_owned());
    let more = api.map(|api| api.subject_names.clone()).unwrap_or_default();
    let mut seen = BTreeSet::new();
    own.into_iter().chain(host).chain(more).filter(|name| seen.insert(name.clone())).collect()
}

/// A context that knows the node by its fingerprint alone learns who vouches for it from now on, and who we are.
pub(super) fn enlist(app: &App, bundle: Option<&Bundle>, target: &Target) -> Result {
    let Some(bundle) = bundle.filter(|bundle| bundle.signs(API)) else { return Ok(()) };
    let settings = settings::load()?;
    let name = target::context_name(&app.global, &settings);
    let Some((name, context)) = name.and_then(|name| Some((name.clone(), settings.contexts.get(&name)?))) else {
        return Ok(());
    };
    let has = context.nodes.iter().any(|node| node.endpoint == target.endpoint.to_string());
    if !has || (context.ca.is_some() && context.certificate.is_some()) {
        return Ok(());
    }
    let ca = bundle.ca(API)?;
    let issued = match context.certificate {
        None => Some(bundle::administrator(&ca, MONTH)?),
        Some(_) => None,
    };
    enlist::keep(&name, &app.global, &[], &ca.certificate().pem(), issued.as_ref(), false)?;
    app.ui.note(&format!("{name}: the context has the authority and a certificate of yours now"));
    Ok(())
}
