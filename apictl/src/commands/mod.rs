//! The commands, one file each: arguments and `run`.

pub(crate) mod apply_config;
pub(crate) mod audit;
pub(crate) mod cert;
pub(crate) mod completion;
pub(crate) mod configuration;
pub(crate) mod context;
pub(crate) mod dmesg;
pub(crate) mod edit;
pub(crate) mod events;
pub(crate) mod explain;
pub(crate) mod generate;
pub(crate) mod generations;
pub(crate) mod get;
pub(crate) mod health;
pub(crate) mod inspect;
pub(crate) mod install;
pub(crate) mod jobs;
pub(crate) mod logs;
pub(crate) mod man;
pub(crate) mod patch;
pub(crate) mod reboot;
pub(crate) mod reset;
pub(crate) mod rollback;
pub(crate) mod schema;
pub(crate) mod services;
pub(crate) mod shutdown;
pub(crate) mod support;
pub(crate) mod upgrade;
pub(crate) mod version;

use crate::{
    cli::{Format, Output},
    exit::{Failure, Result},
    node::App,
};

/// The output format, which must be one the command knows; the first one is the default.
pub(crate) fn format(app: &App, known: &[Format]) -> Result<Format> {
    let default = known.first().copied().unwrap_or(Format::Table);
    let wanted = match &app.global.output {
        None => default,
        Some(Output::Format(wanted)) if known.contains(wanted) => *wanted,
        Some(other) => {
            let wanted = match other {
                Output::Format(format) => name(*format),
                Output::Place(path) => path.display().to_string(),
            };
            let names = known.iter().map(|format| name(*format)).collect::<Vec<_>>().join(", ");
            return Err(Failure::usage(
                format!("this command has no output format {wanted}"),
                format!("it has: {names}"),
            ));
        }
    };
    Ok(wanted)
}

fn name(format: Format) -> String {
    format!("{format:?}").to_lowercase()
}
