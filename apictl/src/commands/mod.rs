//! The commands, one file each: arguments and `run`.

pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod dmesg;
pub(crate) mod events;
pub(crate) mod get;
pub(crate) mod health;
pub(crate) mod inspect;
pub(crate) mod logs;
pub(crate) mod reboot;
pub(crate) mod services;
pub(crate) mod shutdown;
pub(crate) mod version;

use crate::{
    cli::Format,
    exit::{Failure, Result},
    node::App,
};

/// The output format, which must be one the command knows; the first one is the default.
fn format(app: &App, known: &[Format]) -> Result<Format> {
    let default = known.first().copied().unwrap_or(Format::Table);
    let wanted = app.global.output.unwrap_or(default);
    if known.contains(&wanted) {
        return Ok(wanted);
    }
    let names = known.iter().map(|format| format!("{format:?}").to_lowercase()).collect::<Vec<_>>().join(", ");
    let wanted = format!("{wanted:?}").to_lowercase();
    Err(Failure::usage(format!("this command has no output format {wanted}"), format!("it has: {names}")))
}
