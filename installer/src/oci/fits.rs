//! Whether an image is one for this machine: what can be said before anything large is fetched. Pure.

use config::image::pull::{Check, Limits, Node};
use config::image::{Manifest, Part};

use super::failure::Failure;
use super::spec::{self, Descriptor, Index, layer_type};

/// Parts without which there is nothing to start.
const NEEDED: [&str; 1] = ["uki"];

/// The manifest for an architecture.
pub(super) fn architecture<'a>(index: &'a Index, wanted: &str) -> Result<&'a Descriptor, Failure> {
    let is_it = |one: &&Descriptor| {
        one.platform.as_ref().is_some_and(|platform| platform.os == "linux" && platform.architecture == wanted)
    };
    let mut found = index.manifests.iter().filter(is_it);
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Failure::new(Check::Format, format!("the image has two manifests for {wanted}"))),
        (None, _) => {
            let all: Vec<String> =
                index.manifests.iter().filter_map(|one| one.platform.as_ref()).map(platform).collect();
            let all = if all.is_empty() { "no architecture".to_owned() } else { all.join(", ") };
            let message = format!("this machine is linux/{wanted}, the image is for {all}");
            Err(Failure::new(Check::Architecture, message))
        }
    }
}

fn platform(one: &spec::Platform) -> String {
    spec::printable(&format!("{}/{}", one.os, one.architecture))
}

/// The Stele manifest and the layers name the same files.
pub(super) fn parts(stele: &Manifest, manifest: &spec::Manifest) -> Result<(), Failure> {
    let wrong = |why: String| Err(Failure::new(Check::Format, why));
    for name in NEEDED {
        if stele.part(name).is_none() {
            return wrong(format!("the image has no part {name}"));
        }
    }
    for (at, part) in stele.parts.iter().enumerate() {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if part.name.is_empty() || part.name.len() > 32 || !part.name.bytes().all(plain) {
            return wrong(format!("{} is no name of a part", spec::printable(&part.name)));
        }
        if stele.parts[..at].iter().any(|other| other.name == part.name) {
            return wrong(format!("the image has two parts {}", part.name));
        }
    }
    let is_layer = |part: &Part, layer: &Descriptor| {
        (&layer.digest, layer.size) == (&part.digest, part.size) && layer.media_type == layer_type(&part.name)
    };
    let same = stele.parts.len() == manifest.layers.len()
        && stele.parts.iter().zip(&manifest.layers).all(|(part, layer)| is_layer(part, layer));
    if same { Ok(()) } else { wrong("the Stele manifest names other parts than the layers are".to_owned()) }
}

/// Every check that needs the Stele manifest alone.
pub(super) fn node(stele: &Manifest, node: &Node, limits: &Limits) -> Result<(), Failure> {
    let refused = |check, why: String| Err(Failure::new(check, why));
    let version = &stele.version;
    if stele.arch != node.architecture {
        let arch = spec::printable(&stele.arch);
        return refused(Check::Architecture, format!("this machine is {}, the image is for {arch}", node.architecture));
    }
    if let Some(floor) = node.floor.as_ref().filter(|floor| version < floor && !node.allow_downgrade) {
        return refused(
            Check::Floor,
            format!("version {version} is below {floor}, the floor of what was blessed here"),
        );
    }
    if node.version < stele.minimum {
        let message =
            format!("version {version} can be taken from {} on, this machine runs {}", stele.minimum, node.version);
        return refused(Check::Minimum, message);
    }
    if let Some(schema) = node.schema.as_ref().filter(|schema| !stele.schema.contains(schema)) {
        return refused(
            Check::Schema,
            format!("the documents here are {schema}, version {version} does not read them"),
        );
    }
    for (name, &here) in &node.formats {
        let reads = stele.formats.get(name).copied().unwrap_or(0);
        if reads < here {
            let message =
                format!("the format of {name} on this machine is {here}, version {version} reads it up to {reads}");
            return refused(Check::Format, message);
        }
    }
    if stele.size() > limits.bytes {
        return refused(
            Check::Size,
            format!("the parts have {} bytes, at most {} are allowed", stele.size(), limits.bytes),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests;
