//! The demonstration's machine: started fresh, left running, stopped by the numbers of its processes.

use std::{fs, io::ErrorKind, net::TcpListener, os::unix::fs::symlink, path::Path, time::Duration};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use tests::{
    artifacts,
    vm::{Spec, Vm},
    wait,
};

/// The API's own port, when it is free on this workstation.
const PORT: u16 = 50000;

/// The link to the folder with its sockets.
const SOCKETS: &str = "sockets";

/// Starts a machine with a fresh disk over the built image.
pub(crate) fn start(out: &Path, kernel: &str) -> Result<Vm> {
    let folder = out.join("demo");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    let mut spec = Spec::roomy(&artifacts::product_image(kernel))?;
    spec.detached = true;
    spec.port = if TcpListener::bind(("127.0.0.1", PORT)).is_ok() { PORT } else { 0 };
    let vm = Vm::start_in(&spec, &folder)?;
    // At once: who interrupts the demonstration can still stop the machine.
    let pids: Vec<String> = vm.pids().iter().map(u32::to_string).collect();
    symlink(vm.sockets(), folder.join(SOCKETS))?;
    fs::write(folder.join("pids"), pids.join("\n"))?;
    Ok(vm)
}

/// Lets the machine run on, and says how to go on with it.
pub(crate) fn leave(vm: Vm, out: &Path) -> Result<()> {
    let folder = out.join("demo");
    vm.leave_running();
    let env = folder.join("env");
    fs::write(
        &env,
        // The context with the operator's certificate is there, apart from whatever contexts the user has.
        format!(
            "export XDG_CONFIG_HOME='{}'\nexport PATH=\"{}:$PATH\"\n",
            folder.join("apictl").display(),
            out.display()
        ),
    )?;
    println!("\nThe machine runs on. To ask it more:\n\n    . {}\n    apictl get", env.display());
    println!("\nIts console: {}\nTo stop it:  make demo-stop", folder.join("serial.log").display());
    Ok(())
}

/// Stops what `start` started, and says whether there was anything.
pub(crate) fn stop(out: &Path) -> Result<bool> {
    let folder = out.join("demo");
    let Ok(text) = fs::read_to_string(folder.join("pids")) else { return Ok(false) };
    // Its own folder in /tmp, whose name nothing else has; gone when the workstation was started anew.
    let sockets = fs::read_link(folder.join(SOCKETS)).context("reading where the machine's sockets are")?;
    let mut stopped = false;
    for pid in text.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)) {
        // Numbers are used again: only what was started with this folder is ours.
        let ours = || {
            let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            String::from_utf8_lossy(&command).contains(&*sockets.to_string_lossy())
        };
        if ours() && kill_process(pid, Signal::TERM).is_ok() {
            wait::until("the demo's machine to stop", Duration::from_secs(30), || (!ours()).then_some(()))?;
            stopped = true;
        }
    }
    fs::remove_file(folder.join("pids"))?;
    fs::remove_file(folder.join(SOCKETS))?;
    match fs::remove_dir_all(&sockets) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", sockets.display()))
        }
        _ => Ok(stopped),
    }
}
