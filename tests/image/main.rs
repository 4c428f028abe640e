//! The built image, looked at with stock tools and built a second time elsewhere. No machine is started here.
//!
//! `make test` calls it after `make test-image`; the results are in `_out/`.

mod disk;
mod loader;
mod repeat;
mod sbom;
mod signature;

use std::{ffi::OsStr, path::Path, process::Command};

/// A command that is to run on this workstation.
fn command(program: impl AsRef<OsStr>) -> Command {
    tests::child::free(program)
}

/// Runs a command that must succeed, and returns what it printed.
fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run `make setup`"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// The sums in a `SHA256SUMS`, without the files that only `keep` does not name.
fn sums(folder: &Path, keep: &str) -> String {
    let text = std::fs::read_to_string(folder.join("SHA256SUMS")).expect("SHA256SUMS");
    text.lines()
        .filter(|line| line.split("  ").nth(1).is_some_and(|name| name.starts_with(keep)))
        .collect::<Vec<_>>()
        .join("\n")
}
