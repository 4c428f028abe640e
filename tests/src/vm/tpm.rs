//! A software TPM 2.0 for one machine.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use crate::{child, wait};

/// The running swtpm; it ends with this value.
pub(super) struct Swtpm {
    child: Child,
    left: bool,
}

impl Swtpm {
    /// Starts one with its state and its socket in `folder`, which must be absolute: with relative paths
    /// swtpm answers the emulator's first command with an error.
    pub(super) fn start(folder: &Path, detached: bool) -> Result<Self> {
        let state = folder.join("tpm");
        std::fs::create_dir_all(&state)?;
        let socket = folder.join(super::spec::TPM);
        let said = folder.join("tpm.err");
        let mut command = if detached { child::free("swtpm") } else { child::bound("swtpm") };
        if detached {
            command.process_group(0);
        }
        command
            .args(["socket", "--tpm2", "--tpmstate"])
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .arg("--log")
            .arg(format!("file={},level=1", folder.join("tpm.log").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&said)?);
        let child = child::spawn(command).context("starting swtpm; run `make setup`")?;
        let mut tpm = Self { child, left: false };
        let ready = wait::until("swtpm's socket", Duration::from_secs(30), || {
            socket.exists().then_some(true).or_else(|| matches!(tpm.child.try_wait(), Ok(Some(_))).then_some(false))
        })?;
        let why = || std::fs::read_to_string(&said).unwrap_or_default();
        ensure!(ready, "swtpm ended at once; run `make setup`. It said: {}", why());
        Ok(tpm)
    }

    /// The number of its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Lets it run on after this program.
    pub(super) fn leave_running(&mut self) {
        self.left = true;
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        // swtpm ends by itself when the emulator does; it may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
