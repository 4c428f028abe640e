//! `apictl patch`: changes to what nodes have, without their files.

use std::path::{Path, PathBuf};

use crate::{
    apply::{self, Options},
    bundle::Bundle,
    exit::{Failure, Result},
    node::App,
    source,
};

/// Change single fields of the current documents of nodes
#[derive(clap::Args)]
#[command(after_help = "Example:\n  \
    apictl patch -p '{apiVersion: stele/v1, kind: Hostname, hostname: web-2}'\n  \
    apictl patch -f mtu.yaml --dry-run\n  \
    apictl patch -f changes/\n  \
    apictl patch -d Link/eth0 -p '[{op: replace, path: /mtu, value: 9000}]' --mode trial\n\n\
    A patch is documents that name what they change by kind and name: fields replace fields, null removes one, maps are merged; \
    `$patch: delete` removes a document or an item of a list, a document that is not there is added. With -d it is a list of \
    operations of RFC 6902 for that one document. Comments of what is not changed stay. A node whose documents were changed by \
    somebody else meanwhile refuses.")]
pub(crate) struct Args {
    /// The patch, YAML or JSON
    #[arg(short, long, value_name = "TEXT", conflicts_with = "files", required_unless_present = "files")]
    patch: Option<String>,
    /// A file that holds it, a folder of such files (.yaml, .yml) or - for standard input; several times: all of them
    #[arg(short, long = "file", value_name = "PATH")]
    files: Vec<PathBuf>,
    /// The document that the operations are for: Link/eth0
    #[arg(short, long, value_name = "KIND[/NAME]")]
    document: Option<String>,
    /// The secrets bundle, when the patch names a secret that the node does not have
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    let patch = match &args.patch {
        Some(text) => text.clone(),
        None => joined(&source::read(&args.files)?),
    };
    let a_file = args.patch.as_deref().is_some_and(|text| Path::new(text).is_file());
    let remedy = if a_file { "-p is the patch itself; a file that holds it is given by -f FILE" } else { "" };
    let bundle = args.secrets.as_deref().map(Bundle::load).transpose()?;
    apply::modify(app, bundle.as_ref(), &args.options, |documents| {
        apply_patch(documents, &patch, args.document.as_deref())
            .map(Some)
            .map_err(|error| Failure::usage(error.to_string(), remedy))
    })
    .await
}

/// The documents of all files as one stream.
fn joined(files: &[source::File]) -> String {
    let mut all = String::new();
    for file in files {
        if !all.is_empty() {
            all.push_str(if all.ends_with('\n') { "" } else { "\n" });
            all.push_str(if file.text.starts_with("---") { "" } else { "---\n" });
        }
        all.push_str(&file.text);
    }
    all
}

fn apply_patch(text: &str, patch: &str, document: Option<&str>) -> std::result::Result<String, config::patch::Error> {
    match document {
        Some(document) => config::patch::json(text, document, patch),
        None => config::patch::strategic(text, patch),
    }
}
