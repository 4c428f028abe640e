//! How the machine was started, as the firmware, the loader and the stub tell it (systemd's Boot Loader Interface).

use std::fs;
use std::path::Path;

use crate::efi::{GLOBAL, LOADER, Variables};
use crate::resources::boot_record::Source;

/// What is known; empty where nothing is.
pub(super) fn source(variables: &Variables, proc: &Path) -> Source {
    let text = |name| variables.text(name, LOADER).ok().flatten().unwrap_or_default();
    let stub = text("StubInfo");
    let via = match (variables.is_efi(), stub.is_empty()) {
        (true, false) => "uki",
        (true, true) => "efi",
        (false, _) => "kernel",
    };
    let path = Some(text("StubImageIdentifier")).filter(|path| !path.is_empty());
    Source {
        via: via.into(),
        stub,
        loader: text("LoaderInfo"),
        path: path.unwrap_or_else(|| text("LoaderImageIdentifier")),
        partition: text("StubDevicePartUUID").to_ascii_lowercase(),
        command_line: command_line(proc),
    }
}

/// The kernel's command line.
pub(super) fn command_line(proc: &Path) -> String {
    fs::read_to_string(proc.join("cmdline")).unwrap_or_default().trim().to_owned()
}

/// Whether the firmware checks signatures; none when it cannot.
pub(super) fn secure_boot(variables: &Variables) -> Option<bool> {
    let value = variables.get("SecureBoot", GLOBAL).ok().flatten()?;
    value.first().map(|byte| *byte == 1)
}

/// Microseconds from power-on until the kernel was started, where the firmware's clock is usable.
pub(super) fn firmware_us(variables: &Variables) -> Option<u64> {
    variables.text("LoaderTimeExecUSec", LOADER).ok().flatten()?.trim().parse().ok()
}
