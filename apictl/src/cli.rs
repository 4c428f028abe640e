//! The command line as clap sees it.

use std::{path::PathBuf, time::Duration};

use api::fingerprint::Fingerprint;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{commands, exit};

/// The remote control of Stele machines.
#[derive(Parser)]
#[command(name = "apictl", version, after_help = exit::HELP, max_term_width = 100, propagate_version = false)]
#[command(long_about = "The remote control of Stele machines.\n\n\
    A node is given by --endpoint, by APICTL_ENDPOINT or by a context (`apictl context add`). Without configuration it is \
    recognised by the fingerprint that its console shows, later by the authority that signed its certificate.")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Nodes to ask, side by side: addresses, or nodes of the context
    #[arg(short, long, global = true, value_delimiter = ',', value_name = "A,B")]
    pub(crate) nodes: Vec<String>,
    /// Where the API is: host, host:port, [IPv6]:port, fe80::1%eth0 [env: APICTL_ENDPOINT]
    #[arg(short, long = "endpoint", global = true, value_delimiter = ',', value_name = "HOST[:PORT]")]
    pub(crate) endpoints: Vec<String>,
    /// Context to use instead of the current one [env: APICTL_CONTEXT]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// SHA-256 of the node's certificate, from its console; several accept each [env: APICTL_FINGERPRINT]
    #[arg(long = "fingerprint", global = true, value_delimiter = ',', value_name = "SHA256")]
    pub(crate) fingerprints: Vec<Fingerprint>,
    /// Trust nodes whose certificate was signed by one of these authorities (PEM) [default: the context's]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) ca: Option<PathBuf>,
    /// The name or address that the node's certificate is for [default: the endpoint's host]
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub(crate) server_name: Option<String>,
    /// Your own certificate (PEM), with its key in the same file or in --client-key [default: the context's]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) client_cert: Option<PathBuf>,
    /// The key of --client-cert (PEM)
    #[arg(long, global = true, value_name = "FILE", requires = "client_cert", hide_short_help = true)]
    pub(crate) client_key: Option<PathBuf>,
    /// Trust whatever answers first, and print its fingerprint
    #[arg(long, global = true)]
    pub(crate) insecure: bool,
    /// How to print
    #[arg(
        short,
        long,
        global = true,
        value_parser = output,
        value_name = "FORMAT",
        help = "How to print: table, wide, yaml, json; logs and dmesg: table, json, raw; inspect: also dot; \
                gen: the file or folder to write; nothing to choose for reboot, shutdown, reset, upgrade, rollback and completion"
    )]
    pub(crate) output: Option<Output>,
    /// How long to wait, as 30s or 5m
    #[arg(long, global = true, value_parser = duration, value_name = "TIME")]
    pub(crate) timeout: Option<Duration>,
}

/// Output formats; not every command knows each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Wide,
    Yaml,
    Json,
    Raw,
    Dot,
}

/// What `-o` says: a format; for the commands that make files, where they go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    Format(Format),
    Place(PathBuf),
}

fn output(text: &str) -> Result<Output, String> {
    if text.is_empty() {
        return Err("it is empty".into());
    }
    Ok(Format::from_str(text, false).map_or_else(|_| Output::Place(text.into()), Output::Format))
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Version(commands::version::Args),
    Gen(commands::generate::Args),
    ApplyConfig(commands::apply_config::Args),
    Config(commands::configuration::Args),
    Patch(commands::patch::Args),
    Edit(commands::edit::Args),
    Schema(commands::schema::Args),
    Cert(commands::cert::Args),
    Audit(commands::audit::Args),
    Get(commands::get::Args),
    Logs(commands::logs::Args),
    Dmesg(commands::dmesg::Args),
    Events(commands::events::Args),
    Explain(commands::explain::Args),
    Support(commands::support::Args),
    Services(commands::services::Args),
    Health(commands::health::Args),
    Reboot(commands::reboot::Args),
    Shutdown(commands::shutdown::Args),
    Reset(commands::reset::Args),
    Install(commands::install::Args),
    Upgrade(commands::upgrade::Args),
    Rollback(commands::rollback::Args),
    Generations(commands::generations::Args),
    Jobs(commands::jobs::Args),
    Inspect(commands::inspect::Args),
    Context(commands::context::Args),
    Completion(commands::completion::Args),
    Man(commands::man::Args),
}

/// "30s", "5m", "1h 30m".
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<jiff::SignedDuration>().map_err(|_| "write it as 30s, 5m or 1h30m".to_owned())?;
    Duration::try_from(parsed).map_err(|_| "it must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_an_example() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("apictl "), "{} has no example", command.get_name());
        }
    }

    #[test]
    fn durations() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("5").is_err() && duration("-1s").is_err());
    }
}
