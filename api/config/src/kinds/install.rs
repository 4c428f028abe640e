//! `kind: Install`: the system puts itself onto a disk, with nobody at it.

use schemars::JsonSchema;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};

use crate::image::Reference;
use crate::kinds::DiskSelector;
use crate::{Check, Kind};

/// Onto which disk, and what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Install {
    /// Which disk. It must be one alone: of two that are meant, neither is touched.
    pub disk: DiskSelector,
    /// The installer image, in a registry or (`oci:/path`) in a folder. Without one: the system that runs.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "reference")]
    #[schemars(with = "Option<String>")]
    pub image: Option<Reference>,
    /// What is on the disk goes. Without it a disk that holds anything is left alone.
    #[serde(default)]
    pub wipe: bool,
}

/// Its own errors quote what was written; those of documents do not.
fn reference<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Reference>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    let expected =
        "expected an image with its registry, such as registry.example.com/stele/installer:0.2.0, or oci:/path";
    text.map(|text| text.parse().map_err(|_| D::Error::custom(expected))).transpose()
}

impl Kind for Install {
    const KIND: &'static str = "Install";
    const NAMED: bool = false;
    const DOC: &'static str = "The system that was started from removable media, or from memory, is put onto a disk with nobody \
                               at it, and started from there. Where the system runs from its own disk already, nothing is done.";
    const EXAMPLES: &'static [&'static str] = &[
        "apiVersion: stele/v1
kind: Install
disk:
  size: 64GiB..2TiB
  model: Samsung SSD 9*
  transport: nvme
image: registry.example.com/stele/installer:0.2.0
wipe: true
",
        "apiVersion: stele/v1
kind: Install
disk:
  serial: S4EWNX0R123456
  wwid: eui.0025385b71b05a4c
  busPath: pci-0000:00:17.0-ata-1
",
    ];

    fn check(&self, _: Option<&str>, found: &mut Check<'_>) {
        for (field, word) in self.disk.words() {
            let right = word.as_ref().is_none_or(|word| !word.trim().is_empty() && !word.contains(char::is_control));
            found.need(&format!("disk.{field}"), right, "expected some text");
        }
        found.need("disk", self.disk.says_some(), super::disk_selector::SOME);
    }

    fn effect(_: Option<&Self>, _: Option<&Self>) -> crate::Effect {
        // A machine that runs from its disk never looks at it.
        crate::Effect::Nothing
    }
}
