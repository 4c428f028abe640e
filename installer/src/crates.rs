//! The crates that are linked into our programs, for the SBOM: asked of cargo, which has them all at hand after a build.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::host;

/// Packages of the workspace whose programs are in the image.
const PROGRAMS: [&str; 2] = ["init", "machined"];

/// A crate linked into one of our programs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SPDX expression.
    pub licence: String,
}

/// The crates cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// cargo.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// Its answer.
    #[error("cannot read what cargo metadata says")]
    Parse(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// None: linked; else `build` or `dev`.
    kind: Option<String>,
}

/// Lists them, sorted; our own crates are left out.
///
/// # Errors
/// When cargo is missing or the workspace is broken.
pub fn list(manifest: &Path) -> Result<Vec<Crate>, Error> {
    let output = host::program("cargo", "cargo")
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .args(["--filter-platform=x86_64-unknown-linux-gnu", "--manifest-path"])
        .args([manifest])
        .run()?;
    Ok(linked(&serde_json::from_slice(&output.stdout)?))
}

fn linked(metadata: &Metadata) -> Vec<Crate> {
    let ours = |package: &&Package| package.source.is_none() && PROGRAMS.contains(&package.name.as_str());
    let mut todo: Vec<&str> = metadata.packages.iter().filter(ours).map(|package| package.id.as_str()).collect();
    let mut seen: BTreeSet<&str> = todo.iter().copied().collect();
    while let Some(id) = todo.pop() {
        let node = metadata.resolve.nodes.iter().find(|node| node.id == id);
        for dependency in node.map(|node| node.deps.as_slice()).unwrap_or_default() {
            let is_linked = dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
            if is_linked && seen.insert(&dependency.pkg) {
                todo.push(&dependency.pkg);
            }
        }
    }
    let taken =
        metadata.packages.iter().filter(|package| package.source.is_some() && seen.contains(package.id.as_str()));
    let found: BTreeSet<Crate> = taken
        .map(|package| Crate {
            name: package.name.clone(),
            version: package.version.clone(),
            // the old way to write "or"
            licence: package.license.as_deref().unwrap_or("NOASSERTION").replace('/', " OR "),
        })
        .collect();
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn build_and_dev_dependencies_are_not_linked() {
        let metadata = serde_json::from_value(serde_json::json!({
            "packages": [
                { "id": "m", "name": "machined", "version": "0", "license": null, "source": null },
                { "id": "a", "name": "a", "version": "1", "license": "MIT/Apache-2.0", "source": "r" },
                { "id": "b", "name": "b", "version": "1", "license": "MIT", "source": "r" },
            ],
            "resolve": { "nodes": [{ "id": "m", "deps": [
                { "pkg": "a", "dep_kinds": [{ "kind": null }] },
                { "pkg": "b", "dep_kinds": [{ "kind": "build" }] },
            ]}]},
        }))
        .unwrap();
        let found = linked(&metadata);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].licence, "MIT OR Apache-2.0");
    }
}
