//! What runs on this machine, as the API says it: fixed for as long as machined runs, but for the names of the machine,
//! which META may bring late. Filled in by `boot`.

use api::v1;

use crate::identity::Machine;

/// What `Machine.Version` answers; see the proto file for each field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Of Stele.
    pub version: String,
    /// Git commit, or empty.
    pub commit: String,
    /// RFC 3339.
    pub built: String,
}

impl About {
    /// The answer for this machine; kernel and architecture are asked of the kernel.
    pub(super) fn message(&self, machine: &Machine) -> v1::VersionResponse {
        let Self { version, commit, built } = self.clone();
        let Machine { machine_id, boot_id, hostname } = machine.clone();
        let kernel = rustix::system::uname();
        let arch = match kernel.machine().to_string_lossy().as_ref() {
            "x86_64" => "amd64".into(),
            "aarch64" => "arm64".into(),
            other => other.to_owned(),
        };
        let kernel = kernel.release().to_string_lossy().into_owned();
        v1::VersionResponse { version, commit, built, kernel, arch, machine_id, boot_id, hostname }
    }
}
