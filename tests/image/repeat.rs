//! The same sources in another folder, compiled from nothing, give the same image. Takes as long as compiling the node's
//! programs does: some minutes.

use tests::artifacts;

use crate::{command, ok, sums};

#[test]
fn the_same_sources_elsewhere_give_the_same_bytes() {
    // Beside the results: room for a second target folder is sure to be there.
    let work = tempfile::Builder::new().prefix("repeat-").tempdir_in(artifacts::out()).expect("a folder");
    let (copy, target, out) = (work.path().join("stele"), work.path().join("target"), work.path().join("out"));
    std::fs::create_dir(&copy).expect("a folder");
    // What is here now, committed or not.
    let root = artifacts::root();
    let files = ok(command("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).current_dir(&root));
    for name in files.lines().filter(|name| root.join(name).is_file()) {
        let to = copy.join(name);
        std::fs::create_dir_all(to.parent().expect("a parent")).expect("a folder");
        std::fs::copy(root.join(name), to).expect("copying");
    }
    let mut make = command("make");
    make.args(["nodes", "-C"]).arg(&copy).env("CARGO_TARGET_DIR", &target).env_remove("RUSTFLAGS");
    ok(&mut make);

    let imager = artifacts::imager();
    let binaries = target.join("x86_64-unknown-linux-gnu/image");
    let mut build = command(imager);
    build.arg("--source").arg(copy.join("installer")).arg("build").arg("--binaries").arg(binaries);
    ok(build.arg("--out").arg(&out));
    assert_eq!(sums(&out, "stele-amd64."), sums(&artifacts::out(), "stele-amd64."), "another image");
}
