//! `apictl get`: resources of any type, once or as they change.

pub(crate) mod watch;

use std::io::stdout;

use api::v1::{Column, GetRequest, ListRequest, Object, Type, TypesRequest, resource_client::ResourceClient};

pub(crate) use self::watch::Style;
use crate::{
    cell,
    cli::Format,
    commands::format,
    exit::{Code, Failure, Result},
    node::{Answers, App, Node},
    objects::{self, Shown, columns, documents},
    table::Table,
};

/// Show resources; without a type, the types there are
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  apictl get disks -o wide\n  apictl get link eth0 -o yaml\n  apictl get services --watch"
)]
pub(crate) struct Args {
    /// Type of resource, singular or plural: disks, link, services
    #[arg(value_name = "TYPE")]
    kind: Option<String>,
    /// Only this one
    id: Option<String>,
    /// Go on with every change, over lost connections and restarts
    #[arg(short, long, requires = "kind")]
    watch: bool,
}

const FORMATS: [Format; 4] = [Format::Table, Format::Wide, Format::Yaml, Format::Json];

pub(crate) async fn run(app: &App, args: Args) -> Result {
    let Some(kind) = args.kind else {
        return types(app).await;
    };
    let id = args.id.as_deref();
    if args.watch { watch::run(app, &kind, id, Style::Changes).await } else { once(app, &kind, id).await }
}

/// Shows the resources as they are now.
pub(crate) async fn once(app: &App, kind: &str, id: Option<&str>) -> Result {
    let format = format(app, &FORMATS)?;
    let answers = app
        .ask(async |node| {
            let of = resolve(node, kind).await?;
            let objects = fetch(node, &of.name, id).await?;
            Ok((of, objects))
        })
        .await?;
    let (several, columns) = (answers.several(), merged(&answers, format));
    let (mut good, mut failed) = (Vec::new(), answers.failed);
    for (node, object) in answers.good.iter().flat_map(|(node, (_, all))| all.iter().map(move |one| (node, one))) {
        match (Shown { node: several.then_some(&node.name), event: None, object }).document() {
            Ok(document) => good.push(document),
            Err(failure) => failed.push(failure.at(&node.name)),
        }
    }
    let mut out = stdout().lock();
    if matches!(format, Format::Json | Format::Yaml) {
        let alone = id.is_some() && !several;
        if !alone || !good.is_empty() {
            documents(&mut out, &good, alone, format)?;
        }
    } else if good.is_empty() && failed.is_empty() {
        app.ui.note(&format!("no {kind}"));
    } else if !good.is_empty() {
        let mut table = Table::new(headers(&columns, several, false));
        good.iter().for_each(|document| table.row(document.cells(&columns)));
        table.print(&mut out)?;
    }
    Failure::all(failed)
}

/// The type that a name means on a node.
async fn resolve(node: &Node, name: &str) -> Result<Type> {
    let types = ResourceClient::new(node.channel.clone()).types(TypesRequest {}).await?.into_inner().types;
    let means = |of: &Type| of.name == name || of.plural == name || of.aliases.iter().any(|alias| alias == name);
    types.iter().find(|of| means(of)).cloned().ok_or_else(|| {
        let names: Vec<&str> = types.iter().map(|of| of.plural.as_str()).collect();
        Failure::new(
            Code::NotFound,
            format!("no type of resource {name:?}"),
            format!("there are: {}", names.join(", ")),
        )
    })
}

async fn fetch(node: &Node, kind: &str, id: Option<&str>) -> Result<Vec<Object>> {
    let mut client = ResourceClient::new(node.channel.clone());
    if let Some(id) = id {
        let object = client.get(GetRequest { r#type: kind.to_owned(), id: id.to_owned() }).await?;
        return Ok(vec![object.into_inner()]);
    }
    let mut stream = client.list(ListRequest { r#type: kind.to_owned() }).await?.into_inner();
    let mut objects = Vec::new();
    while let Some(object) = stream.message().await? {
        objects.push(object);
    }
    in_order(&mut objects);
    Ok(objects)
}

/// Ids that are numbers, as those of processes, in the order of numbers.
fn in_order(objects: &mut [Object]) {
    let is_number = |object: &Object| object.id.parse::<u64>().is_ok();
    if objects.iter().all(is_number) {
        objects.sort_by_key(|object| object.id.parse::<u64>().unwrap_or(u64::MAX));
    }
}

/// The columns of the type; nodes of different versions may differ, then the first one's and what others have more.
fn merged(answers: &Answers<(Type, Vec<Object>)>, format: Format) -> Vec<Column> {
    let mut all: Vec<Column> = Vec::new();
    for column in answers.good.iter().flat_map(|(_, (of, _))| columns(of, format)) {
        if !all.iter().any(|other| other.pointer == column.pointer) {
            all.push(column);
        }
    }
    all
}

fn headers(columns: &[Column], several: bool, watch: bool) -> Vec<String> {
    let extra = several.then_some("NODE").into_iter().chain(watch.then_some("EVENT")).map(str::to_owned);
    extra.chain(columns.iter().map(cell::header)).collect()
}

/// The types there are.
async fn types(app: &App) -> Result {
    let format = format(app, &FORMATS)?;
    let answers = app
        .ask(async |node| {
            Ok(ResourceClient::new(node.channel.clone()).types(TypesRequest {}).await?.into_inner().types)
        })
        .await?;
    let mut all: Vec<&Type> = Vec::new();
    for of in answers.good.iter().flat_map(|(_, types)| types) {
        if !all.iter().any(|other| other.name == of.name) {
            all.push(of);
        }
    }
    let mut out = stdout().lock();
    if matches!(format, Format::Json | Format::Yaml) {
        let list: Vec<_> = all.into_iter().map(document).collect();
        if format == Format::Json { objects::json(&mut out, &list)? } else { objects::yaml(&mut out, &list)? }
    } else {
        let mut table = Table::new(["TYPE", "PLURAL", "ALIASES", "WHAT"]);
        for of in all {
            table.row([of.name.clone(), of.plural.clone(), of.aliases.join(","), of.doc.clone()]);
        }
        table.print(&mut out)?;
    }
    answers.end()
}

fn document(of: &Type) -> serde_json::Value {
    let columns: Vec<_> = of
        .columns
        .iter()
        .map(|column| serde_json::json!({ "header": column.header, "pointer": column.pointer, "wide": column.wide }))
        .collect();
    let schema: serde_json::Value = serde_json::from_str(&of.schema).unwrap_or_default();
    serde_json::json!({
        "name": of.name, "plural": of.plural, "aliases": of.aliases, "doc": of.doc, "columns": columns,
        "schema": schema,
    })
}
