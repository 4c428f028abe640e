use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn an_identity_is_made_once_and_kept_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    let never = |error: Error| panic!("{error}");
    let first = Identity::ensure(&mut [&mut File::new(path("run"))], never).unwrap();
    let again = Identity::ensure(&mut [&mut File::new(path("run"))], never).unwrap();
    assert_eq!(first, again, "a restart of machined changes nothing");
    // META appears later: it takes over what is shown, and wins at the next boot, when /run is empty.
    let late = Identity::ensure(&mut [&mut File::new(path("meta")), &mut File::new(path("run"))], never).unwrap();
    assert_eq!(first, late);
    std::fs::remove_file(path("run")).unwrap();
    let next = Identity::ensure(&mut [&mut File::new(path("meta")), &mut File::new(path("run"))], never).unwrap();
    assert_eq!(first, next);
    assert_eq!(std::fs::metadata(path("run")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_or_absent_place_is_survived_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let good = Identity::make().unwrap();
    let other = Identity::make().unwrap();
    let mixed = Identity { key: other.key.clone(), ..good.clone() };
    let mut torn = file::format(&good).to_vec();
    torn.truncate(300);
    for (name, bytes) in [("empty", vec![]), ("torn", torn), ("mixed", file::format(&mixed).to_vec())] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut said = Vec::new();
        let made = Identity::ensure(&mut [&mut File::new(path.clone())], |error| said.push(error)).unwrap();
        assert!(matches!(&said[..], [Error::Damaged { .. }]), "{name}: {said:?}");
        assert_eq!(File::new(path).load().unwrap(), Some(made), "{name}: replaced");
    }
    let mut said = Vec::new();
    let nowhere = folder.path().join("no/such/folder");
    Identity::ensure(&mut [&mut File::new(nowhere)], |error| said.push(error)).unwrap();
    assert!(matches!(&said[..], [Error::Place { .. }]), "{said:?}");
}

#[test]
fn the_certificate_says_what_it_is() {
    let identity = Identity::make().unwrap();
    let (_, certificate) = X509Certificate::from_der(&identity.certificate).unwrap();
    assert_eq!(certificate.subject().to_string(), "CN=stele-maintenance");
    assert_eq!(certificate.validity().not_after.to_datetime().year(), 9999);
    assert!(identity.certificate.len() < 512, "{} bytes: META's record has room", identity.certificate.len());
    assert_eq!(identity.fingerprint_hex().len(), 64);
    assert!(!format!("{identity:?}").contains(&format!("{:?}", &identity.key[..4])));
}
