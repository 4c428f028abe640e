//! Which nodes a command is for, and what makes each the right one.
//!
//! Nodes: `-n`, else `-e`, else the context that is named, else `APICTL_ENDPOINT`, else the current context.
//! Trust in each: `--fingerprint` or `--ca`, else the context's fingerprint of that node or its authorities, else
//! `APICTL_FINGERPRINT` (which goes before the authorities for a node that the context does not have).
//! Own certificate: `--client-cert`, else the context's.
//! Invariant: without any of these nothing is dialled unless `--insecure` was given.

use std::env;

use api::{
    connect::{Connector, Identity, Pin},
    endpoint::Endpoint,
    fingerprint::Fingerprint,
};
use rustls_pki_types::ServerName;

use crate::{
    cli::Global,
    exit::{Code, Failure, Result},
    identity,
    settings::{self, Context, Node, Settings},
};

/// A node to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As shown.
    pub(crate) name: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) pin: Pin,
    /// With `--insecure`: what the context would have expected.
    pub(crate) known: Option<Fingerprint>,
    /// What the node's certificate is for, when it is not the endpoint's host.
    pub(crate) server_name: Option<ServerName<'static>>,
    /// Who we are.
    pub(crate) client: Option<Identity>,
}

impl Target {
    /// With nothing but what must be known.
    pub(crate) fn new(endpoint: Endpoint, pin: Pin) -> Self {
        Self { name: endpoint.to_string(), endpoint, pin, known: None, server_name: None, client: None }
    }

    /// Connects to it.
    pub(crate) fn connector(&self) -> Connector {
        Connector::new(self.endpoint.clone(), self.pin.clone())
            .client(self.client.clone())
            .server_name(self.server_name.clone())
    }
}

/// What the environment says.
#[derive(Default)]
struct Environment {
    endpoint: Option<String>,
    context: Option<String>,
    fingerprint: Option<String>,
}

/// The nodes a command is for; at least one.
pub(crate) fn resolve(global: &Global) -> Result<Vec<Target>> {
    let read = |name| env::var(name).ok().filter(|value| !value.is_empty());
    let environment = Environment {
        endpoint: read("APICTL_ENDPOINT"),
        context: read("APICTL_CONTEXT"),
        fingerprint: read("APICTL_FINGERPRINT"),
    };
    pick(global, &environment, &settings::load()?)
}

/// The context that is meant: `--context`, else `APICTL_CONTEXT`, else the current one.
pub(crate) fn context_name(global: &Global, settings: &Settings) -> Option<String> {
    let named = || env::var("APICTL_CONTEXT").ok().filter(|name| !name.is_empty());
    global.context.clone().or_else(named).or_else(|| settings.current.clone())
}

/// Whether any node is given.
pub(crate) fn is_given(global: &Global) -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    !global.nodes.is_empty()
        || !global.endpoints.is_empty()
        || global.context.is_some()
        || set("APICTL_ENDPOINT")
        || set("APICTL_CONTEXT")
        || settings::load().map_or(true, |settings| settings.current.is_some())
}

fn pick(global: &Global, environment: &Environment, settings: &Settings) -> Result<Vec<Target>> {
    if !global.nodes.is_empty() && !global.endpoints.is_empty() {
        return Err(Failure::usage("--nodes and --endpoint were both given", "each says which nodes to ask: give one"));
    }
    check_trust(global)?;
    let named = global.context.as_ref().or(environment.context.as_ref());
    let name = named.or(settings.current.as_ref());
    let context = match name {
        None => None,
        Some(name) => match settings.contexts.get(name) {
            Some(context) => Some(context),
            None if named.is_some() => return Err(no_context(name, settings)),
            None => None,
        },
    };
    let split = |text: &String| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let from_context = |context: &Context| context.nodes.iter().map(|node| node.endpoint.clone()).collect();
    let given: Vec<String> = match (&global.nodes[..], &global.endpoints[..], named, &environment.endpoint, context) {
        (nodes @ [_, ..], ..) => nodes.to_vec(),
        (_, endpoints @ [_, ..], ..) => endpoints.to_vec(),
        (_, _, None, Some(endpoint), _) => split(endpoint),
        (.., Some(context)) => from_context(context),
        _ => Vec::new(),
    };
    let client = identity::client(global, context)?;
    let mut targets: Vec<Target> = Vec::new();
    for text in given.iter().filter(|text| !text.trim().is_empty()) {
        let target = target(text, global, environment, context, client.clone())?;
        if !targets.iter().any(|other| other.endpoint == target.endpoint) {
            targets.push(target);
        }
    }
    if targets.is_empty() {
        return Err(Failure::usage(
            "no node to ask",
            "give one by\n  --endpoint HOST\n  APICTL_ENDPOINT=HOST in the environment\n  \
             apictl context add NAME --endpoint HOST --fingerprint SHA256   (kept for later commands)",
        ));
    }
    Ok(targets)
}

/// Whether the command line says one thing about whom to trust.
pub(crate) fn check_trust(global: &Global) -> Result<()> {
    if global.insecure && !global.fingerprints.is_empty() {
        return Err(Failure::usage(
            "--insecure and --fingerprint contradict each other",
            "with a fingerprint, drop --insecure",
        ));
    }
    if global.ca.is_some() && (global.insecure || !global.fingerprints.is_empty()) {
        let other = if global.insecure { "--insecure" } else { "--fingerprint" };
        return Err(Failure::usage(format!("--ca and {other} contradict each other"), "give one of them"));
    }
    Ok(())
}

fn target(
    text: &str,
    global: &Global,
    environment: &Environment,
    context: Option<&Context>,
    client: Option<Identity>,
) -> Result<Target> {
    let endpoint = parse_endpoint(text)?;
    // `-n 10.0.0.1` means the context's 10.0.0.1:50001 when that is the only one with this host.
    let nodes = context.map(|context| &context.nodes[..]).unwrap_or_default();
    let parsed: Vec<(Endpoint, &Node)> =
        nodes.iter().map(|node| Ok((parse_endpoint(&node.endpoint)?, node))).collect::<Result<_>>()?;
    let mut same_host = parsed.iter().filter(|(other, _)| !global.nodes.is_empty() && other.host() == endpoint.host());
    let known =
        parsed.iter().find(|(other, _)| *other == endpoint).or_else(|| match (same_host.next(), same_host.next()) {
            (Some(one), None) if text.trim() == endpoint.host() => Some(one),
            _ => None,
        });
    let endpoint = known.map_or(endpoint, |(endpoint, _)| endpoint.clone());
    let node = known.map(|(_, node)| *node);
    let print = node.and_then(|node| node.fingerprint.as_deref());
    let known = print.map(|print| parse_fingerprint(print, "in the context")).transpose()?;
    let ca = context.and_then(|context| context.ca.as_deref());
    let pin = if global.insecure {
        Pin::FirstUse
    } else if !global.fingerprints.is_empty() {
        Pin::Exact(global.fingerprints.clone())
    } else if let Some(path) = &global.ca {
        Pin::Authorities(identity::authorities(&identity::read(path)?, &path.display().to_string())?)
    } else if let Some(known) = known {
        // Which of both it is shows whether it was configured; the answer to that may have been lost.
        match ca {
            Some(ca) => Pin::Either(vec![known], identity::authorities(ca, "the context")?),
            None => Pin::Exact(vec![known]),
        }
    } else if let (Some(ca), true) = (ca, node.is_some() || environment.fingerprint.is_none()) {
        Pin::Authorities(identity::authorities(ca, "the context")?)
    } else if let Some(text) = &environment.fingerprint {
        let one = |text| parse_fingerprint(text, "in APICTL_FINGERPRINT");
        Pin::Exact(text.split(',').map(one).collect::<Result<_>>()?)
    } else {
        return Err(no_fingerprint(&endpoint));
    };
    let server_name = global.server_name.as_ref().or(node.and_then(|node| node.server_name.as_ref()));
    let server_name = server_name.map(|name| parse_server_name(name)).transpose()?;
    let known = known.filter(|_| global.insecure);
    Ok(Target { name: endpoint.to_string(), endpoint, pin, known, server_name, client })
}

/// The name or address a certificate is for.
pub(crate) fn parse_server_name(text: &str) -> Result<ServerName<'static>> {
    ServerName::try_from(text.to_owned())
        .map_err(|_| Failure::usage(format!("server name {text:?} is neither a DNS name nor an address"), ""))
}

/// An endpoint as the user wrote it.
pub(crate) fn parse_endpoint(text: &str) -> Result<Endpoint> {
    text.parse().map_err(|error| Failure::usage(format!("endpoint {text:?}: {error}"), ""))
}

fn parse_fingerprint(text: &str, place: &str) -> Result<Fingerprint> {
    text.parse().map_err(|error| Failure::usage(format!("fingerprint {place}: {error}"), ""))
}

fn no_fingerprint(endpoint: &Endpoint) -> Failure {
    Failure::usage(
        format!("{endpoint}: no fingerprint to recognise the node by"),
        "read it on the node's console, in the line `stele: fingerprint`, and give it by\n  --fingerprint SHA256 (or \
         APICTL_FINGERPRINT)\nor see it first, without any protection against somebody in between, by\n  --insecure",
    )
}

/// An error for a context that does not exist.
pub(crate) fn no_context(name: &str, settings: &Settings) -> Failure {
    let names: Vec<&str> = settings.contexts.keys().map(String::as_str).collect();
    let remedy = if names.is_empty() {
        "there is none; add one by `apictl context add NAME --endpoint HOST --fingerprint SHA256`".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    Failure::new(Code::NotFound, format!("no context {name:?}"), remedy)
}

#[cfg(test)]
mod tests;
