//! `apictl cert show`: the certificates that are here, by what they say.

use std::{io::stdout, path::PathBuf, time::SystemTime};

use api::{facts::moment, pki::Certificate};
use serde_json::{Value, json};

use crate::{
    bundle::Bundle,
    cli::Format,
    commands::format,
    enlist,
    exit::{Code, Failure, Result},
    identity,
    node::App,
    objects, settings,
    table::Table,
};

/// Show your certificate and the authorities you trust; or those of a file
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl cert show\n  apictl cert show alice.pem -o json\n  \
    apictl cert show --secrets secrets.yaml\n\n\
    Those of nodes: apictl get certificates")]
pub(crate) struct Args {
    /// A file of PEM, instead of the context
    file: Option<PathBuf>,
    /// The authorities of a secrets bundle
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    secrets: Option<PathBuf>,
}

pub(super) fn run(app: &App, args: &Args) -> Result {
    let format = format(app, &[Format::Table, Format::Wide, Format::Json, Format::Yaml])?;
    let all = certificates(app, args)?;
    let mut out = stdout().lock();
    match format {
        Format::Json => return objects::json(&mut out, &all.iter().map(document).collect::<Vec<_>>()),
        Format::Yaml => return objects::yaml(&mut out, &all.iter().map(document).collect::<Vec<_>>()),
        _ => {}
    }
    let wide = format == Format::Wide;
    let headers = ["WHAT", "SUBJECT", "ROLE", "VALID UNTIL", "LEFT", "FINGERPRINT", "ISSUER", "NAMES"];
    let shown = if wide { headers.len() } else { headers.len() - 2 };
    let mut table = Table::new(headers.into_iter().take(shown));
    for (what, certificate) in &all {
        let cells = [
            what.clone(),
            certificate.subject.clone(),
            roles(certificate),
            moment(certificate.not_after),
            left(certificate),
            certificate.fingerprint().to_string(),
            certificate.issuer.clone(),
            certificate.names.join(","),
        ];
        table.row(cells.into_iter().take(shown));
    }
    Ok(table.print(&mut out)?)
}

/// Each with what it is.
fn certificates(app: &App, args: &Args) -> Result<Vec<(String, Certificate)>> {
    let read = |what: &str, pem: &str| {
        let chain = Certificate::chain(pem);
        chain.map(|all| all.into_iter().map(|one| (what.to_owned(), one)).collect::<Vec<_>>())
    };
    let wrong = |place: String| move |error: api::pki::Error| Failure::usage(format!("{place}: {error}"), "");
    if let Some(path) = &args.file {
        let place = path.display().to_string();
        // Only its certificates are looked at; a key in it stays where it is.
        let (certificates, _key) = identity::split(&identity::read(path)?);
        return read("file", &certificates).map_err(wrong(place));
    }
    let mut all = Vec::new();
    if let Some(path) = &args.secrets {
        let bundle = Bundle::load(path)?;
        for (name, secret) in &bundle.secrets.secrets {
            let Some(pem) = &secret.certificate else { continue };
            let key = if secret.key.is_some() { "" } else { " (without its key)" };
            all.extend(read(&format!("{name}{key}"), pem).map_err(wrong(name.clone()))?);
        }
        return Ok(all);
    }
    let settings = settings::load()?;
    let name = enlist::name(&app.global, &[], None)?;
    let context = settings.contexts.get(&name).ok_or_else(|| crate::target::no_context(&name, &settings))?;
    for (what, pem) in [("client", &context.certificate), ("authority", &context.ca)] {
        if let Some(pem) = pem {
            all.extend(read(what, pem).map_err(wrong(format!("the context's {what}")))?);
        }
    }
    if all.is_empty() {
        let remedy = "make one: apictl cert new --secrets FILE";
        return Err(Failure::new(Code::NotFound, format!("the context {name} has no certificates"), remedy));
    }
    Ok(all)
}

fn roles(certificate: &Certificate) -> String {
    certificate.roles().iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn left(certificate: &Certificate) -> String {
    let left = certificate.left(SystemTime::now());
    if left.is_zero() {
        return "over".into();
    }
    identity::span(i64::try_from(left.as_secs()).unwrap_or(i64::MAX))
}

/// A certificate that was just made, where a format asks for it.
pub(super) fn made(app: &App, place: &str, certificate: &Certificate) -> Result {
    let format = format(app, &[Format::Table, Format::Json, Format::Yaml])?;
    let value = document(&(place.to_owned(), certificate.clone()));
    let mut out = stdout().lock();
    match format {
        Format::Json => objects::json(&mut out, &value),
        Format::Yaml => objects::yaml(&mut out, &value),
        _ => Ok(()),
    }
}

fn document((what, certificate): &(String, Certificate)) -> Value {
    json!({
        "what": what, "subject": certificate.subject, "issuer": certificate.issuer, "serial": certificate.serial,
        "roles": certificate.roles().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "notBefore": moment(certificate.not_before), "notAfter": moment(certificate.not_after),
        "over": certificate.left(SystemTime::now()).is_zero(), "names": certificate.names,
        "fingerprint": certificate.fingerprint().to_string(), "authority": certificate.is_authority,
    })
}
