//! The elements of the document one by one: what SPDX 2.3 wants of a file, a package and a relationship.

use aws_lc_rs::digest;
use serde_json::{Value, json};

use super::{File, Inside, NOT_SAID};
use crate::cache::{hex, sha256};
use crate::linked::Part;
use crate::lock::Package;
use crate::purl;

/// The image itself.
pub(super) const IMAGE: &str = "SPDXRef-Image";
/// Our own programs and files.
pub(super) const OURS: &str = "SPDXRef-Stele";

/// SHA-1, which SPDX wants of every file.
pub(super) fn sha1(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes).as_ref())
}

/// Letters, digits, `.` and `-` alone are allowed; the digest keeps two names apart that look the same then.
pub(super) fn identifier(kind: &str, name: &str) -> String {
    let plain: String = name.chars().map(|one| if one.is_ascii_alphanumeric() { one } else { '-' }).collect();
    format!("SPDXRef-{kind}-{plain}-{}", &sha256(name.as_bytes())[..8])
}

pub(super) fn link(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

pub(super) fn file(id: &str, file: &File<'_>, sha1: &str) -> Value {
    json!({
        "SPDXID": id,
        "fileName": format!("./{}", file.name),
        "checksums": [
            { "algorithm": "SHA1", "checksumValue": sha1 },
            { "algorithm": "SHA256", "checksumValue": sha256(file.bytes) },
        ],
        "licenseConcluded": NOT_SAID,
        "copyrightText": NOT_SAID,
    })
}

pub(super) fn image(inside: &Inside<'_>, version: &str) -> Value {
    json!({
        "SPDXID": IMAGE, "name": inside.name, "versionInfo": version, "primaryPackagePurpose": "OPERATING-SYSTEM",
        "supplier": "Organization: Stele", "downloadLocation": NOT_SAID, "filesAnalyzed": false,
        "checksums": [{ "algorithm": "SHA256", "checksumValue": inside.digest }],
        "licenseConcluded": NOT_SAID, "licenseDeclared": NOT_SAID, "copyrightText": NOT_SAID,
    })
}

/// Our own programs and files, with the SHA-1 of each.
pub(super) fn ours(version: &str, held: &[String]) -> Value {
    json!({
        "SPDXID": OURS, "name": "stele", "versionInfo": version,
        "supplier": "Organization: Stele", "downloadLocation": NOT_SAID, "filesAnalyzed": true,
        "packageVerificationCode": verification(held),
        "licenseConcluded": NOT_SAID, "licenseInfoFromFiles": [NOT_SAID], "licenseDeclared": "Apache-2.0",
        "copyrightText": NOT_SAID,
    })
}

/// A Debian package, with the SHA-1 of each file that was taken from it.
pub(super) fn debian(id: &str, package: &Package, licence: &str, held: &[String]) -> Value {
    json!({
        "SPDXID": id, "name": package.name, "versionInfo": package.version,
        "supplier": "Organization: Debian", "downloadLocation": NOT_SAID, "filesAnalyzed": true,
        "packageFileName": package.file_name(),
        "checksums": [{ "algorithm": "SHA256", "checksumValue": package.sha256 }],
        "packageVerificationCode": verification(held),
        "sourceInfo": format!("built by Debian from source package {} {}", package.source, package.source_version),
        "licenseConcluded": NOT_SAID, "licenseInfoFromFiles": [NOT_SAID], "licenseDeclared": licence,
        "copyrightText": NOT_SAID,
        "externalRefs": [reference(&purl::deb("debian", &package.name, &package.version, &package.arch))],
    })
}

/// Something that is linked into our programs.
pub(super) fn linked(id: &str, part: &Part) -> Value {
    let mut package = json!({
        "SPDXID": id, "name": part.name, "versionInfo": part.version.as_deref().unwrap_or(NOT_SAID),
        "supplier": part.supplier.as_deref().unwrap_or(NOT_SAID), "downloadLocation": NOT_SAID,
        "filesAnalyzed": false, "licenseConcluded": NOT_SAID, "licenseDeclared": part.licence,
        "copyrightText": NOT_SAID,
    });
    if let Some(made) = &part.made {
        package["sourceInfo"] = json!(made);
    }
    if let Some(purl) = &part.purl {
        package["externalRefs"] = json!([reference(purl)]);
    }
    package
}

fn reference(purl: &str) -> Value {
    json!({ "referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": purl })
}

/// SHA-1 over the sorted SHA-1 of the files.
fn verification(held: &[String]) -> Value {
    let mut held = held.to_vec();
    held.sort();
    json!({ "packageVerificationCodeValue": sha1(held.concat().as_bytes()) })
}
