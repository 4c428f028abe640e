//! NoCloud disks, made by the stock tool (cloud-localds), and the user-data an operator puts on them.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{apictl::Apictl, child};

/// What goes onto a disk; the empty ones are left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files<'a> {
    /// user-data.
    pub user_data: &'a [u8],
    /// meta-data.
    pub meta_data: &'a str,
    /// network-config.
    pub network_config: &'a str,
}

/// Makes a disk, `iso9660` or `vfat`, in a folder and returns its place.
pub fn disk(folder: &Path, name: &str, format: &str, files: Files<'_>) -> Result<PathBuf> {
    let place = |part: &str| folder.join(format!("{name}.{part}"));
    let mut command = child::free("cloud-localds");
    command.args(["-f", if format == "vfat" { "vfat" } else { "iso" }]);
    if !files.network_config.is_empty() {
        fs::write(place("network-config"), files.network_config)?;
        command.arg("-N").arg(place("network-config"));
    }
    fs::write(place("user-data"), files.user_data)?;
    fs::write(place("meta-data"), files.meta_data)?;
    let image = place("img");
    let made = command.arg(&image).arg(place("user-data")).arg(place("meta-data")).output();
    let made = made.context("running cloud-localds; run `make setup`")?;
    ensure!(made.status.success(), "cloud-localds: {}", String::from_utf8_lossy(&made.stderr));
    Ok(image)
}

/// Secrets, a context for the machine at this address, and the user-data that lets its certificate in.
pub fn user_data(folder: &Path, api: SocketAddr) -> Result<(Apictl, String)> {
    let apictl = Apictl::of_workstation(folder);
    let at = |name: &str| folder.join(name).display().to_string();
    apictl.ok(&["gen", "secrets", "-o", &at("secrets.yaml")])?;
    let (secrets, out, api) = (at("secrets.yaml"), at("user-data"), api.to_string());
    apictl.ok(&["gen", "config", "--secrets", &secrets, "-e", &api, "--user-data", "-o", &out])?;
    let text = fs::read_to_string(&out)?;
    Ok((apictl, text))
}
