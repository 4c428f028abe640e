use super::*;

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
