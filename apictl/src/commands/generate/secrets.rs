//! `apictl gen secrets`: the authorities of a set of machines.

use std::path::{Path, PathBuf};

use config::Secrets;

use crate::{
    bundle::{self, RESCUE},
    exit::Result,
    node::App,
    secret,
};

/// Where the rescue key is kept, beside the bundle.
const APART: &str = "rescue.yaml";

/// Make the authorities that sign for a set of machines, and keep them in files (-o FILE)
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl gen secrets -o secrets.yaml\n  \
    apictl gen secrets -o secrets.yaml --rescue-out /media/usb/rescue.yaml\n\n\
    One bundle serves any number of machines. It holds two authorities: `api-ca`, with its key, signs the certificates of \
    nodes and operators; `rescue-ca` signs certificates that nodes let in whatever their documents say, for 24 hours at \
    most. The key of the rescue is in a file of its own, rescue.yaml beside the bundle unless --rescue-out says another: \
    move it to a medium that lies in a safe. The bundle is secrets.yaml unless -o says another; existing files are never \
    replaced.")]
pub(crate) struct Args {
    /// Write the rescue key to this file: on a medium that lies in a safe [default: rescue.yaml beside the bundle]
    #[arg(long, value_name = "FILE")]
    rescue_out: Option<PathBuf>,
}

pub(crate) fn run(app: &App, args: Args) -> Result {
    let path = super::place(app)?.unwrap_or_else(|| "secrets.yaml".into());
    let rescue = args.rescue_out.unwrap_or_else(|| path.parent().unwrap_or(Path::new("")).join(APART));
    let mut secrets = bundle::make()?;
    let mut apart = Secrets::default();
    if let Some(own) = secrets.secrets.get_mut(RESCUE) {
        apart.secrets.insert(RESCUE.into(), own.clone());
        own.key = None;
    }
    secret::create(&rescue, &bundle::text(&apart))?;
    let made = secret::create(&path, &bundle::text(&secrets));
    if made.is_err() {
        // It belongs to nothing.
        let _ = std::fs::remove_file(&rescue);
    }
    made?;
    app.ui.note(&format!("{}: the authorities api-ca and rescue-ca; only you can read it", path.display()));
    app.ui.note(&format!(
        "{}: the rescue key; move it to a medium that is offline, it opens every machine of this bundle",
        rescue.display()
    ));
    app.ui
        .note(&format!("next: apictl gen config --secrets {} -e HOST --fingerprint SHA256 -o FOLDER", path.display()));
    Ok(())
}
