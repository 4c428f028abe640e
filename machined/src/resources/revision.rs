//! A revision of the configuration as it is kept on STATE; the id is its number. Written by `config`.

use reconcile::{Column, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One revision, without its documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// SHA-256 of documents and secrets, hexadecimal.
    pub digest: String,
    /// Seconds since 1970, by the machine's clock.
    pub created_unix: u64,
    /// Who gave it: the certificate's subject, or the source.
    pub author: String,
    /// Why, in the author's words.
    pub message: String,
    /// What it is: `current`, `blessed`, `staged`, `trial`.
    pub marks: Vec<String>,
    /// The names of the secrets in it.
    pub secrets: Vec<String>,
    /// Why it cannot be read; empty when it can.
    pub unreadable: String,
}

impl Resource for Revision {
    const TYPE: &'static str = "revision";
    const PLURAL: &'static str = "revisions";
    const DOC: &'static str = "A revision of the configuration that is kept.";
    const COLUMNS: &'static [Column] = &[
        Column::new("MARKS", "/marks"),
        Column::new("CREATED", "/createdUnix"),
        Column::new("AUTHOR", "/author"),
        Column::new("MESSAGE", "/message"),
        Column::wide("DIGEST", "/digest"),
        Column::new("UNREADABLE", "/unreadable"),
    ];
}
