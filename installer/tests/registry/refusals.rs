//! Pulls that are refused, each for its reason, before anything large is fetched.

use config::image::pull::{Check, Request, Verify};

use crate::fixture::{Image, at, imager, pull, told};
use crate::proxy::{Between, How};
use crate::server::Server;

/// Nothing of the image was fetched.
fn nothing_there(request: &Request) {
    let names = std::fs::read_dir(&request.folder).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| name == "lock"), "{}", request.folder);
}

fn from_layout(image: &Image) -> Request {
    image.request(&format!("oci:{}", image.layout().display()), Vec::new())
}

#[test]
fn without_a_signature_that_counts() {
    let (image, registry) = (Image::unsigned(), Server::open());
    image.push(&registry.image("1.2.0"), &["--plain-http"]).unwrap();
    let mut request = image.request(&registry.image("1.2.0"), vec![at(format!("http://{}", registry.address))]);
    pull(&request).refused(Check::Signature, "is not signed");
    nothing_there(&request);
    request.verify = Verify::Warn;
    let said = pull(&request);
    assert_eq!(said.warnings[0].check, Check::Signature);
    let pulled = said.end.unwrap();
    assert_eq!(pulled.signed_by, None);
    image.compare(&pulled);

    // with a key that nobody trusts
    request.verify = Verify::Require;
    image.sign(&image.another_key());
    image.push(&registry.image("1.2.0"), &["--plain-http"]).unwrap();
    pull(&request).refused(Check::Signature, "with a key that is not trusted");
    let said =
        imager(["verify", &registry.image("1.2.0"), "--plain-http", "--key", &image.key.public.display().to_string()]);
    assert!(said.unwrap_err().contains("not trusted"));
    request.keys.clear();
    pull(&request).refused(Check::Signature, "no key is trusted");
    request.keys = vec![image.trusted(&image.key)];
    request.keys[0].pem = "x".into();
    pull(&request).refused(Check::Request, "the key release is no ECDSA P-256");
}

#[test]
fn with_the_signature_of_another_image() {
    let (image, other) = (Image::signed(), Image::unsigned());
    // the signature of one under the tag of the other
    let index = |layout: &std::path::Path| layout.join("index.json");
    let theirs = std::fs::read_to_string(index(&image.layout())).unwrap();
    let tag = |image: &Image| format!("{}.sig", image.digest().replace(':', "-"));
    std::fs::write(index(&other.layout()), {
        let root: serde_json::Value = serde_json::from_str(&theirs.replace(&tag(&image), &tag(&other))).unwrap();
        let mut own: serde_json::Value =
            serde_json::from_slice(&std::fs::read(index(&other.layout())).unwrap()).unwrap();
        own["manifests"].as_array_mut().unwrap().push(root["manifests"][1].clone());
        own.to_string()
    })
    .unwrap();
    for entry in std::fs::read_dir(image.layout().join("blobs/sha256")).unwrap().flatten() {
        std::fs::copy(entry.path(), other.layout().join("blobs/sha256").join(entry.file_name())).unwrap();
    }
    let mut request = from_layout(&other);
    request.keys = vec![image.trusted(&image.key)];
    pull(&request).refused(Check::Signature, "a trusted key signed something else");
    nothing_there(&request);
}

#[test]
fn a_machine_that_it_does_not_fit() {
    let image = Image::unsigned();
    image.build(&["--minimum", "1.1.0"]);
    image.sign(&image.key);
    type Change = fn(&mut Request);
    let cases: [(Check, &str, Change); 7] = [
        (Check::Floor, "1.2.0 is below 1.3.0", |request| request.node.floor = Some("1.3.0".parse().unwrap())),
        (Check::Minimum, "from 1.1.0 on, this machine runs 1.0.9", |request| {
            request.node.version = "1.0.9".parse().unwrap();
        }),
        (Check::Architecture, "linux/arm64, the image is for linux/amd64", |request| {
            request.node.architecture = "arm64".into();
        }),
        (Check::Schema, "stele/v9", |request| request.node.schema = Some("stele/v9".into())),
        (Check::Format, "the format of meta on this machine is 9", |request| {
            request.node.formats.insert("meta".into(), 9);
        }),
        (Check::Size, "at most 1000000 are allowed", |request| request.limits.bytes = 1_000_000),
        (Check::Space, "must stay free", |request| request.free = 1 << 60),
    ];
    for (check, words, change) in cases {
        let mut request = from_layout(&image);
        change(&mut request);
        pull(&request).refused(check, words);
        nothing_there(&request);
    }
    let mut request = from_layout(&image);
    request.node.floor = Some("1.3.0".parse().unwrap());
    request.node.allow_downgrade = true;
    image.compare(&pull(&request).end.unwrap());
}

#[test]
fn a_uki_that_is_not_whole() {
    let image = Image::signed();
    let uki = image.work.path().join("stele-test.efi");
    let whole = std::fs::read(&uki).unwrap();
    let layout = image.layout().display().to_string();
    let uki_name = uki.display().to_string();
    // the builder would not make an image of it
    std::fs::write(&uki, &whole[..whole.len() - 100]).unwrap();
    assert!(imager(["oci", "--uki", &uki_name, "-o", &layout]).unwrap_err().contains("cannot be the part uki"));
    // so another builder did: the part `installer` becomes `uki`, in what is signed
    let blobs = image.layout().join("blobs/sha256");
    let replace = |digest: &str, change: &dyn Fn(String) -> String| {
        let text = change(std::fs::read_to_string(blobs.join(digest.trim_start_matches("sha256:"))).unwrap());
        let hex = installer::cache::sha256(text.as_bytes());
        std::fs::write(blobs.join(&hex), &text).unwrap();
        (format!("sha256:{hex}"), text.len())
    };
    let get = |digest: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(blobs.join(digest.trim_start_matches("sha256:"))).unwrap()).unwrap()
    };
    let index = image.digest();
    let manifest = get(&index)["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let config = get(&manifest)["config"]["digest"].as_str().unwrap().to_owned();
    let swap = |text: String| text.replace("\"uki\"", "\"x\"").replace("\"installer\"", "\"uki\"");
    let (new_config, size) = replace(&config, &swap);
    let (new_manifest, manifest_size) = replace(&manifest, &|text| {
        let text =
            text.replace(".uki.", ".x.").replace("vnd.stele.installer.v1\",\"digest", "vnd.stele.uki.v1\",\"digest");
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["config"]["digest"] = new_config.clone().into();
        value["config"]["size"] = size.into();
        value.to_string()
    });
    let (new_index, index_size) = replace(&index, &|text| {
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        value["manifests"][0]["digest"] = new_manifest.clone().into();
        value["manifests"][0]["size"] = manifest_size.into();
        value.to_string()
    });
    let root = image.layout().join("index.json");
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&root).unwrap()).unwrap();
    value["manifests"].as_array_mut().unwrap().truncate(1);
    value["manifests"][0]["digest"] = new_index.into();
    value["manifests"][0]["size"] = index_size.into();
    std::fs::write(&root, value.to_string()).unwrap();
    image.sign(&image.key);
    pull(&from_layout(&image)).refused(Check::Program, "uki: not an EFI program");
}

#[test]
fn nobody_there_or_nobody_who_speaks() {
    let image = Image::signed();
    let registry = Server::open();
    let name = registry.image("1.2.0");
    let ask = |url: String| pull(&image.request(&name, vec![at(url)]));
    let refusal = ask("http://127.0.0.1:1".into()).refused(Check::Unreachable, "no connection to 127.0.0.1:1");
    assert!(refusal.again);
    let refusal = ask("http://nowhere.invalid".into()).refused(Check::Unreachable, "nowhere.invalid");
    assert!(refusal.again);
    ask(format!("http://{}", registry.address)).refused(Check::Missing, "404");
    let silent = Between::start(&registry.address, How::Silent);
    let mut request = image.request(&name, vec![at(silent.url())]);
    request.limits.stall = 1;
    pull(&request).refused(Check::Unreachable, "did not answer within 1 s");
    // one that never ends its answer: by the time for everything
    let crawling = Between::start(&registry.address, How::Crawl);
    let mut request = image.request(&name, vec![at(crawling.url())]);
    request.limits.seconds = 2;
    pull(&request).refused(Check::Time, "more than the 2 s");
    ask("ftp://x".into()).refused(Check::Request, "ftp://x is no address of a registry");
}

#[test]
fn what_is_no_request_and_a_folder_in_use() {
    for input in [&b""[..], b"{", b"{\"image\":\"x\"}", &vec![b' '; 2 << 20]] {
        let output = told(input);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("{\"refused\":{\"check\":\"request\""), "{text}");
        assert_eq!(output.status.code(), Some(1));
    }
    let image = Image::signed();
    let request = from_layout(&image);
    let lock = std::fs::File::create(std::path::Path::new(&request.folder).join("lock")).unwrap();
    lock.lock().unwrap();
    assert!(pull(&request).refused(Check::Folder, "another pull").again);
    drop(lock);
    let mut gone = request;
    gone.folder = "/nonexistent".into();
    pull(&gone).refused(Check::Folder, "/nonexistent");
}

#[test]
fn a_hostile_layout() {
    let image = Image::signed();
    let request = from_layout(&image);
    let index = image.layout().join("index.json");
    let whole = std::fs::read_to_string(&index).unwrap();
    for (text, words) in [
        ("{}".to_owned(), "is no OCI layout"),
        (" ".repeat(2 << 20), "more than"),
        (whole.replace(&image.digest(), &format!("sha256:{}", "0".repeat(64))), "cannot read"),
    ] {
        std::fs::write(&index, text).unwrap();
        let refusal = pull(&request).end.unwrap_err();
        assert!(refusal.message.contains(words), "{refusal:?}");
    }
    // a link out of the layout, and a pipe that nobody writes to
    std::fs::remove_file(&index).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", &index).unwrap();
    pull(&request).end.unwrap_err();
    std::fs::remove_file(&index).unwrap();
    installer::host::program("mkfifo", "coreutils").args([&index]).run().unwrap();
    pull(&request).refused(Check::Format, "not a regular file");
}
