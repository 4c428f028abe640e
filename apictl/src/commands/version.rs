//! `apictl version`: what runs here and on the nodes.

use std::io::{Write, stdout};

use api::v1::{VersionRequest, VersionResponse, machine_client::MachineClient};
use serde_json::{Value, json};

use crate::{cli::Format, commands::format, exit::Result, node::App, objects, table::Table, target};

/// Show the versions of apictl and of the nodes
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl version -n 10.0.0.1,10.0.0.2 -o json")]
pub(crate) struct Args {
    /// Only apictl's own version
    #[arg(long)]
    client: bool,
}

/// The commit apictl was built from, "" when unknown.
const COMMIT: &str = match option_env!("STELE_COMMIT") {
    Some(commit) => commit,
    None => "",
};

pub(crate) async fn run(app: &App, args: Args) -> Result {
    let format = format(app, &[Format::Table, Format::Wide, Format::Json, Format::Yaml])?;
    let client = json!({ "version": env!("CARGO_PKG_VERSION"), "commit": COMMIT });
    let mut out = stdout().lock();
    if matches!(format, Format::Table | Format::Wide) {
        let commit = if COMMIT.is_empty() { String::new() } else { format!(" ({COMMIT})") };
        writeln!(out, "apictl {}{commit}", env!("CARGO_PKG_VERSION"))?;
    }
    let only_client = args.client || !target::is_given(&app.global);
    if only_client {
        match format {
            Format::Json => objects::json(&mut out, &json!({ "client": client, "nodes": [] }))?,
            Format::Yaml => objects::yaml(&mut out, &json!({ "client": client, "nodes": [] }))?,
            _ if !args.client => app.ui.note("no node asked: no --endpoint and no context"),
            _ => {}
        }
        return Ok(());
    }
    let answers = app
        .ask(async |node| Ok(MachineClient::new(node.channel.clone()).version(VersionRequest {}).await?.into_inner()))
        .await?;
    let nodes: Vec<Value> = answers.good.iter().map(|(node, version)| document(&node.name, version)).collect();
    match format {
        Format::Json => objects::json(&mut out, &json!({ "client": client, "nodes": nodes }))?,
        Format::Yaml => objects::yaml(&mut out, &json!({ "client": client, "nodes": nodes }))?,
        _ => {
            let wide = format == Format::Wide;
            let headers = ["NODE", "VERSION", "COMMIT", "BUILT", "KERNEL", "ARCH", "HOSTNAME"];
            let extra = ["MACHINE ID", "BOOT ID"];
            let mut table = Table::new(headers.into_iter().chain(extra.into_iter().filter(|_| wide)));
            for (node, v) in &answers.good {
                let cells = [&node.name, &v.version, &v.commit, &v.built, &v.kernel, &v.arch, &v.hostname];
                let extra = [&v.machine_id, &v.boot_id].into_iter().filter(|_| wide);
                table.row(cells.into_iter().chain(extra).cloned());
            }
            table.print(&mut out)?;
        }
    }
    answers.end()
}

fn document(node: &str, v: &VersionResponse) -> Value {
    json!({
        "node": node, "version": v.version, "commit": v.commit, "built": v.built, "kernel": v.kernel, "arch": v.arch,
        "machineId": v.machine_id, "bootId": v.boot_id, "hostname": v.hostname,
    })
}
