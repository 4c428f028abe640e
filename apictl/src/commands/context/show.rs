//! Contexts as they are shown.
//!
//! Invariant: certificates by what they say, keys not at all.

use std::io::{Write, stdout};

use api::{
    facts::{Facts, moment},
    fingerprint::Fingerprint,
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

use crate::{
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    node::App,
    objects,
    settings::{self, Context, Settings},
    table::Table,
    target,
};

pub(super) fn list(app: &App) -> Result {
    let format = format(app, &[Format::Table, Format::Wide, Format::Json, Format::Yaml])?;
    let settings = settings::load()?;
    let mut out = stdout().lock();
    if matches!(format, Format::Json | Format::Yaml) {
        let all: Vec<Value> =
            settings.contexts.iter().map(|(name, context)| document(name, context, &settings)).collect();
        return if format == Format::Json { objects::json(&mut out, &all) } else { objects::yaml(&mut out, &all) };
    }
    let mut table = Table::new(["CURRENT", "NAME", "NODES"]);
    for (name, context) in &settings.contexts {
        let current = if settings.current.as_ref() == Some(name) { "*" } else { "" };
        let nodes: Vec<&str> = context.nodes.iter().map(|node| node.endpoint.as_str()).collect();
        table.row([current.to_owned(), name.clone(), nodes.join(",")]);
    }
    if table.is_empty() {
        app.ui.note("no context; add one by `apictl context add NAME --endpoint HOST --fingerprint SHA256`");
        return Ok(());
    }
    Ok(table.print(&mut out)?)
}

pub(super) fn show(app: &App, name: Option<String>) -> Result {
    let format = format(app, &[Format::Yaml, Format::Json, Format::Table, Format::Wide])?;
    let settings = settings::load()?;
    let named = name.or_else(|| target::context_name(&app.global, &settings));
    let name = named.ok_or_else(|| {
        let remedy = if settings.contexts.is_empty() {
            "there is none; add one by `apictl context add NAME --endpoint HOST --fingerprint SHA256`"
        } else {
            "name one, or make one current by `apictl context use NAME`"
        };
        Failure::new(Code::NotFound, "no context is current", remedy)
    })?;
    let context = settings.contexts.get(&name).ok_or_else(|| target::no_context(&name, &settings))?;
    let mut out = stdout().lock();
    match format {
        Format::Json => objects::json(&mut out, &document(&name, context, &settings))?,
        Format::Yaml => objects::yaml(&mut out, &document(&name, context, &settings))?,
        _ => {
            let mut table = Table::new(["ENDPOINT", "TRUSTED BY", "SERVER NAME"]);
            for node in &context.nodes {
                let by =
                    node.fingerprint.clone().map_or_else(|| "authority".into(), |print| format!("fingerprint {print}"));
                table.row([node.endpoint.clone(), by, node.server_name.clone().unwrap_or_default()]);
            }
            table.print(&mut out)?;
            let mut table = Table::new(["CERTIFICATE", "SUBJECT", "VALID UNTIL", "FINGERPRINT"]);
            for (role, pem) in [("authority", &context.ca), ("client", &context.certificate)] {
                for found in facts(pem.as_deref()) {
                    let until = moment(found.facts.not_after);
                    table.row([role.into(), found.facts.subject, until, found.fingerprint.to_string()]);
                }
            }
            if !table.is_empty() {
                writeln!(out)?;
                table.print(&mut out)?;
            }
        }
    }
    Ok(out.flush()?)
}

/// A certificate as it is shown; its key never is.
struct Found {
    facts: Facts,
    fingerprint: Fingerprint,
}

fn facts(pem: Option<&str>) -> Vec<Found> {
    let ders = CertificateDer::pem_slice_iter(pem.unwrap_or_default().as_bytes()).flatten();
    ders.filter_map(|der| Some(Found { facts: Facts::of(&der)?, fingerprint: Fingerprint::of_der(&der) })).collect()
}

fn certificates(pem: Option<&str>) -> Vec<Value> {
    let one = |found: Found| {
        json!({
            "subject": found.facts.subject, "fingerprint": found.fingerprint.to_string(),
            "notBefore": moment(found.facts.not_before), "notAfter": moment(found.facts.not_after),
        })
    };
    facts(pem).into_iter().map(one).collect()
}

fn document(name: &str, context: &Context, settings: &Settings) -> Value {
    let current = settings.current.as_deref() == Some(name);
    json!({
        "name": name, "current": current, "nodes": context.nodes, "authorities": certificates(context.ca.as_deref()),
        "client": certificates(context.certificate.as_deref()).first(), "keyFile": context.key_file,
    })
}
