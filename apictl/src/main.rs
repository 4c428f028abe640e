//! `apictl`: asks nodes over their API, and tells them to stop.
//!
//! Here: parse, run the command until it ends or Ctrl-C does, say what failed, choose the exit code.

mod apply;
mod bundle;
mod cell;
mod cli;
mod commands;
mod enlist;
mod exit;
mod explain;
mod identity;
mod job;
mod node;
mod objects;
mod secret;
mod settings;
mod snapshot;
mod source;
mod stop;
mod table;
mod target;
mod text;
mod ui;

use std::process::ExitCode;

use clap::Parser;
use tokio::{runtime, signal, time::Instant};

use crate::{
    cli::{Cli, Command},
    exit::{Code, Failure, Result},
    node::App,
    ui::Ui,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Help and version are no failure and go to stdout; a reader that left is no failure either.
            let code = if told.use_stderr() { Code::Usage.into() } else { ExitCode::SUCCESS };
            let _ = told.print();
            return code;
        }
    };
    let app = App { global: cli.global, ui: Ui::new(), started: Instant::now(), warned: false.into() };
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            app.ui.failure(&Failure::new(Code::Failed, format!("cannot start: {error}"), ""));
            return Code::Failed.into();
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            biased;
            _ = signal::ctrl_c() => None,
            result = run(&app, cli.command) => Some(result),
        }
    });
    // A name lookup that hangs in its thread must not hold the exit.
    runtime.shutdown_background();
    match ended {
        None => Code::Interrupted.into(),
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(failure)) if failure.quiet => ExitCode::SUCCESS,
        Some(Err(failure)) => {
            let all = std::iter::once(&failure).chain(&failure.others);
            all.filter(|failure| !failure.said).for_each(|failure| app.ui.failure(failure));
            failure.code.into()
        }
    }
}

async fn run(app: &App, command: Command) -> Result {
    match command {
        Command::Version(args) => commands::version::run(app, args).await,
        Command::Gen(args) => commands::generate::run(app, args),
        Command::ApplyConfig(args) => commands::apply_config::run(app, args).await,
        Command::Config(args) => commands::configuration::run(app, args).await,
        Command::Patch(args) => commands::patch::run(app, args).await,
        Command::Edit(args) => commands::edit::run(app, args).await,
        Command::Schema(args) => commands::schema::run(app, args),
        Command::Cert(args) => commands::cert::run(app, args).await,
        Command::Man(args) => commands::man::run(app, args),
        Command::Audit(args) => commands::audit::run(app, args).await,
        Command::Get(args) => commands::get::run(app, args).await,
        Command::Logs(args) => commands::logs::run(app, args).await,
        Command::Dmesg(args) => commands::dmesg::run(app, args).await,
        Command::Events(args) => commands::events::run(app, args).await,
        Command::Explain(args) => commands::explain::run(app, args).await,
        Command::Support(args) => commands::support::run(app, args).await,
        Command::Services(args) => commands::services::run(app, args).await,
        Command::Health(args) => commands::health::run(app, args).await,
        Command::Reboot(args) => commands::reboot::run(app, args).await,
        Command::Install(args) => commands::install::run(app, args).await,
        Command::Upgrade(args) => commands::upgrade::run(app, args).await,
        Command::Rollback(args) => commands::rollback::run(app, args).await,
        Command::Generations(args) => commands::generations::run(app, args).await,
        Command::Jobs(args) => commands::jobs::run(app, args).await,
        Command::Shutdown(args) => commands::shutdown::run(app, args).await,
        Command::Reset(args) => commands::reset::run(app, args).await,
        Command::Inspect(args) => commands::inspect::run(app, args).await,
        Command::Context(args) => commands::context::run(app, args).await,
        Command::Completion(args) => commands::completion::run(&args),
    }
}
