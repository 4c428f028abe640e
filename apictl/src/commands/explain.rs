//! `apictl explain`: why something is not as wanted.

use std::io::{Write, stdout};

use crate::{
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    explain,
    node::App,
    objects,
    snapshot::{self, Snapshot},
};

/// Say why something is not as wanted: from the document to the controller to what the kernel says
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl explain link eth0\n  apictl explain Link/eth0\n  apictl explain sysctl -o json\n\n\
    A document is named as in `apictl get documents`. Without an id everything of the type is explained. What is waited for \
    is shown with its limit, in seconds after the start of the machine."
)]
pub(crate) struct Args {
    /// Type of resource, as in `apictl get`; or a document, as Link/eth0 or Hostname
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Only this one
    id: Option<String>,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    let format = format(app, &[Format::Table, Format::Wide, Format::Json, Format::Yaml])?;
    let answers = app.ask(async |node| snapshot::take(node).await).await?;
    let several = answers.several();
    let mut out = stdout().lock();
    let (mut documents, mut failed) = (Vec::new(), Vec::new());
    for (node, snapshot) in &answers.good {
        let subjects = match subjects(snapshot, &args) {
            Ok(subjects) => subjects,
            Err(failure) => {
                failed.push(failure.at(&node.name));
                continue;
            }
        };
        for (kind, id) in subjects {
            let Some(explained) = explain::explain(snapshot, &kind, &id) else {
                failed.push(unknown(snapshot, &kind, &id).at(&node.name));
                continue;
            };
            if matches!(format, Format::Json | Format::Yaml) {
                documents.push(explain::document(several.then_some(&*node.name), &explained));
            } else {
                let at = if several { format!("{}: ", crate::text::plain(&node.name)) } else { String::new() };
                write!(out, "{at}{}", explain::text(&explained, &app.ui))?;
            }
        }
    }
    match format {
        Format::Json => objects::json(&mut out, &documents)?,
        Format::Yaml => objects::yaml(&mut out, &documents)?,
        _ => {}
    }
    failed.extend(answers.failed);
    Failure::all(failed)
}

/// What is meant: type and id of each.
fn subjects(snapshot: &Snapshot, args: &Args) -> Result<Vec<(String, String)>> {
    let whole = || args.id.as_ref().map_or(args.kind.clone(), |id| format!("{}/{id}", args.kind));
    let is_document = snapshot.of("document").any(|document| document.id == whole());
    if is_document {
        return Ok(vec![("document".into(), whole())]);
    }
    let (name, id) = match (args.kind.split_once('/'), &args.id) {
        (Some((kind, id)), None) => (kind, Some(id)),
        (_, id) => (&*args.kind, id.as_deref()),
    };
    let Some(kind) = snapshot.kind(name).map(|of| of.name.clone()) else {
        let names: Vec<&str> = snapshot.types.iter().map(|of| of.plural.as_str()).collect();
        let hint = format!("documents are named as in `apictl get documents`; types are: {}", names.join(", "));
        return Err(Failure::new(Code::NotFound, format!("no document and no type of resource {:?}", args.kind), hint));
    };
    if let Some(id) = id {
        return Ok(vec![(kind, id.to_owned())]);
    }
    let all: Vec<_> = snapshot.of(&kind).map(|one| (kind.clone(), one.id.clone())).collect();
    match all.is_empty() {
        true => Err(Failure::new(Code::NotFound, format!("there is no {kind}"), "")),
        false => Ok(all),
    }
}

fn unknown(snapshot: &Snapshot, kind: &str, id: &str) -> Failure {
    let ids: Vec<&str> = snapshot.of(kind).map(|one| one.id.as_str()).collect();
    let hint = if ids.is_empty() { format!("there is no {kind}") } else { format!("there are: {}", ids.join(", ")) };
    Failure::new(Code::NotFound, format!("nothing is known of {kind} {id:?}"), hint)
}
