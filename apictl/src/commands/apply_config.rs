//! `apictl apply-config`: documents become what a node is.

use std::path::PathBuf;

use crate::{
    apply::{self, Change, Options},
    bundle::Bundle,
    exit::Result,
    node::App,
    source::Source,
};

/// Give nodes their configuration: documents from files, folders or standard input
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl apply-config -f web-1/ --secrets secrets.yaml\n  \
    apictl apply-config -f web-1/ --dry-run\n  \
    apictl apply-config -n 10.0.0.1,10.0.0.2 -f common.yaml -f api.yaml --mode trial --confirm-within 5m\n\n\
    The documents are the whole configuration: what is not among them goes. They are checked here first; every problem is \
    shown with its line, and then nothing is sent. A node that has no configuration is given its certificate, signed with \
    the secrets bundle, and from then on lets nobody in without one.\n\n\
    apictl then follows the node until the revision is in effect and proven: the node reached its own API with it. A trial is \
    confirmed once the node is reached anew, over the path that the new configuration made; otherwise the node goes back by \
    itself, also after a power cut.")]
pub(crate) struct Args {
    /// A file, a folder (its .yaml and .yml files), or - for standard input; may be given several times
    #[arg(short, long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,
    /// The secrets bundle; only those that the documents name are sent. Without it the node keeps those it has
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    let source = Source::load(&args.files)?;
    let bundle = args.secrets.as_deref().map(Bundle::load).transpose()?;
    let change = || Change::Documents { source: &source, secrets: bundle.as_ref(), expected: 0 };
    let jobs: Vec<_> = app.targets()?.into_iter().map(|target| (target, change())).collect();
    apply::run(app, &jobs, &args.options).await
}
