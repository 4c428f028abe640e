//! Stock programs take what ours make, and the other way round.

use std::path::Path;

use config::image::pull::{Check, Key};

use crate::fixture::{Image, at, imager, pull, stock};
use crate::server::Server;

fn cosign(verb: &str, args: &[&str], folder: &Path) -> Result<String, String> {
    let mut program = stock("cosign").args([verb]).args(args);
    // nothing of the user's, and no password for keys
    program.command.current_dir(folder).env("HOME", folder).env("COSIGN_PASSWORD", "");
    let output = program.run().map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn skopeo(from: &str, to: &str) {
    stock("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"])
        .args(["--src-tls-verify=false", "--dest-tls-verify=false", from, to])
        .run()
        .unwrap();
}

#[test]
fn cosign_accepts_what_imager_signed() {
    let (image, registry) = (Image::signed(), Server::open());
    let said = image.push(&registry.image("1.2.0"), &["--plain-http"]).unwrap();
    assert!(said.contains(&image.digest()), "{said}");
    let verify = |key: &Path| {
        let (key, image) = (key.display().to_string(), registry.image("1.2.0"));
        let args = ["--key", &key, "--insecure-ignore-tlog=true", "--allow-http-registry", &image];
        cosign("verify", &args, Path::new("/tmp"))
    };
    let said = verify(&image.key.public).unwrap();
    assert!(said.contains(&image.digest()), "{said}");
    let another = image.another_key();
    assert!(verify(&another.public).is_err());
    // signed once more, in the registry this time: both signatures count
    let (key, there) = (another.key.display().to_string(), registry.image("1.2.0"));
    let said = imager(["sign", &there, "--plain-http", "--key", &key]).unwrap();
    assert!(said.contains("signed"), "{said}");
    verify(&another.public).unwrap();
    verify(&image.key.public).unwrap();
    let said = imager(["sign", &there, "--plain-http", "--key", &key]).unwrap();
    assert!(said.contains("before"), "{said}");
}

#[test]
fn what_cosign_signed_is_accepted() {
    let (image, registry) = (Image::unsigned(), Server::open());
    let work = image.work.path();
    image.push(&registry.image("1.2.0"), &["--plain-http"]).unwrap();
    cosign("generate-key-pair", &[], work).unwrap();
    let there = format!("{}/stele/test@{}", registry.address, image.digest());
    let args = ["--key", "cosign.key", "--tlog-upload=false", "--allow-http-registry", "--yes", &there];
    cosign("sign", &args, work).unwrap();
    let mut request = image.request(&registry.image("1.2.0"), vec![at(format!("http://{}", registry.address))]);
    pull(&request).refused(Check::Signature, "signed with a key that is not trusted");
    let pem = std::fs::read_to_string(work.join("cosign.pub")).unwrap();
    request.keys.push(Key { name: "theirs".into(), pem });
    assert_eq!(pull(&request).end.unwrap().signed_by.as_deref(), Some("theirs"));
    let key = work.join("cosign.pub").display().to_string();
    imager(["verify", &there, "--plain-http", "--key", &key]).unwrap();
}

#[test]
fn skopeo_carries_images_unchanged() {
    let (image, registry) = (Image::signed(), Server::open());
    let (from, to) = (image.layout(), image.work.path().join("copy.oci"));
    let signature = format!("{}.sig", image.digest().replace(':', "-"));
    for tag in ["1.2.0", &signature] {
        let there = format!("docker://{}", registry.image(tag));
        skopeo(&format!("oci:{}:{tag}", from.display()), &there);
        skopeo(&there, &format!("oci:{}:{tag}", to.display()));
    }
    host_diff(&from, &to);
    let request = image.request(&registry.image("1.2.0"), vec![at(format!("http://{}", registry.address))]);
    image.compare(&pull(&request).end.unwrap());
    // one architecture alone has no signature, and says so
    let one = registry.image("one");
    stock("skopeo")
        .args(["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"])
        .args([format!("docker://{}", registry.image("1.2.0")), format!("docker://{one}")])
        .run()
        .unwrap();
    let refusal = pull(&image.request(&one, request.endpoints)).refused(Check::Format, "not the index");
    assert!(refusal.remedy.contains("--all"), "{refusal:?}");
}

fn host_diff(one: &Path, other: &Path) {
    installer::host::program("diff", "diffutils")
        .args(["-r".as_ref(), one.as_os_str(), other.as_os_str()])
        .run()
        .unwrap();
}

#[test]
fn other_architectures_join() {
    let (image, other) = (Image::unsigned(), Image::unsigned());
    // the same again is refused: each architecture is there once
    let (uki, joined, layout) =
        (image.work.path().join("stele-test.efi"), other.layout(), image.work.path().join("both.oci"));
    let args =
        ["oci".as_ref(), "--uki".as_ref(), uki.as_os_str(), "--join".as_ref(), joined.as_os_str(), "-o".as_ref()];
    let said = imager(args.into_iter().chain([layout.as_os_str()])).unwrap_err();
    assert!(said.contains("two images for amd64"), "{said}");
    // a layout of another architecture, as its builder would make it
    foreign(&joined);
    imager(args.into_iter().chain([layout.as_os_str()])).unwrap();
    let key = &image.key;
    imager(["sign".as_ref(), layout.as_os_str(), "--key".as_ref(), key.key.as_os_str()]).unwrap();
    let request = image.request(&format!("oci:{}", layout.display()), Vec::new());
    assert_eq!(pull(&request).end.unwrap().files.len(), 1);
    let mut request = request;
    request.node.architecture = "riscv64".into();
    pull(&request).refused(Check::Architecture, "linux/riscv64, the image is for linux/amd64, linux/arm64");
}

/// Says of a layout's image that it is for another architecture.
fn foreign(layout: &Path) {
    let path = layout.join("index.json");
    let mut root: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let digest = root["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let blobs = layout.join("blobs/sha256");
    let index = std::fs::read_to_string(blobs.join(digest.trim_start_matches("sha256:"))).unwrap();
    let index = index.replace("\"architecture\":\"amd64\"", "\"architecture\":\"arm64\"");
    let hex = installer::cache::sha256(index.as_bytes());
    std::fs::write(blobs.join(&hex), &index).unwrap();
    root["manifests"][0]["digest"] = format!("sha256:{hex}").into();
    root["manifests"][0]["size"] = index.len().into();
    std::fs::write(&path, root.to_string()).unwrap();
}
