//! `apictl gen config`: the first documents of a machine, and a context to reach it by.

use std::{
    fs::OpenOptions,
    io::{Write, stdout},
    path::{Path, PathBuf},
    time::Duration,
};

use api::endpoint::Endpoint;

use crate::{
    bundle::{self, API, Bundle, RESCUE},
    enlist,
    exit::{Code, Failure, Result},
    node::App,
    target, text,
};

/// Make the first documents of a machine (-o FOLDER or FILE), and a context with your certificate
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    apictl gen config --secrets secrets.yaml -e 10.0.0.1 --fingerprint 5f3a... --hostname web-1 -o web-1/\n  \
    apictl apply-config -f web-1/ --secrets secrets.yaml\n\n\
    -o names a folder, or a file when it ends in .yaml or .yml; without it the documents go to stdout. They hold no \
    secrets: they can live in version control. The context (--context NAME) gets a certificate with the role admin, and the \
    node with its fingerprint, by which it is recognised until it is configured.")]
pub(crate) struct Args {
    /// The secrets bundle, from `apictl gen secrets`
    #[arg(long, value_name = "FILE")]
    secrets: PathBuf,
    /// What the machine calls itself
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// The machine signs no certificates: its own is valid for a year and renewed by `apictl cert renew --node`
    #[arg(long)]
    no_authority: bool,
    /// Make no context and no certificate
    #[arg(long)]
    no_context: bool,
    /// How long your certificate is valid
    #[arg(long, value_name = "TIME", default_value = "720h", value_parser = crate::cli::duration)]
    ttl: Duration,
    /// Replace files that are there
    #[arg(long)]
    replace: bool,
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
    if let Some(path) = &out {
        app.ui.note(&format!("{}: the documents of the machine; no secret is in them", path.display()));
    }
    if !args.no_context {
        let issued = bundle::administrator(&ca, args.ttl)?;
        let hint = args.hostname.as_deref();
        let name = enlist::name(global, &endpoints, hint)?;
        enlist::keep(&name, global, &endpoints, &ca.certificate().pem(), Some(&issued))?;
        let until = api::facts::moment(issued.certificate.not_after);
        app.ui.note(&format!("{name} is the current context; your certificate in it is valid until {until}"));
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

/// File name and text of each.
fn documents(bundle: &Bundle, args: &Args, endpoints: &[Endpoint]) -> Result<Vec<(&'static str, String)>> {
    let ca = bundle.certificate(API).unwrap_or_default();
    let mut all = vec![("api.yaml", api(ca, bundle.certificate(RESCUE), &names(endpoints)))];
    if !args.no_authority {
        all.push(("authority.yaml", authority(ca)));
    }
    if let Some(hostname) = &args.hostname {
        if text::plain(hostname) != *hostname {
            return Err(Failure::usage(format!("{hostname:?} is no host name"), ""));
        }
        all.push(("hostname.yaml", format!("{}hostname: {hostname}\n", head("Hostname", HOSTNAME))));
    }
    Ok(all)
}

/// Names by which the machine is reached and that it may not know itself.
fn names(endpoints: &[Endpoint]) -> Vec<String> {
    let near = |host: &str| host == "localhost" || host.starts_with("127.") || host == "::1" || host.contains('%');
    let hosts = endpoints.iter().map(Endpoint::host).filter(|host| !near(host) && !host.contains('_'));
    hosts.map(str::to_owned).collect()
}

const HOSTNAME: &str = "# What the machine calls itself.\n";

fn head(kind: &str, comment: &str) -> String {
    format!("{comment}apiVersion: stele/v1\nkind: {kind}\n")
}

fn api(ca: &str, rescue: Option<&str>, names: &[String]) -> String {
    let mut text = head("Api", "# Who may use the machine's API, and by which names it is reached.\n");
    text.push_str("# Clients whose certificate one of these authorities signed are let in, with the role it names.\n");
    text.push_str(&format!("accept:\n- name: api-ca\n  certificate: |\n{}", indented(ca, 4)));
    if let Some(rescue) = rescue {
        text.push_str("# What this one signs is let in whatever the documents say, for 24 hours at most. Its key stays offline.\n");
        text.push_str(&format!("rescue: |\n{}", indented(rescue, 2)));
    }
    if !names.is_empty() {
        text.push_str(
            "# Names and addresses by which it is reached, beside those that it has itself.\nsubjectNames:\n",
        );
        names.iter().for_each(|name| text.push_str(&format!("- \"{name}\"\n")));
    }
    text
}

fn authority(ca: &str) -> String {
    let mut text = head(
        "Authority",
        "# The machine signs certificates: its own, and those of nodes and clients that renew theirs.\n",
    );
    text.push_str(&format!("certificate: |\n{}", indented(ca, 2)));
    text.push_str("# The name of its key in the secrets bundle.\nsecret: api-ca\n");
    text
}

fn indented(pem: &str, by: usize) -> String {
    pem.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_are_right_and_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.yaml");
        crate::secret::create(&path, &bundle::text(&bundle::make().unwrap())).unwrap();
        let bundle = Bundle::load(&path).unwrap();
        let args = Args {
            secrets: path,
            hostname: Some("web-1".into()),
            no_authority: false,
            no_context: true,
            ttl: Duration::from_secs(60),
            replace: false,
        };
        let endpoints = ["10.0.0.1", "127.0.0.1", "fe80::1%eth0", "web.example"].map(|text| text.parse().unwrap());
        let all = documents(&bundle, &args, &endpoints).unwrap();
        let whole = all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("---\n");
        let stream = config::parse(&whole).unwrap();
        config::complete(&stream.documents).unwrap();
        assert_eq!(stream.documents.secrets().into_iter().collect::<Vec<_>>(), [API]);
        let (_, api) = stream.documents.of::<config::kinds::Api>().next().unwrap();
        assert_eq!(api.subject_names, ["10.0.0.1", "web.example"]);
        assert!(!whole.contains("PRIVATE") && whole.contains("# "), "{whole}");
    }
}
