//! The crates that are linked into our programs, for the SBOM: asked of cargo, which has them all at hand after a build.
//!
//! `cargo tree`, not `cargo metadata`: that one wants the dependencies of every test too, and knows no procedural macros.

use std::collections::BTreeSet;
use std::path::Path;

use super::Part;
use crate::{host, purl};

/// Packages of the workspace whose programs are in the image.
const PROGRAMS: [&str; 4] = ["init", "machined", "installer", "loader"];

/// cargo could not list them.
pub type Error = host::Error;

/// Lists them, sorted; our own crates are left out, and what runs only in the compiler.
///
/// # Errors
/// When cargo is missing or the workspace is broken.
pub fn list(manifest: &Path) -> Result<Vec<Part>, Error> {
    let output = host::program("cargo", "cargo")
        .args(["tree", "--locked", "--target=x86_64-unknown-linux-gnu", "--edges=normal,no-proc-macro"])
        // of the crate `installer` the node's program alone is in the image, not the builder
        .args(["--prefix=none", "--format={p}|{l}", "--no-default-features"])
        .args(PROGRAMS.map(|name| format!("--package={name}")))
        .args(["--manifest-path".as_ref(), manifest.as_os_str()])
        .run()?;
    let found: BTreeSet<Part> = String::from_utf8_lossy(&output.stdout).lines().filter_map(parse).collect();
    Ok(found.into_iter().collect())
}

/// `name v1.2.3|MIT OR Apache-2.0`, with ` (*)` behind it when it was there before; ours have their folder after the
/// version.
fn parse(line: &str) -> Option<Part> {
    let (package, licence) = line.trim_end().trim_end_matches(" (*)").split_once('|')?;
    let mut words = package.split(' ');
    let (name, version) = (words.next()?, words.next()?.strip_prefix('v')?);
    if words.next().is_some() {
        return None;
    }
    // the old way to write "or"
    let licence = if licence.is_empty() { "NOASSERTION".to_owned() } else { licence.replace('/', " OR ") };
    Some(Part {
        name: name.to_owned(),
        version: Some(version.to_owned()),
        licence,
        supplier: None,
        made: None,
        purl: Some(purl::cargo(name, version)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_what_is_linked_and_no_more() {
        let crates = list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml")).unwrap();
        let has = |name: &str| crates.iter().any(|one| one.name == name);
        assert!(has("tokio") && has("aws-lc-sys") && has("rustls") && has("uefi-raw"));
        // a procedural macro, what only builds, what only tests, what only other programs link, and ours
        for name in ["serde_derive", "syn", "cc", "proptest", "clap", "machined", "sys"] {
            assert!(!has(name), "{name}");
        }
    }

    #[test]
    fn lines_of_cargo_tree() {
        let old = parse("a v1.0.0+x|MIT/Apache-2.0 (*)").unwrap();
        assert_eq!((old.version.as_deref(), old.licence.as_str()), (Some("1.0.0+x"), "MIT OR Apache-2.0"));
        assert_eq!(parse("machined v0.1.0 (/src/machined)|Apache-2.0"), None);
        assert_eq!(parse("b v1|").unwrap().licence, "NOASSERTION");
    }
}
