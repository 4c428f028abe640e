//! Contexts that other commands make and keep up to date: who the client is, and whom it trusts.
//!
//! Invariant: a context never comes to trust another authority beside its own, except while one replaces the other.

use api::{endpoint::Endpoint, fingerprint::Fingerprint, pki::Certificate};

use crate::{
    bundle::Issued,
    cli::Global,
    exit::{Code, Failure, Result},
    settings::{self, Context, Node, Settings},
    target,
};

/// Which context is meant: the named one; else one that has these nodes; without nodes the current one; else a new one.
pub(crate) fn name(global: &Global, endpoints: &[Endpoint], hint: Option<&str>) -> Result<String> {
    let named = || std::env::var("APICTL_CONTEXT").ok().filter(|name| !name.is_empty());
    if let Some(name) = global.context.clone().or_else(named) {
        return Ok(name);
    }
    let settings = settings::load()?;
    let has = |name: &String| settings.contexts.get(name).is_some_and(|context| has_one(context, endpoints));
    let current = settings.current.as_ref();
    let known = current.filter(|name| has(name)).or_else(|| settings.contexts.keys().find(|name| has(name)));
    let known = known.or(current.filter(|_| endpoints.is_empty()));
    let fresh = || hint.or(endpoints.first().map(Endpoint::host)).unwrap_or("stele").to_owned();
    Ok(known.cloned().unwrap_or_else(fresh))
}

fn has_one(context: &Context, endpoints: &[Endpoint]) -> bool {
    context.nodes.iter().any(|node| endpoints.iter().any(|endpoint| node.endpoint == endpoint.to_string()))
}

/// Makes the context, or brings it up to date. It becomes the current one when that is wished, or when there is no other.
pub(crate) fn keep(
    name: &str,
    global: &Global,
    endpoints: &[Endpoint],
    ca: &str,
    issued: Option<&Issued>,
    current: bool,
) -> Result {
    let prints = &global.fingerprints;
    if prints.len() > 1 && prints.len() != endpoints.len() {
        let message = format!("{} endpoints and {} fingerprints", endpoints.len(), prints.len());
        return Err(Failure::usage(message, "give one fingerprint for each endpoint, in the same order"));
    }
    settings::change(|settings| {
        let context = settings.contexts.entry(name.to_owned()).or_default();
        trust(name, context, ca)?;
        if let Some(issued) = issued {
            client(context, issued);
        }
        for (at, endpoint) in endpoints.iter().enumerate() {
            let endpoint = endpoint.to_string();
            let fingerprint = prints.get(at).or(prints.first()).map(ToString::to_string);
            let server_name = global.server_name.clone();
            match context.nodes.iter_mut().find(|node| node.endpoint == endpoint) {
                Some(node) => {
                    node.fingerprint = fingerprint.or(node.fingerprint.take());
                    node.server_name = server_name.or(node.server_name.take());
                }
                None => context.nodes.push(Node { endpoint, fingerprint, server_name }),
            }
        }
        if current || settings.current.is_none() {
            settings.current = Some(name.to_owned());
        }
        Ok(())
    })
}

/// The client's certificate and key, in place of what was there.
pub(crate) fn client(context: &mut Context, issued: &Issued) {
    context.certificate = Some(issued.certificate.pem());
    context.key = Some(issued.key.clone());
    context.key_file = None;
}

fn trust(name: &str, context: &mut Context, ca: &str) -> Result {
    let Some(known) = &context.ca else {
        context.ca = Some(ca.to_owned());
        return Ok(());
    };
    let ours = |pem: &str| Certificate::chain(pem).unwrap_or_default();
    if ours(ca).iter().all(|one| ours(known).contains(one)) {
        return Ok(());
    }
    Err(Failure::new(
        Code::Failed,
        format!("the context {name} belongs to another authority than this secrets bundle"),
        "name another context: --context NAME; or forget that one: apictl context remove NAME",
    ))
}

/// The node showed a certificate of its authority: from now on that is what makes it the right one.
pub(crate) fn signed(global: &Global, endpoint: &Endpoint) -> Result<bool> {
    pin(global, endpoint, |context| context.ca.is_some(), None)
}

/// The node will show another certificate of its own: from now on that one makes it the right one.
pub(crate) fn renamed(global: &Global, endpoint: &Endpoint, fingerprint: &Fingerprint) -> Result<bool> {
    pin(global, endpoint, |_| true, Some(fingerprint.to_string()))
}

/// Of a node that the context knows by its fingerprint; says whether there was one.
fn pin(
    global: &Global,
    endpoint: &Endpoint,
    fits: impl Fn(&Context) -> bool,
    fingerprint: Option<String>,
) -> Result<bool> {
    let of = |settings: &Settings| {
        let name = target::context_name(global, settings)?;
        let context = settings.contexts.get(&name)?;
        let has = |node: &Node| node.fingerprint.is_some() && is(node, endpoint);
        (fits(context) && context.nodes.iter().any(has)).then_some(name)
    };
    if of(&settings::load()?).is_none() {
        return Ok(false);
    }
    settings::change(|settings| {
        let Some(context) = of(settings).and_then(|name| settings.contexts.get_mut(&name)) else { return Ok(false) };
        let nodes = context.nodes.iter_mut().filter(|node| is(node, endpoint));
        nodes.for_each(|node| node.fingerprint.clone_from(&fingerprint));
        Ok(true)
    })
}

fn is(node: &Node, endpoint: &Endpoint) -> bool {
    target::parse_endpoint(&node.endpoint).is_ok_and(|other| other == *endpoint)
}
