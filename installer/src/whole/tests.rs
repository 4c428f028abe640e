use super::*;
use crate::{host, keys, sign};

/// A UKI of a few kilobytes.
fn small() -> Vec<u8> {
    let sections = [uki::OSREL, uki::CMDLINE, uki::UNAME, uki::INITRD, uki::LINUX].map(|name| (name, name.as_bytes()));
    uki::assemble(&uki::tests::stub(), &sections).unwrap()
}

/// A signed UKI with this os-release and so many bytes of kernel.
pub(crate) fn signed_uki(osrel: &str, kernel: usize) -> Vec<u8> {
    let kernel = vec![7; kernel];
    let sections = [uki::OSREL, uki::CMDLINE, uki::UNAME, uki::INITRD, uki::LINUX].map(|name| match name {
        uki::OSREL => (name, osrel.as_bytes()),
        uki::LINUX => (name, &kernel[..]),
        _ => (name, name.as_bytes()),
    });
    sign_with_any(&uki::assemble(&uki::tests::stub(), &sections).unwrap())
}

/// A signed program that is no UKI.
pub(crate) fn signed_loader() -> Vec<u8> {
    sign_with_any(&uki::tests::stub())
}

fn sign_with_any(program: &[u8]) -> Vec<u8> {
    let work = tempfile::tempdir().unwrap();
    sign::sign(program, &keys::make(work.path(), "test").unwrap()).unwrap()
}

fn said(part: &str, bytes: &[u8]) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    check(part, file.path()).map_or_else(|error| error.to_string(), |()| "whole".to_owned())
}

#[test]
fn ours_and_those_of_a_stock_tool_are_whole() {
    let work = tempfile::tempdir().unwrap();
    let key = keys::make(work.path(), "test").unwrap();
    let signed = sign::sign(&small(), &key).unwrap();
    assert_eq!(said("uki", &signed), "whole");
    let (from, to) = (work.path().join("in.efi"), work.path().join("out.efi"));
    std::fs::write(&from, small()).unwrap();
    host::program("sbsign", "sbsigntool")
        .args(["--key".as_ref(), key.key.as_os_str(), "--cert".as_ref(), key.cert.as_os_str(), "--output".as_ref()])
        .args([&to, &from])
        .run()
        .unwrap();
    assert_eq!(said("uki", &std::fs::read(&to).unwrap()), "whole");
    assert_eq!(said("installer", b"anything"), "whole");
}

#[test]
fn whatever_is_missing_or_changed_is_noticed() {
    let work = tempfile::tempdir().unwrap();
    let key = keys::make(work.path(), "test").unwrap();
    let signed = sign::sign(&small(), &key).unwrap();
    assert_eq!(said("uki", &small()), "it is not signed");
    let loader = sign::sign(&uki::tests::stub(), &key).unwrap();
    assert_eq!(said("loader", &loader), "whole");
    assert_eq!(said("recovery", &loader), "it has no section .osrel");
    for len in [0, 1, 63, 200, 1000, 1536, signed.len() - 1] {
        assert_ne!(said("uki", &signed[..len]), "whole", "{len}");
    }
    assert_ne!(said("uki", &[&signed[..], b"more"].concat()), "whole");
    // the checksum is in no signature
    let headers = pe::signature_fields(&signed).unwrap();
    // but for the padding of the signature, every byte counts
    let end = signed.len() - 8;
    for at in (0..end).step_by(7).filter(|at| !(headers[0]..headers[0] + 4).contains(at)) {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        let said = said("uki", &changed);
        assert!(said != "whole" || in_certificate(&signed, at), "{at}: {said}");
    }
}

/// Whether a byte lies in the signature's table: in the certificate is much that says nothing about who signed.
fn in_certificate(signed: &[u8], at: usize) -> bool {
    let [_, security] = pe::signature_fields(signed).unwrap();
    at >= pe::u32_at(signed, security).unwrap()
}

fuzz::targets! {
    authenticode: |bytes| drop(signed(bytes, &[0; 32])),
}
