//! The SBOM in the eyes of SPDX's own validator.

use std::path::PathBuf;

use tests::artifacts;

use crate::{command, ok, xdg};

/// The validator of the SPDX project, from PyPI.
const VALIDATOR: &str = "spdx-tools==0.8.3";

#[test]
fn the_sbom_passes_the_spdx_validator() {
    let sbom = artifacts::out().join("stele-amd64.spdx.json");
    ok(command(validator()).arg("-i").arg(&sbom));
    let text = std::fs::read_to_string(&sbom).expect("the SBOM");
    for named in ["\"SPDX-2.3\"", "usr/bin/machined", "linux-image"] {
        assert!(text.contains(named), "{named} is not in {}", sbom.display());
    }
}

/// Installed once, in an environment of its own in the cache.
fn validator() -> PathBuf {
    let folder = xdg("XDG_CACHE_HOME", ".cache").join("tools").join(VALIDATOR.replace("==", "-"));
    let program = folder.join("bin/pyspdxtools");
    // Its last file: half an installation has none.
    let whole = folder.join("installed");
    if !whole.exists() {
        ok(command("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        ok(command(folder.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", VALIDATOR]));
        std::fs::write(&whole, "").expect("marking the installation");
    }
    program
}
