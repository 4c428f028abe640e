//! Records that are formatted, parsed, chained, cut and changed.

use proptest::prelude::*;

use super::*;

fn record() -> Record {
    Record {
        sequence: 1,
        time_unix_ms: 1_800_000_000_000,
        calls: 1,
        code: 7,
        fingerprint: [7; 32],
        digest: [9; 32],
        request_bytes: 33,
        rescue: true,
        change: true,
        role: "stele:admin".into(),
        subject: "CN=alice, O=stele:admin".into(),
        address: "[2001:db8::1]:40000".into(),
        method: "/stele.v1.Config/Apply".into(),
        ..Record::default()
    }
}

fn log(length: u64) -> Vec<[u8; SIZE]> {
    let mut previous = [0; 32];
    let next = |sequence| {
        let (bytes, hash) = Record { sequence, previous, ..record() }.format();
        previous = hash;
        bytes
    };
    (1..=length).map(next).collect()
}

fn follow<'a>(log: impl IntoIterator<Item = &'a [u8; SIZE]>, kept: Option<Head>) -> Vec<Broken> {
    let mut chain = Chain::new(kept);
    log.into_iter().filter_map(|bytes| chain.push(bytes).err()).collect()
}

#[test]
fn what_is_written_is_read() {
    let (bytes, hash) = record().format();
    assert_eq!(Record::parse(&bytes).unwrap(), (record(), hash));
    let long = Record { subject: "é".repeat(500), method: "a\nb".into(), ..record() };
    let (read, _) = Record::parse(&long.format().0).unwrap();
    assert_eq!((read.subject.len(), read.method.as_str()), (160, "ab"));
    assert_eq!(Record::parse(&[0; SIZE]), Err(Error::Magic));
    assert_eq!(Record::parse(&bytes[1..]), Err(Error::Size(511)));
}

#[test]
fn each_change_of_a_chain_is_found() {
    let good = log(6);
    assert_eq!(follow(&good, None), []);
    assert_eq!(follow(&good[2..], None), [], "the oldest were overwritten");
    let (third, hash) = Record::parse(&good[2]).unwrap();
    let kept = Some(Head { sequence: 3, hash });
    assert_eq!(follow(&good, kept), []);

    let mut flipped = good.clone();
    flipped[3][150] ^= 1;
    let hash = Error::Hash;
    assert_eq!(
        follow(&flipped, None),
        [Broken::Unreadable { sequence: 4, why: hash }, Broken::Missing { after: 3, found: 5 }]
    );
    // Somebody who can write the disk makes a record anew, but not those after it.
    let mut forged = good.clone();
    forged[2] = Record { subject: "CN=bob".into(), ..third }.format().0;
    assert_eq!(follow(&forged, None), [Broken::Changed(4)]);
    assert_eq!(follow(&forged[..3], kept), [Broken::Head(3)], "or all of them; then the head tells");
    let without = [&good[..2], &good[3..]].concat();
    assert_eq!(follow(&without, None), [Broken::Missing { after: 2, found: 4 }]);
    let mut first = good;
    first[0] = Record { previous: [1; 32], ..record() }.format().0;
    assert_eq!(follow(&first[..1], None), [Broken::Changed(1)]);
}

#[test]
fn a_kept_head_is_met_or_not() {
    let (good, mut other) = (log(6), log(6));
    let (_, hash) = Record::parse(&good[2]).unwrap();
    let mut previous = [0; 32];
    for (bytes, sequence) in other.iter_mut().zip(1..) {
        (*bytes, previous) = Record { sequence, previous, role: "stele:reader".into(), ..record() }.format();
    }
    let kept = Some(Head { sequence: 3, hash });
    for (log, kept, met) in [
        (&good[..], kept, true),
        (&good[2..3], kept, true),
        (&good[3..], kept, true),
        (&good[4..], kept, false),
        (&good[..2], kept, false),
        (&good[..], None, false),
        (&other[..], kept, false),
        (&other[3..], kept, false),
        (&[], kept, false),
    ] {
        let mut chain = Chain::new(kept);
        log.iter().for_each(|bytes| drop(chain.push(bytes)));
        assert_eq!(chain.met(), met, "{} records", log.len());
    }
}

proptest! {
    #[test]
    fn a_flipped_bit_is_never_a_record(at in 0..SIZE * 8) {
        let (mut bytes, _) = record().format();
        bytes[at / 8] ^= 1 << (at % 8);
        prop_assert!(Record::parse(&bytes).is_err());
    }
}

fuzz::targets! {
    audit_record: |bytes| {
        let mut chain = Chain::new(None);
        for piece in bytes.chunks(SIZE) {
            let _ = chain.push(piece);
        }
        // With the right hash, so that the fields are reached.
        let mut whole = [0; SIZE];
        let length = bytes.len().min(HASH);
        whole[..length].copy_from_slice(&bytes[..length]);
        let hash: Hash = Sha256::digest(&whole[..HASH]).into();
        whole[HASH..].copy_from_slice(&hash);
        if let Ok((record, hash)) = Record::parse(&whole) {
            assert_eq!(record.format(), (whole, hash));
        }
    },
}
