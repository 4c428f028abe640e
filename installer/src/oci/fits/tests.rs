use std::collections::BTreeMap;

use config::image::Digest;
use config::image::pull::Check;

use super::*;
use crate::oci::spec::{CONFIG, INDEX, MANIFEST, Platform};

fn digest(digit: &str) -> Digest {
    Digest::of_hex(&digit.repeat(64)).unwrap()
}

fn stele() -> Manifest {
    Manifest {
        format: config::image::FORMAT,
        name: "stele-amd64".into(),
        version: "1.4.0".parse().unwrap(),
        commit: "0123456789ab".into(),
        built: "2026-01-01T00:00:00Z".into(),
        arch: "amd64".into(),
        kernel: "6.12.0".into(),
        floor: "1.2.0".parse().unwrap(),
        minimum: "1.1.0".parse().unwrap(),
        schema: vec!["stele/v1".into()],
        formats: BTreeMap::from([("meta".into(), 2), ("state".into(), 1)]),
        loader: None,
        parts: vec![
            Part { name: "uki".into(), digest: digest("a"), size: 1000 },
            Part { name: "loader".into(), digest: digest("b"), size: 24 },
        ],
    }
}

fn here() -> Node {
    Node {
        architecture: "amd64".into(),
        version: "1.3.0".parse().unwrap(),
        floor: Some("1.0.0".parse().unwrap()),
        allow_downgrade: false,
        schema: Some("stele/v1".into()),
        formats: BTreeMap::from([("meta".into(), 1), ("state".into(), 1)]),
    }
}

const LIMITS: Limits = Limits { bytes: 1024, seconds: 1, stall: 1 };

fn refused(stele: &Manifest, here: &Node, limits: &Limits) -> Option<Check> {
    node(stele, here, limits).err().map(|why| why.check)
}

#[test]
fn an_image_must_fit_the_machine() {
    assert_eq!(refused(&stele(), &here(), &LIMITS), None);
    let tight = Limits { bytes: 1023, ..LIMITS };
    assert_eq!(refused(&stele(), &here(), &tight), Some(Check::Size));
    let huge = vec![Part { name: "uki".into(), digest: digest("a"), size: u64::MAX }; 2];
    assert_eq!(refused(&Manifest { parts: huge, ..stele() }, &here(), &LIMITS), Some(Check::Size));
    for (floor, allow_downgrade, wanted) in [
        ("1.4.0", false, None),
        ("1.4.0-rc.1", false, None),
        ("1.4.1", false, Some(Check::Floor)),
        ("1.10.0", false, Some(Check::Floor)),
        ("2.0.0", true, None),
    ] {
        let floor = Some(floor.parse().unwrap());
        assert_eq!(refused(&stele(), &Node { floor, allow_downgrade, ..here() }, &LIMITS), wanted);
    }
    let old = |version: &str| Node { version: version.parse().unwrap(), ..here() };
    assert_eq!(refused(&stele(), &old("1.1.0"), &LIMITS), None);
    assert_eq!(refused(&stele(), &old("1.1.0-rc.1"), &LIMITS), Some(Check::Minimum));
    let other = Node { architecture: "arm64".into(), ..here() };
    assert_eq!(refused(&stele(), &other, &LIMITS), Some(Check::Architecture));
    let later = Node { schema: Some("stele/v2".into()), ..here() };
    assert_eq!(refused(&stele(), &later, &LIMITS), Some(Check::Schema));
    // not even with the downgrade allowed: it could not read its own disk
    for formats in [BTreeMap::from([("meta".into(), 3)]), BTreeMap::from([("esp".into(), 1)])] {
        let node = Node { formats, allow_downgrade: true, ..here() };
        assert_eq!(refused(&stele(), &node, &LIMITS), Some(Check::Format));
    }
    let new = Node { schema: None, formats: BTreeMap::new(), floor: None, ..here() };
    assert_eq!(refused(&stele(), &new, &LIMITS), None);
}

fn descriptor(kind: &str, digit: &str, size: u64) -> Descriptor {
    Descriptor {
        media_type: kind.into(),
        digest: digest(digit),
        size,
        artifact_type: None,
        platform: None,
        annotations: BTreeMap::new(),
    }
}

#[test]
fn layers_are_the_parts_that_the_manifest_names() {
    let manifest = spec::Manifest {
        schema_version: 2,
        media_type: MANIFEST.into(),
        artifact_type: None,
        config: descriptor(CONFIG, "c", 1),
        layers: vec![descriptor(&layer_type("uki"), "a", 1000), descriptor(&layer_type("loader"), "b", 24)],
        annotations: BTreeMap::new(),
    };
    assert_eq!(parts(&stele(), &manifest), Ok(()));
    let change = |change: fn(&mut spec::Manifest, &mut Manifest)| {
        let (mut manifest, mut stele) = (manifest.clone(), stele());
        change(&mut manifest, &mut stele);
        parts(&stele, &manifest).unwrap_err().message
    };
    let other = "names other parts than the layers";
    assert!(change(|manifest, _| manifest.layers[0].size = 1).contains(other));
    assert!(change(|manifest, _| manifest.layers[1].digest = digest("d")).contains(other));
    assert!(change(|manifest, _| manifest.layers.reverse()).contains(other));
    assert!(change(|manifest, _| drop(manifest.layers.pop())).contains(other));
    assert!(change(|_, stele| stele.parts.remove(0).size = 0).contains("no part uki"));
    assert!(change(|_, stele| stele.parts[1].name = "uki".into()).contains("two parts uki"));
    assert!(change(|_, stele| stele.parts[1].name = "../x".into()).contains("no name"));
}

#[test]
fn the_manifest_for_this_architecture() {
    let entry = |architecture: &str| Descriptor {
        platform: Some(Platform { architecture: architecture.into(), os: "linux".into() }),
        ..descriptor(MANIFEST, "a", 1)
    };
    let index = |all: &[&str]| Index {
        schema_version: 2,
        media_type: INDEX.into(),
        artifact_type: None,
        manifests: all.iter().map(|one| entry(one)).collect(),
        annotations: BTreeMap::new(),
    };
    assert!(architecture(&index(&["arm64", "amd64"]), "amd64").is_ok());
    let why = architecture(&index(&["arm64", "riscv64"]), "amd64").unwrap_err();
    assert_eq!(why.check, Check::Architecture);
    assert!(why.message.contains("linux/arm64, linux/riscv64"), "{why}");
    assert_eq!(architecture(&index(&["amd64", "amd64"]), "amd64").unwrap_err().check, Check::Format);
    assert_eq!(architecture(&index(&[]), "amd64").unwrap_err().check, Check::Architecture);
}
