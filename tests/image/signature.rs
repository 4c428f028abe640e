//! Signatures and sums, in the eyes of sbverify and sha256sum.

use tests::artifacts;

use crate::{command, ok};

#[test]
fn sbverify_accepts_the_signature() {
    let uki = artifacts::product_image("cloud").uki().expect("the UKI");
    ok(command("sbverify").arg("--cert").arg(artifacts::certificate()).arg(uki));
}

#[test]
fn the_sums_are_right() {
    let said = ok(command("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(artifacts::out()));
    for name in ["stele-amd64.efi", "stele-amd64.raw", "stele-amd64.spdx.json"] {
        assert!(said.contains(&format!("{name}: OK")), "{name} is not among the sums: {said}");
    }
}
