//! Every kind by its examples.

use crate::kind::KINDS;
use crate::{format, parse};

#[test]
fn every_example_parses_and_round_trips() {
    for entry in KINDS {
        assert!(!entry.examples.is_empty() && !entry.doc.is_empty(), "{}", entry.kind);
        assert_eq!(entry.named, !entry.name.is_empty(), "{}", entry.kind);
        for example in entry.examples {
            let stream = parse(example).unwrap_or_else(|problems| panic!("{problems}\n{example}"));
            let [document] = stream.documents.iter().as_slice() else { panic!("{example}") };
            assert_eq!(document.kind(), entry.kind);
            let text = format(&stream.documents);
            assert_eq!(parse(&text).unwrap_or_else(|p| panic!("{p}\n{text}")), stream, "{text}");
        }
    }
}
