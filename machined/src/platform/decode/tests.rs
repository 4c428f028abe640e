use base64::prelude::BASE64_STANDARD;
use std::io::Write;

use super::*;

const DOCUMENTS: &str = "apiVersion: stele/v1\nkind: Hostname\nhostname: node\n";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd_of(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

fn multipart(parts: &[(&str, &str, &str)]) -> String {
    let mut text = "Content-Type: multipart/mixed; boundary=\"==b==\"\nMIME-Version: 1.0\n\n".to_owned();
    for (kind, encoding, body) in parts {
        text += &format!("--==b==\nContent-Type: {kind}\nMIME-Version: 1.0\nContent-Transfer-Encoding: {encoding}\n");
        text += &format!("Content-Disposition: attachment; filename=\"f\"\n\n{body}\n");
    }
    text + "--==b==--\n"
}

fn said(bytes: &[u8]) -> String {
    match decode(bytes) {
        Ok(text) => text.trim_end().to_owned(),
        Err(error) => format!("! {error}"),
    }
}

#[test]
fn each_way_to_pack_and_one_in_another() {
    let plain = DOCUMENTS.as_bytes();
    let base64 = |bytes: &[u8]| BASE64_STANDARD.encode(bytes).into_bytes();
    let lines = |text: Vec<u8>| text.chunks(20).collect::<Vec<_>>().join(&b'\n');
    let url_safe = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(gzip(plain));
    let twice = multipart(&[("application/octet-stream", "base64", &BASE64_STANDARD.encode(gzip(plain)))]);
    let cases: [(&str, Vec<u8>); 12] = [
        ("plain", plain.into()),
        ("a byte order mark", [b"\xef\xbb\xbf", plain].concat()),
        ("gzip", gzip(plain)),
        ("zstd", zstd_of(plain)),
        ("zstd with the checksum of the stock tool", include_bytes!("../../../corpus/user_data/documents.zst").into()),
        ("gzip of the stock tool", include_bytes!("../../../corpus/user_data/documents.gz").into()),
        ("base64", base64(plain)),
        ("base64 of gzip in lines", lines(base64(&gzip(plain)))),
        ("base64 for URLs without padding", url_safe.into_bytes()),
        ("gzip of base64 of zstd", gzip(&base64(&zstd_of(plain)))),
        ("multipart", multipart(&[("text/x-stele", "7bit", DOCUMENTS)]).into()),
        ("multipart, packed part", gzip(twice.as_bytes())),
    ];
    for (what, bytes) in cases {
        assert_eq!(said(&bytes), DOCUMENTS.trim_end(), "{what}");
    }
}

#[test]
fn parts_that_are_ours_are_joined_and_others_left_out() {
    let found = multipart(&[
        ("text/cloud-config; charset=\"utf-8\"", "7bit", "#cloud-config\n{}"),
        ("text/plain", "7bit", DOCUMENTS),
        ("text/x-shellscript", "7bit", "#!/bin/sh\ntrue"),
        ("text/x-stele", "quoted-printable", "apiVersion: stele/v1\nkind: Time\nservers: [=\n\"10.0.0.1\"]"),
    ]);
    let text = said(found.as_bytes());
    let wanted = format!("{}\n\n---\napiVersion: stele/v1\nkind: Time\nservers: [\"10.0.0.1\"]", DOCUMENTS.trim_end());
    assert_eq!(text, wanted);
    // As cloud-init's own tool makes it.
    let stock = include_bytes!("../../../corpus/user_data/write-mime-multipart");
    assert!(said(stock).starts_with("apiVersion: stele/v1"), "{}", said(stock));
}

#[test]
fn what_is_not_ours_is_named() {
    let none_ours =
        multipart(&[("text/cloud-config", "7bit", "#cloud-config\n{}"), ("text/x-shellscript", "7bit", "#!/bin/sh")]);
    let mut cut = multipart(&[("text/x-stele", "7bit", DOCUMENTS)]);
    cut.truncate(cut.len() - 8);
    for (bytes, part) in [
        (&b""[..], "empty"),
        (b"\n \n", "empty"),
        (b"#cloud-config\nusers: []\n", "a #cloud-config (for cloud-init)"),
        (b"#!/bin/sh\nid\n", "a script"),
        (b"## template: jinja\n#cloud-config\n", "a template"),
        (b"{\"ignition\": {\"version\": \"3.4.0\"}}", "Ignition"),
        (b"variant: flatcar\nversion: 1.0.0\n", "Butane"),
        (b"version: v1alpha1\nmachine:\n  type: worker\n", "Talos"),
        (b"[settings.host]\n", "Bottlerocket"),
        (b"instance-id: i\n", "meta-data"),
        (b"network:\n  version: 2\n", "network-config"),
        (b"\xfd7zXZ\0\0\0", "xz"),
        (b"\x80\x81", "no UTF-8 text"),
        (b"\x1f\x8b\x08\0", "gzip is damaged or cut"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd is damaged or cut"),
        (b"abcde", "base64 is damaged or cut"),
        (
            none_ours.as_bytes(),
            "there is a #cloud-config (for cloud-init) (part 1), a script, and Stele runs none (part 2)",
        ),
        (cut.as_bytes(), "cut or damaged"),
    ] {
        let said = said(bytes);
        assert!(said.starts_with("! ") && said.contains(part), "{said} wants {part}");
    }
    let gz = gzip(DOCUMENTS.as_bytes());
    assert_eq!(decode(&gz[..gz.len() - 9]).unwrap_err(), Error::Damaged("gzip"));
    let (mut all, first) = (zstd_of(DOCUMENTS.as_bytes()), zstd_of(DOCUMENTS.as_bytes()));
    all.extend(&first[..first.len() - 2]);
    assert_eq!(decode(&all).unwrap_err(), Error::Damaged("zstd"));
}

#[test]
fn bombs_are_bounded() {
    let many = vec![b'a'; TEXT + 2];
    assert_eq!(decode(&gzip(&many)).unwrap_err(), Error::Bomb);
    assert_eq!(decode(&zstd_of(&many)).unwrap_err(), Error::Bomb);
    assert_eq!(decode(&zstd_of(&vec![b'\n'; TEXT]).repeat(3)).unwrap_err(), Error::Bomb);
    assert_eq!(decode(&vec![b':'; TEXT + 1]).unwrap_err(), Error::Bomb);
    assert_eq!(decode(&vec![0; RAW + 1]).unwrap_err(), Error::Large);
    let mut packed = DOCUMENTS.as_bytes().to_vec();
    for _ in 0..LAYERS {
        packed = gzip(&packed);
    }
    assert_eq!(decode(&packed).unwrap_err(), Error::Layers);
    // A window of 64 MiB, which would be reserved at once.
    let window = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x80, 0x01, 0, 0];
    assert_eq!(decode(&window).unwrap_err(), Error::Damaged("zstd"));
}

fuzz::targets! {
    user_data: |bytes| {
        if let Ok(text) = decode(bytes) {
            assert!(!text.is_empty() && text.len() <= TEXT);
        }
    },
}
