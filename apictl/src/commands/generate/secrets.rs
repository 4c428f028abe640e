//! `apictl gen secrets`: the authorities of a set of machines.

use std::path::PathBuf;

use config::Secrets;

use crate::{
    bundle::{self, RESCUE},
    exit::Result,
    node::App,
    secret,
};

/// Make the authorities that sign for a set of machines, and keep them in a file (-o FILE)
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl gen secrets -o secrets.yaml\n  \
    apictl gen secrets -o secrets.yaml --rescue-out /media/usb/rescue.yaml\n\n\
    One bundle serves any number of machines. It holds two authorities with their keys: `api-ca` signs the certificates of \
    nodes and operators; `rescue-ca` signs certificates that nodes let in whatever their documents say, for 24 hours at \
    most. The file is secrets.yaml unless -o says another; an existing one is never replaced.")]
pub(crate) struct Args {
    /// Keep the rescue key in this file instead: for a medium that lies in a safe
    #[arg(long, value_name = "FILE")]
    rescue_out: Option<PathBuf>,
}

pub(crate) fn run(app: &App, args: Args) -> Result {
    let path = super::place(app)?.unwrap_or_else(|| "secrets.yaml".into());
    let mut secrets = bundle::make()?;
    if let Some(rescue) = &args.rescue_out {
        let mut apart = Secrets::default();
        if let Some(own) = secrets.secrets.get_mut(RESCUE) {
            apart.secrets.insert(RESCUE.into(), own.clone());
            own.key = None;
        }
        secret::create(rescue, &bundle::text(&apart))?;
    }
    let made = secret::create(&path, &bundle::text(&secrets));
    if let (Err(_), Some(rescue)) = (&made, &args.rescue_out) {
        // It belongs to nothing.
        let _ = std::fs::remove_file(rescue);
    }
    made?;
    app.ui.note(&format!("{}: the authorities api-ca and rescue-ca; only you can read it", path.display()));
    app.ui.note(&match &args.rescue_out {
        Some(rescue) => {
            format!("{}: the rescue key; keep it offline, it opens every machine of this bundle", rescue.display())
        }
        None => {
            "  the rescue key in it opens every machine of this bundle: --rescue-out FILE would have put it on another \
                 medium;\n  better move it there before the first machine depends on it"
                .into()
        }
    });
    app.ui
        .note(&format!("next: apictl gen config --secrets {} -e HOST --fingerprint SHA256 -o FOLDER", path.display()));
    Ok(())
}
