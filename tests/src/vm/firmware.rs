//! The firmware of a machine: OVMF with a variable store of its own, which may know whom to trust (Secure Boot).

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::variables;

/// Where Debian's and Ubuntu's package `ovmf` puts the firmware.
const FOLDER: &str = "/usr/share/OVMF";

/// Adds the machine and its firmware, with the variables in `folder`, where they are kept over restarts of the same
/// machine. With a certificate (PEM) Secure Boot is on, and starts what that key signed and nothing else.
pub(super) fn args(command: &mut Command, folder: &Path, trusted: Option<&PathBuf>) -> Result<()> {
    let store = folder.join("vars.fd");
    if !store.exists() {
        let mut bytes = fs::read(Path::new(FOLDER).join("OVMF_VARS_4M.fd"))
            .context("reading the firmware's variables; run `make setup`")?;
        if let Some(path) = trusted {
            let failed = || format!("reading the certificate {}; run `make image`", path.display());
            let certificate = pem::parse(fs::read(path).with_context(failed)?).with_context(failed)?;
            variables::trust(&mut bytes, certificate.contents())?;
        }
        fs::write(&store, bytes)?;
    }
    let code = if trusted.is_some() {
        // The variables are written in system management mode alone, or the guest could trust whom it likes.
        command.args(["-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"]);
        "OVMF_CODE_4M.secboot.fd"
    } else {
        command.args(["-machine", "q35,smm=off"]);
        "OVMF_CODE_4M.fd"
    };
    command
        .args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={FOLDER}/{code}")])
        .args(["-drive", &format!("if=pflash,format=raw,file={}", store.display())]);
    Ok(())
}
