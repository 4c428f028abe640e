//! The gateway, the only program that listens to the network. Everything is in `machined::gateway`.
//!
//! Given by the supervisor: the API's listening socket as descriptor 3, and in `STELE_READY_FD` the descriptor to write a
//! byte to when clients are served. `STELE_API_SOCKET` and `STELE_KEYS_SOCKET` name other sockets, for tests.

use std::{env, fs::File, io::Write, net::TcpListener, path::PathBuf, process::ExitCode};

use anyhow::Context;
use machined::gateway::{self, API_SOCKET, KEYS_SOCKET, LIMITS, report};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::say(format_args!("gateway: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let listener = sys::inherit::take(sys::inherit::FIRST).context("the API's listening socket")?;
    let listener = TcpListener::from(listener);
    listener.local_addr().context("descriptor 3 is not a listening socket")?;
    let ready = match env::var("STELE_READY_FD") {
        Ok(number) => {
            let number = number.parse().with_context(|| format!("STELE_READY_FD={number} is not a number"))?;
            Some(File::from(sys::inherit::take(number).context("STELE_READY_FD")?))
        }
        Err(_) => None,
    };
    let socket = |name, usual| env::var_os(name).map_or_else(|| PathBuf::from(usual), PathBuf::from);
    let api = socket("STELE_API_SOCKET", API_SOCKET);
    let keys = socket("STELE_KEYS_SOCKET", KEYS_SOCKET);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    // Nothing from outside was read until here, and nothing is before this is done.
    gateway::harden::harden().context("cannot give up what it does not need")?;
    let ready = || {
        report::say(format_args!("serves up to {} clients, {} of one address", LIMITS.total, LIMITS.each));
        if let Some(mut ready) = ready {
            // The supervisor may have gone meanwhile; the next one adopts a gateway that serves.
            let _ = ready.write_all(b"1");
        }
    };
    runtime.block_on(gateway::serve(gateway::Start { listener, api: &api, keys: &keys, limits: LIMITS }, ready))?;
    Ok(())
}
