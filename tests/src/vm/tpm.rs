//! A software TPM 2.0 for one machine.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::wait;

/// The running swtpm; it ends with this value.
pub(super) struct Swtpm(Child);

impl Swtpm {
    /// Starts one with its state and its socket (`tpm.sock`) in `folder`, which must be absolute: with relative paths
    /// swtpm answers the emulator's first command with an error.
    #[expect(clippy::disallowed_methods, reason = "the harness starts processes on the workstation, not on a node")]
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let state = folder.join("tpm");
        std::fs::create_dir_all(&state)?;
        let socket = folder.join("tpm.sock");
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--tpmstate"])
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .arg("--log")
            .arg(format!("file={},level=1", folder.join("tpm.log").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("starting swtpm; run `make setup`")?;
        let tpm = Self(child);
        wait::until("swtpm's socket", Duration::from_secs(30), || socket.exists().then_some(()))?;
        Ok(tpm)
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        // swtpm ends by itself when the emulator does; it may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
