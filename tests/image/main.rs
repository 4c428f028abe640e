//! The built image, looked at with stock tools and built a second time elsewhere. No machine is started here.
//!
//! `make test` calls it after `make test-image`; the results are in `_out/`.

mod disk;
mod repeat;
mod sbom;
mod signature;

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

/// A command that is to run on this workstation.
#[expect(clippy::disallowed_methods, reason = "stock tools are run on the workstation, not on a node")]
fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// Runs a command that must succeed, and returns what it printed.
fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; run `make setup`"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{text}", output.status);
    text
}

/// A folder of this user by its XDG variable, as imager finds it.
fn xdg(variable: &str, fallback: &str) -> PathBuf {
    let given = std::env::var_os(variable).filter(|value| !value.is_empty());
    let base = given.map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(fallback),
        PathBuf::from,
    );
    base.join("stele")
}

/// The sums in a `SHA256SUMS`, without the files that only `keep` does not name.
fn sums(folder: &Path, keep: &str) -> String {
    let text = std::fs::read_to_string(folder.join("SHA256SUMS")).expect("SHA256SUMS");
    text.lines()
        .filter(|line| line.split("  ").nth(1).is_some_and(|name| name.starts_with(keep)))
        .collect::<Vec<_>>()
        .join("\n")
}
