//! A small image whose document is looked at part by part.

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
    let unknown =
        Part { name: "glibc".into(), version: None, licence: "MIT".into(), supplier: None, made: None, purl: None };
    let known = Part { version: Some("2.36".into()), supplier: Some("Organization: Debian".into()), ..unknown.clone() };
    let linked = [unknown, known];
    let mut licences = BTreeMap::new();
    let make = |licences: &BTreeMap<String, String>| {
        document(&Inside {
            name: "stele-amd64",
            release: &release,
            digest: "00",
            files: &files,
            packages: std::slice::from_ref(&package),
            licences,
            linked: &linked,
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

    let inside: Vec<&Value> =
        document["packages"].as_array().unwrap().iter().filter(|one| one["name"] == "glibc").collect();
    assert_eq!(inside.iter().map(|one| &one["versionInfo"]).collect::<Vec<_>>(), ["NOASSERTION", "2.36"]);
    assert_eq!(inside[0]["supplier"], "NOASSERTION");
    for part in inside {
        let linked = |link: &&Value| link["relatedSpdxElement"] == part["SPDXID"];
        assert_eq!(links.iter().find(linked).unwrap()["relationshipType"], "STATIC_LINK");
    }
}
