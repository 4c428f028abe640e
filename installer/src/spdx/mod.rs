//! The SBOM: SPDX 2.3 as JSON, over every file inside the image and every package and crate that it comes from.
//!
//! Identifiers are derived from content and the time is the commit's, so it is as deterministic as the image. A Debian
//! package appears with the files that were taken from it, its verification code (SPDX 2.3, 7.9) covers just those.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::cache::{hex, sha256};
use crate::crates::Crate;
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
    /// Every crate linked into our programs.
    pub crates: &'a [Crate],
}

/// A package in the image has no licence in `image.yaml`.
#[derive(Debug, thiserror::Error)]
#[error(
    "image.yaml has no licence for the source package {0}: read its copyright file and add an SPDX expression under licences"
)]
pub struct NoLicence(pub String);

const NOT_SAID: &str = "NOASSERTION";
const IMAGE: &str = "SPDXRef-Image";
const OURS: &str = "SPDXRef-Stele";

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
        let sha1 = hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, file.bytes).as_ref());
        let sha256 = sha256(file.bytes);
        let id = identifier("File", &file.name);
        let holder = match file.origin {
            Origin::Stele => OURS.to_owned(),
            Origin::Package(name) => identifier("Package", name),
        };
        links.push(link(&holder, "CONTAINS", &id));
        held.entry(file.origin).or_default().push(sha1.clone());
        files.push(json!({
            "SPDXID": id,
            "fileName": format!("./{}", file.name),
            "checksums": [
                { "algorithm": "SHA1", "checksumValue": sha1 },
                { "algorithm": "SHA256", "checksumValue": sha256 },
            ],
            "licenseConcluded": NOT_SAID,
            "copyrightText": NOT_SAID,
        }));
    }

    let mut packages = vec![
        json!({
            "SPDXID": IMAGE, "name": inside.name, "versionInfo": version, "primaryPackagePurpose": "OPERATING-SYSTEM",
            "supplier": "Organization: Stele", "downloadLocation": NOT_SAID, "filesAnalyzed": false,
            "checksums": [{ "algorithm": "SHA256", "checksumValue": inside.digest }],
            "licenseConcluded": NOT_SAID, "licenseDeclared": NOT_SAID, "copyrightText": NOT_SAID,
        }),
        json!({
            "SPDXID": OURS, "name": "stele", "versionInfo": version,
            "supplier": "Organization: Stele", "downloadLocation": NOT_SAID, "filesAnalyzed": true,
            "packageVerificationCode": verification(held.get(&Origin::Stele)),
            "licenseConcluded": NOT_SAID, "licenseInfoFromFiles": [NOT_SAID], "licenseDeclared": "Apache-2.0",
            "copyrightText": NOT_SAID,
        }),
    ];
    links.push(link(IMAGE, "DEPENDS_ON", OURS));
    for package in inside.packages {
        let licence = inside.licences.get(&package.source).ok_or_else(|| NoLicence(package.source.clone()))?;
        let id = identifier("Package", &package.name);
        links.push(link(IMAGE, "DEPENDS_ON", &id));
        packages.push(json!({
            "SPDXID": id, "name": package.name, "versionInfo": package.version,
            "supplier": "Organization: Debian", "downloadLocation": NOT_SAID, "filesAnalyzed": true,
            "packageFileName": package.file_name(),
            "checksums": [{ "algorithm": "SHA256", "checksumValue": package.sha256 }],
            "packageVerificationCode": verification(held.get(&Origin::Package(package.name.clone()))),
            "sourceInfo": format!("built by Debian from source package {} {}", package.source, package.source_version),
            "licenseConcluded": NOT_SAID, "licenseInfoFromFiles": [NOT_SAID], "licenseDeclared": licence,
            "copyrightText": NOT_SAID,
            "externalRefs": [purl(&format!(
                "pkg:deb/debian/{}@{}?arch={}", package.name, escape(&package.version), package.arch
            ))],
        }));
    }
    for linked in inside.crates {
        let id = identifier("Crate", &format!("{}-{}", linked.name, linked.version));
        links.push(link(OURS, "STATIC_LINK", &id));
        packages.push(json!({
            "SPDXID": id, "name": linked.name, "versionInfo": linked.version, "downloadLocation": NOT_SAID,
            "filesAnalyzed": false, "licenseConcluded": NOT_SAID, "licenseDeclared": linked.licence,
            "copyrightText": NOT_SAID,
            "externalRefs": [purl(&format!("pkg:cargo/{}@{}", linked.name, escape(&linked.version)))],
        }));
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

fn link(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn purl(locator: &str) -> Value {
    json!({ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator })
}

/// SHA-1 over the sorted SHA-1 of the files.
fn verification(sums: Option<&Vec<String>>) -> Value {
    let mut sums = sums.cloned().unwrap_or_default();
    sums.sort();
    let all = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, sums.concat().as_bytes());
    json!({ "packageVerificationCodeValue": hex(all.as_ref()) })
}

/// Letters, digits, `.` and `-` alone are allowed; the digest keeps two names apart that look the same then.
fn identifier(kind: &str, name: &str) -> String {
    let plain: String = name.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '-' }).collect();
    format!("SPDXRef-{kind}-{plain}-{}", &sha256(name.as_bytes())[..8])
}

/// Percent-encoding of what a package URL reserves in versions.
fn escape(version: &str) -> String {
    version.replace('%', "%25").replace('+', "%2B").replace(':', "%3A").replace('~', "%7E")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_holder_and_every_package_a_licence() {
        let release = crate::release::find(std::path::Path::new("."), "6.12");
        let debian = Origin::Package("libc6".to_owned());
        let files = [
            File { name: "rootfs/usr/bin/machined".to_owned(), bytes: b"m", origin: &Origin::Stele },
            File { name: "rootfs/usr/lib/libc.so.6".to_owned(), bytes: b"c", origin: &debian },
        ];
        let package: Package = serde_json::from_value(json!({
            "name": "libc6", "version": "2.41-12+deb13u4", "arch": "amd64", "source": "glibc", "source_version": "2.41",
            "path": "pool/libc6.deb", "size": 1, "sha256": "00", "uses": ["image"],
        }))
        .unwrap();
        let mut licences = BTreeMap::new();
        let make = |licences: &BTreeMap<String, String>| {
            document(&Inside {
                name: "stele-amd64",
                release: &release,
                digest: "00",
                files: &files,
                packages: std::slice::from_ref(&package),
                licences,
                crates: &[],
            })
        };
        assert_eq!(make(&licences).unwrap_err().0, "glibc");
        licences.insert("glibc".to_owned(), "LGPL-2.1-or-later".to_owned());
        let document = make(&licences).unwrap();
        let links = document["relationships"].as_array().unwrap();
        for file in document["files"].as_array().unwrap() {
            assert!(links.iter().any(|link| link["relatedSpdxElement"] == file["SPDXID"]));
        }
        assert!(document.to_string().contains("pkg:deb/debian/libc6@2.41-12%2Bdeb13u4?arch=amd64"));
    }
}
