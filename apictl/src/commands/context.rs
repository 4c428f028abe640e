//! `apictl context`: nodes kept under a name, with their fingerprints.

use std::{
    io::{Write, stdout},
    iter,
};

use api::{connect::Pin, fingerprint::Fingerprint};
use serde_json::{Value, json};

use crate::{
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    node::App,
    objects,
    settings::{self, Context, Node, Settings},
    table::Table,
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
    /// Keep the nodes of --endpoint with their --fingerprint, and use them from now on
    #[command(after_help = "Example:\n  apictl context add lab -e 10.0.0.1,10.0.0.2 --fingerprint 5f3a...,77c0...\n\n\
        With --insecure the nodes are asked for their fingerprints, which are printed and kept.")]
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
        What::List => list(app),
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
        What::Show { name } => show(app, name),
    }
}

async fn add(app: &App, name: String, replace: bool) -> Result {
    let nodes = pinned(app).await?;
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
        settings.contexts.insert(name.clone(), Context { nodes });
        settings.current = Some(name.clone());
        Ok(())
    })?;
    app.ui.note(&format!("{name} is the current context"));
    Ok(())
}

/// The nodes of the command line with their fingerprints; with `--insecure` as they say themselves.
async fn pinned(app: &App) -> Result<Vec<Node>> {
    let global = &app.global;
    target::check_trust(global)?;
    if global.endpoints.is_empty() || !global.nodes.is_empty() {
        return Err(Failure::usage("a context needs nodes", "give them by --endpoint HOST"));
    }
    let endpoints = global.endpoints.iter().map(|text| target::parse_endpoint(text)).collect::<Result<Vec<_>>>()?;
    let prints: Vec<Fingerprint> = match (&global.fingerprints[..], global.insecure) {
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
                let target = Target { name: name.clone(), endpoint: endpoint.clone(), pin: Pin::FirstUse, known: None };
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
    if prints.len() != endpoints.len() {
        let message = format!("{} endpoints and {} fingerprints", endpoints.len(), prints.len());
        return Err(Failure::usage(message, "give one fingerprint for each endpoint, in the same order"));
    }
    let node = |(endpoint, print): (api::endpoint::Endpoint, Fingerprint)| Node {
        endpoint: endpoint.to_string(),
        fingerprint: print.to_string(),
    };
    Ok(endpoints.into_iter().zip(prints).map(node).collect())
}

fn list(app: &App) -> Result {
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

fn show(app: &App, name: Option<String>) -> Result {
    let format = format(app, &[Format::Yaml, Format::Json, Format::Table, Format::Wide])?;
    let settings = settings::load()?;
    let named = name.or_else(|| app.global.context.clone()).or_else(|| settings.current.clone());
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
            let mut table = Table::new(["ENDPOINT", "FINGERPRINT"]);
            context.nodes.iter().for_each(|node| table.row([node.endpoint.clone(), node.fingerprint.clone()]));
            table.print(&mut out)?;
        }
    }
    Ok(out.flush()?)
}

fn document(name: &str, context: &Context, settings: &Settings) -> Value {
    let current = settings.current.as_deref() == Some(name);
    json!({ "name": name, "current": current, "nodes": context.nodes })
}
