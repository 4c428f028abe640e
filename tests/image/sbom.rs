//! The SBOM in the eyes of SPDX's own validator.

use std::path::PathBuf;

use tests::artifacts;

use crate::{command, ok};

/// The validator of the SPDX project and what it needs, from PyPI, with the hash of every file.
const REQUIREMENTS: &str = include_str!("requirements.txt");

#[test]
fn the_sbom_passes_the_spdx_validator() {
    let sbom = artifacts::out().join("stele-amd64.spdx.json");
    ok(command(validator()).arg("-i").arg(&sbom));
    let text = std::fs::read_to_string(&sbom).expect("the SBOM");
    for named in ["\"SPDX-2.3\"", "usr/bin/machined", "linux-image", "rust-std", "libc6-dev", "STATIC_LINK"] {
        assert!(text.contains(named), "{named} is not in {}", sbom.display());
    }
}

/// Installed once, in an environment of its own in the cache, and again when the requirements are others.
fn validator() -> PathBuf {
    let folder = artifacts::xdg("XDG_CACHE_HOME", ".cache").join("tools/spdx-tools");
    // Its last file: half an installation has none.
    let installed = folder.join("requirements.txt");
    if std::fs::read_to_string(&installed).unwrap_or_default() != REQUIREMENTS {
        ok(command("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        let wanted = folder.join("wanted.txt");
        std::fs::write(&wanted, REQUIREMENTS).expect("the requirements");
        let pip = folder.join("bin/pip");
        // Wheels alone: installing one runs none of its code.
        ok(command(pip)
            .args([
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--require-hashes",
                "--only-binary=:all:",
                "-r",
            ])
            .arg(&wanted));
        std::fs::rename(&wanted, &installed).expect("marking the installation");
    }
    folder.join("bin/pyspdxtools")
}
