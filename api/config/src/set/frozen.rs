//! Documents that earlier releases took: every later one parses them, to the same values. `frozen/RELEASE/NAME.yaml` stands
//! beside `NAME.json`. Files are added with a release, and never changed after it: what a machine has on its disk today must
//! start it after every upgrade.

use std::collections::BTreeSet;
use std::{env, fs};

use serde_json::Value;

use crate::kind::KINDS;
use crate::{Document, format, parse_bytes};

#[test]
fn documents_of_every_release_still_parse() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/frozen");
    let validator = jsonschema::draft202012::new(&crate::schema()).unwrap();
    let (mut files, mut kinds) = (0, BTreeSet::new());
    for release in fs::read_dir(root).unwrap() {
        for entry in fs::read_dir(release.unwrap().path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "yaml") {
                continue;
            }
            files += 1;
            let valid = |document: &Document| {
                let whole = document.whole();
                let errors: Vec<_> = validator.iter_errors(&whole).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{}: {errors:?}", path.display());
            };
            let shown = path.display();
            let stream = parse_bytes(&fs::read(&path).unwrap()).unwrap_or_else(|p| panic!("{shown}:\n{p}"));
            stream.documents.iter().for_each(valid);
            let made: Value = stream.documents.iter().map(Document::whole).collect();
            let json = path.with_extension("json");
            // Only what is not there yet is written.
            if env::var_os("UPDATE_FROZEN").is_some() && !json.exists() {
                fs::write(&json, format!("{made:#}\n")).unwrap();
            }
            let kept: Value = serde_json::from_slice(&fs::read(&json).unwrap_or_default())
                .unwrap_or_else(|error| panic!("{}: {error} (new: UPDATE_FROZEN=1)", json.display()));
            for (kept, made) in kept.as_array().unwrap().iter().zip(made.as_array().unwrap()) {
                assert!(holds(made, kept), "{shown}: what it says has changed\nkept: {kept:#}\nnow: {made:#}");
            }
            assert_eq!(kept.as_array().unwrap().len(), stream.documents.len(), "{shown}");
            assert_eq!(
                parse_bytes(format(&stream.documents).as_bytes()).unwrap().documents,
                stream.documents,
                "{shown}"
            );
            kinds.extend(stream.documents.iter().map(Document::kind));
        }
    }
    assert!(files >= 3, "the frozen corpus is gone");
    let missing: Vec<_> = KINDS.iter().map(|entry| entry.kind).filter(|kind| !kinds.contains(kind)).collect();
    assert!(missing.is_empty(), "no document of {missing:?} is frozen");
}

/// Whether all that was kept is there still; a later release may know further fields, with defaults.
fn holds(made: &Value, kept: &Value) -> bool {
    match (made, kept) {
        (Value::Object(made), Value::Object(kept)) => {
            kept.iter().all(|(key, kept)| made.get(key).is_some_and(|made| holds(made, kept)))
        }
        (Value::Array(made), Value::Array(kept)) => {
            made.len() == kept.len() && made.iter().zip(kept).all(|(made, kept)| holds(made, kept))
        }
        _ => made == kept,
    }
}
