//! What cosign signs: a small JSON text ("simple signing") that names a digest.

use config::image::Digest;
use serde::{Deserialize, Serialize};

/// The largest that is read: usual are 250 bytes.
pub(super) const LARGEST: u64 = 64 * 1024;
const TYPE: &str = "cosign container image signature";

#[derive(Serialize, Deserialize)]
struct Payload {
    critical: Critical,
    /// Whatever the signer adds.
    #[serde(default)]
    optional: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    r#type: String,
}

/// Where the signer saw it. Not compared: the same image is in mirrors and on disks, and its digest says what it is.
#[derive(Serialize, Deserialize)]
struct Identity {
    #[serde(rename = "docker-reference", default)]
    reference: String,
}

#[derive(Serialize, Deserialize)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: Digest,
}

/// The digest that a payload names; none when it is not a signature of an image.
pub(super) fn digest(payload: &[u8]) -> Option<Digest> {
    let payload: Payload = serde_json::from_slice(payload).ok()?;
    (payload.critical.r#type == TYPE).then_some(payload.critical.image.digest)
}

/// The text to sign.
#[cfg(feature = "imager")]
pub(super) fn text(digest: &Digest, reference: &str) -> Vec<u8> {
    let identity = Identity { reference: reference.to_owned() };
    let critical = Critical { identity, image: Image { digest: digest.clone() }, r#type: TYPE.to_owned() };
    serde_json::to_vec(&Payload { critical, optional: None }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_a_digest() {
        let wanted = Digest::of_hex(&"a".repeat(64)).unwrap();
        let text = text(&wanted, "r.example/stele");
        assert_eq!(digest(&text), Some(wanted.clone()));
        // as cosign 2.5 writes it
        let theirs = format!(
            r#"{{"critical":{{"identity":{{"docker-reference":"r.example/stele"}},"image":{{"docker-manifest-digest":"{wanted}"}},"type":"{TYPE}"}},"optional":{{"a":"b"}}}}"#
        );
        assert_eq!(digest(theirs.as_bytes()), Some(wanted));
        for wrong in
            [theirs.replace("image sig", "sig"), theirs.replace("sha256", "sha512"), "{}".into(), "null".into()]
        {
            assert_eq!(digest(wrong.as_bytes()), None, "{wrong}");
        }
    }

    fuzz::targets! {
        signature_payload: |bytes| drop(digest(bytes)),
    }
}
