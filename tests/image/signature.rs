//! Signatures and sums, in the eyes of sbverify and sha256sum.

use tests::artifacts;

use crate::{command, ok};

#[test]
fn sbverify_accepts_the_signatures() {
    let image = artifacts::product_image("cloud");
    for program in [image.uki(), image.recovery(), image.loader()] {
        ok(command("sbverify").arg("--cert").arg(artifacts::certificate()).arg(program.expect("the program")));
    }
}

#[test]
fn the_sums_are_right() {
    let said = ok(command("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(artifacts::out()));
    for part in ["efi", "recovery.efi", "loader.efi", "raw", "spdx.json", "recovery.spdx.json"] {
        let name = format!("stele-amd64.{part}");
        assert!(said.contains(&format!("{name}: OK")), "{name} is not among the sums: {said}");
    }
}
