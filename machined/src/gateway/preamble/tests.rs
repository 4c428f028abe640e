use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;

fn example() -> Preamble {
    Preamble {
        address: "[fe80::1%3]:40000".parse().unwrap(),
        certificate: Some(Certificate {
            subject: "O=stele:admin, CN=someone".into(),
            common_name: "someone".into(),
            organisations: vec!["stele:admin".into(), "stele:reader".into()],
            fingerprint: [7; 32],
            rescue: true,
            names: vec!["node.example".into(), "192.0.2.7".into()],
            not_before: -1,
            not_after: 1_900_000_000,
        }),
    }
}

async fn read(mut bytes: &[u8]) -> Result<Preamble, Error> {
    Preamble::read(&mut bytes).await
}

#[tokio::test]
async fn what_is_written_is_read() {
    let stranger = Preamble { address: "192.0.2.1:1".parse().unwrap(), certificate: None };
    for preamble in [stranger, example()] {
        let mut bytes = preamble.format().unwrap();
        bytes.extend_from_slice(b"PRI * HTTP/2.0");
        let mut rest = bytes.as_slice();
        assert_eq!(Preamble::read(&mut rest).await.unwrap(), preamble);
        assert_eq!(rest, b"PRI * HTTP/2.0", "not a byte of the client's is eaten");
    }
}

#[tokio::test]
async fn refuses_each_wrong_frame() {
    let good = example().format().unwrap();
    let changed = |change: fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        bytes
    };
    let cases = [
        ("http", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), "starts with"),
        ("version", changed(|b| b[4] = 9), "version 9"),
        ("oversize", changed(|b| b[5..9].copy_from_slice(&9000u32.to_be_bytes())), "at most"),
        ("endless", changed(|b| b[5..9].copy_from_slice(&u32::MAX.to_be_bytes())), "at most"),
        (
            "time of seven bytes",
            changed(|b| {
                let at = b.len() - 12;
                b[at + 3] = 7;
                b.pop();
                let size = u32::try_from(b.len() - 9).unwrap();
                b[5..9].copy_from_slice(&size.to_be_bytes());
            }),
            "not after",
        ),
        ("cut", changed(|b| b.truncate(40)), "socket"),
        ("field past the end", changed(|b| b[9] = 0xff), "address"),
        ("address", changed(|b| b[13] = b'x'), "address"),
        ("control character", changed(|b| b[40] = b'\n'), "not valid"),
        (
            "trailing",
            changed(|b| {
                b.push(0);
                let size = u32::try_from(b.len() - 9).unwrap();
                b[5..9].copy_from_slice(&size.to_be_bytes());
            }),
            "1 bytes after",
        ),
    ];
    for (name, bytes, says) in cases {
        let error = read(&bytes).await.expect_err(name).to_string();
        assert!(error.contains(says), "{name}: {error}");
    }
}

#[test]
fn a_certificate_that_machined_would_refuse_is_not_sent() {
    let mut preamble = example();
    preamble.certificate.as_mut().unwrap().subject = "x".repeat(9000);
    assert!(matches!(preamble.format(), Err(Error::TooLong { .. })));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(preamble) = Preamble::parse(&body) {
            prop_assert_eq!(&preamble.format().unwrap()[9..], &body[..], "one reading of each message");
        }
    }

    #[test]
    fn a_flipped_byte_never_panics(at in 9usize..100, with in any::<u8>()) {
        let mut bytes = example().format().unwrap();
        let at = at.min(bytes.len() - 1);
        bytes[at] = with;
        let _ = Preamble::parse(&bytes[9..]);
    }

    #[test]
    fn names_round_trip(subject in "[^\\p{C}]{0,100}", organisations in prop::collection::vec("[^\\p{C}]{0,40}", 0..16)) {
        let mut preamble = example();
        let certificate = preamble.certificate.as_mut().unwrap();
        certificate.subject = subject;
        certificate.organisations = organisations;
        prop_assert_eq!(Preamble::parse(&preamble.format().unwrap()[9..]).unwrap(), preamble);
    }
}

fuzz::targets! {
    preamble: |bytes| {
        let Some(read) = Preamble::read(&mut &bytes[..]).now_or_never() else { return };
        if let Ok(preamble) = read {
            let frame = preamble.format().unwrap();
            assert_eq!(frame, bytes[..frame.len()]);
        }
        if let Ok(preamble) = Preamble::parse(bytes) {
            assert_eq!(preamble.format().unwrap()[9..], *bytes);
        }
    },
}
