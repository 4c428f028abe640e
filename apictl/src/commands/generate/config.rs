//! `apictl gen config`: the first documents of a machine, and a context to reach it by.

use std::{
    fs::OpenOptions,
    io::{Write, stdout},
    path::{Path, PathBuf},
    time::Duration,
};

use super::documents::documents;
use crate::{
    bundle::{self, API, Bundle},
    enlist,
    exit::{Code, Failure, Result},
    node::App,
    secret, target,
};

/// Make the first documents of a machine (-o FOLDER or FILE), and a context with your certificate
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    apictl gen config --secrets secrets.yaml -e 10.0.0.1 --fingerprint 5f3a... --hostname web-1 -o web-1/\n  \
    apictl apply-config -f web-1/ --secrets secrets.yaml\n\n\
    -o names a folder, or a file when it ends in .yaml or .yml; without it the documents go to stdout. They hold no \
    secrets (but with --user-data): they can live in version control. The context (--context NAME) gets a certificate with the role admin, and the \
    node with its fingerprint, by which it is recognised until it is configured.")]
pub(crate) struct Args {
    /// The secrets bundle, from `apictl gen secrets`
    #[arg(long, value_name = "FILE")]
    pub(super) secrets: PathBuf,
    /// What the machine calls itself
    #[arg(long, value_name = "NAME")]
    pub(super) hostname: Option<String>,
    /// The machine signs no certificates: its own is valid for a year and renewed by `apictl cert renew --node --secrets
    /// FILE`
    #[arg(long)]
    pub(super) no_authority: bool,
    /// Make no context and no certificate
    #[arg(long)]
    pub(super) no_context: bool,
    /// How long your certificate is valid
    #[arg(long, value_name = "TIME", default_value = "720h", value_parser = crate::cli::duration)]
    pub(super) ttl: Duration,
    /// Replace files that are there
    #[arg(long)]
    pub(super) replace: bool,
    /// Write one file that holds the named secrets, too, as user-data of a machine nobody is at (a NoCloud disk, a URL)
    #[arg(long)]
    pub(super) user_data: bool,
}

pub(crate) fn run(app: &App, args: &Args) -> Result {
    let global = &app.global;
    target::check_trust(global)?;
    let out = super::place(app)?;
    let texts = global.endpoints.iter().chain(&global.nodes);
    let endpoints = texts.map(|text| target::parse_endpoint(text)).collect::<Result<Vec<_>>>()?;
    let bundle = Bundle::load(&args.secrets)?;
    let ca = bundle.ca(API)?;
    let documents = documents(&bundle, args, &endpoints)?;
    let whole = documents.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("---\n");
    config::parse(&whole)
        .map_err(|problems| Failure::usage(problems.to_string(), "correct what was given on the command line"))?;
    match &out {
        _ if args.user_data => user_data(app, out.as_deref(), &bundle, &whole, args.replace)?,
        None => stdout().write_all(whole.as_bytes())?,
        Some(path) if is_file(path) => write(path, &whole, args.replace)?,
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .map_err(|error| Failure::new(Code::Failed, format!("making {}: {error}", folder.display()), ""))?;
            for (name, text) in &documents {
                write(&folder.join(name), text, args.replace)?;
            }
        }
    }
    if let Some(path) = out.as_ref().filter(|_| !args.user_data) {
        app.ui.note(&format!("{}: the documents of the machine; no secret is in them", path.display()));
    }
    if !args.no_context {
        let issued = bundle::administrator(&ca, args.ttl)?;
        let hint = args.hostname.as_deref();
        let name = enlist::name(global, &endpoints, hint)?;
        enlist::keep(&name, global, &endpoints, &ca.certificate().pem(), Some(&issued), true)?;
        let until = api::facts::moment(issued.certificate.not_after);
        app.ui.note(&format!("{name} is the current context; your certificate in it is valid until {until}"));
    }
    if args.user_data {
        return Ok(());
    }
    let place = out.map_or_else(|| "FILE".to_owned(), |path| path.display().to_string());
    app.ui.note(&format!("next: apictl apply-config -f {place} --secrets {}", args.secrets.display()));
    Ok(())
}

fn is_file(path: &Path) -> bool {
    let yaml = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    (yaml && !path.is_dir()) || path.is_file()
}

fn write(path: &Path, text: &str, replace: bool) -> Result {
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true);
    let open = if replace { &mut open } else { open.create_new(true) };
    let written = open.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Failure::new(Code::Failed, format!("{} is there already", path.display()), "--replace replaces it")
        }
        _ => Failure::new(Code::Failed, format!("writing {}: {error}", path.display()), ""),
    })
}

/// One stream with all that a machine needs.
fn user_data(app: &App, out: Option<&Path>, bundle: &Bundle, documents: &str, replace: bool) -> Result {
    let Some(path) = out else {
        return Err(Failure::usage("user-data holds secrets, and goes to no terminal", "name a file: -o user-data"));
    };
    let names = config::parse(documents).map(|stream| stream.documents.secrets()).unwrap_or_default();
    let named = bundle.secrets.named(&names);
    let named = named.map_err(|missing| Failure::usage(format!("the bundle has no {}", missing.join(", ")), ""))?;
    let secrets = if named.secrets.is_empty() { String::new() } else { format!("---\n{}", named.format()) };
    let whole = format!("{documents}{secrets}");
    if replace {
        secret::replace(path, &whole)?
    } else {
        secret::create(path, &whole)?
    }
    app.ui.note(&format!(
        "{}: documents and secrets; only you can read it, and whoever reads the machine's disk",
        path.display()
    ));
    Ok(())
}
