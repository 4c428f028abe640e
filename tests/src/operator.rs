//! An operator at a workstation: secrets, documents and a context in a folder of their own, and the machine configured with
//! them the way the README says.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{apictl::Apictl, machine::Machine};

/// The files of one operator, beside a machine's.
pub struct Operator {
    folder: PathBuf,
}

impl Operator {
    /// With fresh secrets.
    pub fn new(machine: &Machine) -> Result<Self> {
        let operator = Self { folder: machine.vm.folder().join("operator") };
        fs::create_dir_all(&operator.folder)?;
        machine.apictl.ok(&["gen", "secrets", "-o", &operator.secrets()])?;
        Ok(operator)
    }

    /// Whose secrets are there already.
    pub fn of(machine: &Machine, secrets: &Path) -> Result<Self> {
        let operator = Self { folder: machine.vm.folder().join("operator") };
        fs::create_dir_all(&operator.folder)?;
        fs::copy(secrets, operator.secrets()).with_context(|| secrets.display().to_string())?;
        // Git keeps no such mode, and apictl takes no key that others can read.
        fs::set_permissions(operator.secrets(), fs::Permissions::from_mode(0o600))?;
        Ok(operator)
    }

    /// The secrets bundle.
    pub fn secrets(&self) -> String {
        self.path("secrets.yaml")
    }

    /// The rescue's key, which is apart from it.
    pub fn rescue(&self) -> String {
        self.path("rescue.yaml")
    }

    /// The folder with the documents.
    pub fn documents(&self) -> String {
        self.path("documents")
    }

    /// A place of the operator's.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Makes the first documents and a context for the machine, which pins its console's fingerprint.
    pub fn generate(&self, machine: &Machine, hostname: &str) -> Result<()> {
        let (secrets, documents) = (self.secrets(), self.documents());
        let gen_config =
            ["gen", "config", "--secrets", &secrets, "--hostname", hostname, "-o", &documents, "--replace"];
        machine.apictl.ok(&gen_config).map(drop)
    }

    /// Configures a machine in maintenance; from then on its `apictl` uses the context.
    pub fn configure(&self, machine: &mut Machine, hostname: &str) -> Result<()> {
        self.generate(machine, hostname)?;
        machine.apictl.use_context();
        self.apply(&machine.apictl, &[]).map(drop)
    }

    /// Applies the documents; `apictl` comes back when they are in effect.
    pub fn apply(&self, apictl: &Apictl, arguments: &[&str]) -> Result<String> {
        let (secrets, documents) = (self.secrets(), self.documents());
        let apply = ["apply-config", "-f", &documents, "--secrets", &secrets];
        let asked = apictl.run(&[&apply, arguments].concat())?;
        let said = String::from_utf8_lossy(&asked.stderr).into_owned() + &String::from_utf8_lossy(&asked.stdout);
        ensure!(asked.status.success(), "apply-config: {}: {said}", asked.status);
        Ok(said)
    }

    /// Installs a machine that was started from a medium, and configures it with the documents; comes back when it is.
    pub fn install(&self, apictl: &Apictl, within: Duration, arguments: &[&str]) -> Result<String> {
        let (secrets, documents) = (self.secrets(), self.documents());
        let install = ["install", "-f", &documents, "--secrets", &secrets];
        let asked = apictl.run_within(within, &[&install, arguments].concat())?;
        let said = String::from_utf8_lossy(&asked.stderr).into_owned() + &String::from_utf8_lossy(&asked.stdout);
        ensure!(asked.status.success(), "install: {}: {said}", asked.status);
        Ok(said)
    }

    /// Adds or replaces a document.
    pub fn write(&self, name: &str, document: &str) -> Result<()> {
        let path = PathBuf::from(self.documents()).join(format!("{name}.yaml"));
        fs::write(&path, format!("apiVersion: stele/v1\n{document}")).with_context(|| path.display().to_string())
    }

    /// Takes a document away.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = PathBuf::from(self.documents()).join(format!("{name}.yaml"));
        fs::remove_file(&path).with_context(|| path.display().to_string())
    }
}

/// The configuration's status once it is as `wanted` says.
pub fn wait_config(apictl: &Apictl, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    apictl.wait_for("config-status", "config", what, |status| wanted(&status["value"]))
}

/// Waits until a revision is proven.
pub fn wait_blessed(apictl: &Apictl, revision: u64) -> Result<Value> {
    wait_config(apictl, &format!("revision {revision} to be proven"), |status| {
        status["state"] == "blessed" && status["revision"] == revision
    })
}
