//! The SBOM: SPDX 2.3 as JSON, over every file inside the image and every package that it comes from, and everything
//! that is linked into our own programs.
//!
//! Identifiers are derived from content and the time is the commit's, so it is as deterministic as the image. A Debian
//! package appears with the files that were taken from it, its verification code (SPDX 2.3, 7.9) covers just those.

mod element;

use std::collections::BTreeMap;

use element::{IMAGE, OURS, identifier, link};
use serde_json::{Value, json};

use crate::linked::Part;
use crate::lock::Package;
use crate::release::Release;
use crate::tree::Origin;

/// A file inside the image.
pub struct File<'a> {
    /// Which part and where: `rootfs/usr/bin/machined`.
    pub name: String,
    /// Content.
    pub bytes: &'a [u8],
    /// Who it is from.
    pub origin: &'a Origin,
}

/// Everything the document is about.
pub struct Inside<'a> {
    /// The image's name.
    pub name: &'a str,
    /// Which build.
    pub release: &'a Release,
    /// SHA-256 of the UKI.
    pub digest: &'a str,
    /// Every file.
    pub files: &'a [File<'a>],
    /// Every Debian package that gave one.
    pub packages: &'a [Package],
    /// Licence expression of each source package.
    pub licences: &'a BTreeMap<String, String>,
    /// Everything linked into our programs.
    pub linked: &'a [Part],
}

/// A package in the image has no licence in `image.yaml`.
#[derive(Debug, thiserror::Error)]
#[error(
    "image.yaml has no licence for the source package {0}: read its copyright file and add an SPDX expression under licences"
)]
pub struct NoLicence(pub String);

const NOT_SAID: &str = "NOASSERTION";

/// The document.
///
/// # Errors
/// When the licence of a package has not been reviewed.
pub fn document(inside: &Inside<'_>) -> Result<Value, NoLicence> {
    let version = format!("{}+{}", inside.release.version, inside.release.commit);
    let mut links = vec![link("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE)];
    let mut files = Vec::new();
    let mut held: BTreeMap<&Origin, Vec<String>> = BTreeMap::new();
    for file in inside.files {
        let (id, sha1) = (identifier("File", &file.name), element::sha1(file.bytes));
        let holder = match file.origin {
            Origin::Stele => OURS.to_owned(),
            Origin::Package(name) => identifier("Package", name),
        };
        links.push(link(&holder, "CONTAINS", &id));
        files.push(element::file(&id, file, &sha1));
        held.entry(file.origin).or_default().push(sha1);
    }

    let of = |origin: &Origin| held.get(origin).map(Vec::as_slice).unwrap_or_default();
    let mut packages = vec![element::image(inside, &version), element::ours(&version, of(&Origin::Stele))];
    links.push(link(IMAGE, "DEPENDS_ON", OURS));
    for package in inside.packages {
        let licence = inside.licences.get(&package.source).ok_or_else(|| NoLicence(package.source.clone()))?;
        let id = identifier("Package", &package.name);
        links.push(link(IMAGE, "DEPENDS_ON", &id));
        packages.push(element::debian(&id, package, licence, of(&Origin::Package(package.name.clone()))));
    }
    for part in inside.linked {
        let id = identifier("Linked", &format!("{}-{}", part.name, part.version.as_deref().unwrap_or(NOT_SAID)));
        links.push(link(OURS, "STATIC_LINK", &id));
        packages.push(element::linked(&id, part));
    }
    Ok(json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{}-{version}", inside.name),
        "documentNamespace": format!("urn:stele:spdx:{}:{}", inside.name, inside.digest),
        "creationInfo": {
            "created": inside.release.built,
            "creators": [format!("Tool: imager-{}", inside.release.version), "Organization: Stele"],
        },
        "documentDescribes": [IMAGE],
        "packages": packages,
        "files": files,
        "relationships": links,
    }))
}

#[cfg(test)]
mod tests;
