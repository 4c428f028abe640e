//! `apictl context`: nodes kept under a name, with what makes them the right ones and who the client is.

mod show;

use std::{fs, iter};

use api::{connect::Pin, endpoint::Endpoint, fingerprint::Fingerprint};

use crate::{
    cli::Global,
    exit::{Code, Failure, Result},
    identity,
    node::App,
    secret,
    settings::{self, Context, Node, Secret},
    target::{self, Target},
};

/// Keep nodes under a name
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl context add lab --endpoint 10.0.0.1 --fingerprint 5f3a...\n  apictl get disks"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The contexts there are
    List,
    /// Keep the nodes of --endpoint with their --fingerprint or --ca, and use them from now on
    #[command(after_help = "Example:\n  apictl context add lab -e 10.0.0.1,10.0.0.2 --fingerprint 5f3a...,77c0...\n  \
        apictl context add prod -e 10.0.0.1 --ca ca.pem --client-cert me.pem\n\n\
        With --insecure the nodes are asked for their fingerprints, which are printed and kept.\n\
        A key in a file of its own (--client-key) stays there; one beside its certificate is copied into the settings.\n\
        `apictl gen config` makes contexts, too.")]
    Add {
        name: String,
        /// Replace a context of this name
        #[arg(long)]
        replace: bool,
    },
    /// Make a context the current one
    Use { name: String },
    /// Forget a context
    Remove { name: String },
    /// Show a context; without a name the current one
    Show { name: Option<String> },
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    match args.what {
        What::List => show::list(app),
        What::Add { name, replace } => add(app, name, replace).await,
        What::Use { name } => {
            settings::change(|settings| {
                if !settings.contexts.contains_key(&name) {
                    return Err(target::no_context(&name, settings));
                }
                settings.current = Some(name.clone());
                Ok(())
            })?;
            app.ui.note(&format!("{name} is the current context"));
            Ok(())
        }
        What::Remove { name } => {
            settings::change(|settings| {
                settings.contexts.remove(&name).ok_or_else(|| target::no_context(&name, settings))?;
                settings.current = settings.current.take().filter(|current| *current != name);
                Ok(())
            })?;
            app.ui.note(&format!("{name} is forgotten"));
            Ok(())
        }
        What::Show { name } => show::show(app, name),
    }
}

async fn add(app: &App, name: String, replace: bool) -> Result {
    let nodes = nodes(app).await?;
    let context = with_files(&app.global, Context { nodes, ..Context::default() })?;
    if name.is_empty() || name.chars().any(|char| char.is_control() || char.is_whitespace()) {
        return Err(Failure::usage(format!("{name:?} is no name for a context"), "use letters, digits and dashes"));
    }
    settings::change(|settings| {
        if settings.contexts.contains_key(&name) && !replace {
            return Err(Failure::new(
                Code::Failed,
                format!("there is a context {name:?} already"),
                "give --replace to replace it",
            ));
        }
        settings.contexts.insert(name.clone(), context);
        settings.current = Some(name.clone());
        Ok(())
    })?;
    app.ui.note(&format!("{name} is the current context"));
    Ok(())
}

/// What files of the command line say about trust.
fn with_files(global: &Global, mut context: Context) -> Result<Context> {
    if let Some(path) = &global.ca {
        let pem = identity::read(path)?;
        identity::authorities(&pem, &path.display().to_string())?;
        context.ca = Some(pem);
    }
    let (Some(certificate), key) = (&global.client_cert, &global.client_key) else { return Ok(context) };
    if let Some(key) = key {
        let absolute = |error| Failure::usage(format!("{}: {error}", key.display()), "");
        context.key_file = Some(fs::canonicalize(key).map_err(absolute)?);
        context.certificate = Some(identity::read(certificate)?);
    } else {
        let both = secret::read(certificate)?;
        let (own, key) = identity::split(both.reveal());
        (context.certificate, context.key) = (Some(own), Some(Secret::from(key)));
    }
    // What does not work is better known now.
    identity::client(&Global::default(), Some(&context)).map(|_| context)
}

/// The nodes of the command line with their fingerprints; with `--insecure` as they say themselves, with `--ca` without.
async fn nodes(app: &App) -> Result<Vec<Node>> {
    let global = &app.global;
    target::check_trust(global)?;
    if global.endpoints.is_empty() || !global.nodes.is_empty() {
        return Err(Failure::usage("a context needs nodes", "give them by --endpoint HOST"));
    }
    let endpoints = global.endpoints.iter().map(|text| target::parse_endpoint(text)).collect::<Result<Vec<_>>>()?;
    let prints: Vec<Fingerprint> = match (&global.fingerprints[..], global.insecure) {
        ([], false) if global.ca.is_some() => Vec::new(),
        ([], false) => {
            return Err(Failure::usage(
                "a context needs the fingerprint of its nodes",
                "read it on the console, in the line `stele: fingerprint`, and give it by --fingerprint;\nor let the \
                 node tell it, without any protection against somebody in between, by --insecure",
            ));
        }
        (_, true) => {
            let mut seen = Vec::new();
            for endpoint in &endpoints {
                let name = endpoint.to_string();
                let target = Target::new(endpoint.clone(), Pin::FirstUse);
                let connecting = app.limited(app.connect(&target));
                let node =
                    app.ui.slow(&format!("asking {name}"), connecting).await?.map_err(|error| error.at(&name))?;
                seen.extend(node.connector.fingerprint());
                app.ui.note("  kept in the context as it is");
            }
            seen
        }
        ([one], false) => iter::repeat_n(*one, endpoints.len()).collect(),
        (all, false) => all.to_vec(),
    };
    if !prints.is_empty() && prints.len() != endpoints.len() {
        let message = format!("{} endpoints and {} fingerprints", endpoints.len(), prints.len());
        return Err(Failure::usage(message, "give one fingerprint for each endpoint, in the same order"));
    }
    let prints = prints.into_iter().map(|print| Some(print.to_string())).chain(iter::repeat(None));
    let server_name = global.server_name.clone();
    let node = |(endpoint, fingerprint): (Endpoint, Option<String>)| Node {
        endpoint: endpoint.to_string(),
        fingerprint,
        server_name: server_name.clone(),
    };
    Ok(endpoints.into_iter().zip(prints).map(node).collect())
}
