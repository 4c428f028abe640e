//! A record that survives torn writes: two copies with sequence numbers and checksums.
//!
//! The newer valid copy counts; a write goes to the other. So whatever happens during a write, the older copy is still
//! there. The payload is opaque here: its owner gives it a format and a version.
//!
//! To write: `decode_newest` both, [`encode`] with [`next`], write the whole buffer to that slot, flush.

use crate::bytes;

/// Whose record it is. It is part of the checksum, so one that lies in a wrong region is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The boot state.
    Boot,
    /// init's attempts counter.
    Init,
    /// machined's facts about this machine.
    Machined,
    /// Which revisions of the configuration count; not in META but in a file on STATE.
    Config,
}

impl Kind {
    const fn magic(self) -> [u8; 8] {
        match self {
            Self::Boot => *b"STELEbst",
            Self::Init => *b"STELEini",
            Self::Machined => *b"STELEmad",
            Self::Config => *b"STELEcfg",
        }
    }
}

/// One of the two places of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// The one that is not this.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// A valid record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Rises by one with each write.
    pub seq: u64,
    /// The owner's bytes.
    pub payload: &'a [u8],
}

/// The payload is longer than its region holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Bytes given.
    pub len: usize,
    /// Bytes that fit.
    pub max: usize,
}

impl core::fmt::Display for TooLong {
    fn fmt(&self, to: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(to, "record of {} bytes does not fit into its region of {} bytes", self.len, self.max)
    }
}

impl core::error::Error for TooLong {}

// magic 0..8, format 8..10, zero 10..12, payload length 12..16, seq 16..24, crc 24..28, zero 28..32, payload
const HEAD: usize = 32;
const CRC_AT: usize = 24;
const FORMAT: u16 = 1;

/// The longest payload for a region of `len` bytes.
#[must_use]
pub const fn capacity(len: usize) -> usize {
    len.saturating_sub(HEAD)
}

/// Fills `region` (all of it, so that nothing older shows through) with a record.
///
/// # Errors
/// When the payload does not fit; `region` is untouched then.
pub fn encode(kind: Kind, record: Record<'_>, region: &mut [u8]) -> Result<(), TooLong> {
    let (len, max) = (record.payload.len(), capacity(region.len()));
    let len_field = u32::try_from(len).ok().filter(|_| len <= max).ok_or(TooLong { len, max })?;
    if region.len() < HEAD {
        return Err(TooLong { len, max });
    }
    region.fill(0);
    bytes::put(region, 0, &kind.magic());
    bytes::put(region, 8, &FORMAT.to_le_bytes());
    bytes::put(region, 12, &len_field.to_le_bytes());
    bytes::put(region, 16, &record.seq.to_le_bytes());
    let crc = bytes::crc(&[&region[..CRC_AT], record.payload]);
    bytes::put(region, CRC_AT, &crc.to_le_bytes());
    bytes::put(region, HEAD, record.payload);
    Ok(())
}

/// Reads one copy; `None` when it is empty, damaged, or not of this kind.
#[must_use]
pub fn decode(kind: Kind, region: &[u8]) -> Option<Record<'_>> {
    if !region.starts_with(&kind.magic()) || bytes::u16(region, 8)? != FORMAT {
        return None;
    }
    let len = usize::try_from(bytes::u32(region, 12)?).ok()?;
    let payload = region.get(HEAD..HEAD.checked_add(len)?)?;
    let crc = bytes::crc(&[region.get(..CRC_AT)?, payload]);
    (bytes::u32(region, CRC_AT)? == crc).then_some(Record { seq: bytes::u64(region, 16)?, payload })
}

/// Reads both copies; the newer valid one and where it lies.
#[must_use]
pub fn decode_newest<'a>(kind: Kind, a: &'a [u8], b: &'a [u8]) -> Option<(Slot, Record<'a>)> {
    match (decode(kind, a), decode(kind, b)) {
        (Some(a), Some(b)) if b.seq > a.seq => Some((Slot::B, b)),
        (Some(a), _) => Some((Slot::A, a)),
        (None, Some(b)) => Some((Slot::B, b)),
        (None, None) => None,
    }
}

/// Where the next write goes and which sequence number it gets, from what [`decode_newest`] returned.
#[must_use]
pub fn next(newest: Option<(Slot, Record<'_>)>) -> (Slot, u64) {
    newest.map_or((Slot::A, 1), |(slot, record)| (slot.other(), record.seq.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LEN: usize = 4096;

    fn write(kind: Kind, regions: &mut [Vec<u8>; 2], payload: &[u8]) -> (Slot, Vec<u8>) {
        let (slot, seq) = next(decode_newest(kind, &regions[0], &regions[1]));
        let mut region = vec![0xee; LEN];
        encode(kind, Record { seq, payload }, &mut region).unwrap();
        (slot, region)
    }

    fn put(regions: &mut [Vec<u8>; 2], slot: Slot, bytes: Vec<u8>) {
        regions[slot as usize] = bytes;
    }

    fn payload() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(any::<u8>(), 0..capacity(LEN))
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let long = vec![0; capacity(LEN) + 1];
        let error = encode(Kind::Init, Record { seq: 1, payload: &long }, &mut vec![0; LEN]).unwrap_err();
        assert_eq!(error, TooLong { len: capacity(LEN) + 1, max: capacity(LEN) });
        assert!(encode(Kind::Init, Record { seq: 1, payload: &[] }, &mut [0; 3]).is_err());
        assert_eq!(decode(Kind::Init, &[]), None);
    }

    #[test]
    fn a_record_in_a_foreign_region_is_not_taken() {
        let mut region = [0; 512];
        encode(Kind::Init, Record { seq: 1, payload: b"x" }, &mut region).unwrap();
        assert_eq!(decode(Kind::Machined, &region), None);
    }

    proptest! {
        #[test]
        fn the_last_write_is_read(payloads in proptest::collection::vec(payload(), 1..6)) {
            let mut regions = [vec![0; LEN], vec![0; LEN]];
            for (count, payload) in payloads.iter().enumerate() {
                let (slot, bytes) = write(Kind::Machined, &mut regions, payload);
                put(&mut regions, slot, bytes);
                let (_, newest) = decode_newest(Kind::Machined, &regions[0], &regions[1]).unwrap();
                prop_assert_eq!(newest.payload, &payload[..]);
                prop_assert_eq!(newest.seq, count as u64 + 1);
            }
        }

        /// Any subset of the 512-byte sectors of the new copy may have reached the disk.
        #[test]
        fn a_torn_write_leaves_the_older_or_the_newer(
            old in payload(), older in payload(), new in payload(), sectors in any::<u8>(), tail in 0..512usize,
        ) {
            let mut regions = [vec![0; LEN], vec![0; LEN]];
            for payload in [&older, &old] {
                let (slot, bytes) = write(Kind::Boot, &mut regions, payload);
                put(&mut regions, slot, bytes);
            }
            let (slot, bytes) = write(Kind::Boot, &mut regions, &new);
            let mut torn = regions[slot as usize].clone();
            for sector in 0..8 {
                if sectors & 1 << sector != 0 {
                    let at = sector * 512;
                    torn[at..at + 512].copy_from_slice(&bytes[at..at + 512]);
                }
            }
            // and one that stopped in the middle of a sector
            torn[..tail].copy_from_slice(&bytes[..tail]);
            put(&mut regions, slot, torn);
            let (_, newest) = decode_newest(Kind::Boot, &regions[0], &regions[1]).unwrap();
            prop_assert!(newest.payload == &old[..] || newest.payload == &new[..]);
        }

        #[test]
        fn a_flipped_byte_leaves_one_of_the_two(old in payload(), new in payload(), at in 0..2 * LEN, by in 1u8..) {
            let mut regions = [vec![0; LEN], vec![0; LEN]];
            for payload in [&old, &new] {
                let (slot, bytes) = write(Kind::Init, &mut regions, payload);
                put(&mut regions, slot, bytes);
            }
            regions[at / LEN][at % LEN] ^= by;
            let (_, newest) = decode_newest(Kind::Init, &regions[0], &regions[1]).unwrap();
            prop_assert!(newest.payload == &old[..] || newest.payload == &new[..]);
        }

        #[test]
        fn garbage_is_never_a_record(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut region = Kind::Init.magic().to_vec();
            region.extend([1, 0]);
            region.extend(bytes);
            prop_assert_eq!(decode(Kind::Init, &region), None);
        }
    }

    fuzz::targets! {
        record: |bytes| {
            let (a, b) = bytes.split_at(bytes.len() / 2);
            for kind in [Kind::Boot, Kind::Init, Kind::Machined] {
                let _ = next(decode_newest(kind, a, b));
                // With right magic and checksum, where the length allows one.
                let mut region = bytes.to_vec();
                if region.len() < HEAD {
                    continue;
                }
                bytes::put(&mut region, 0, &kind.magic());
                let length = bytes::u32(&region, 12).unwrap() as usize;
                let Some(payload) = region.get(HEAD..HEAD.saturating_add(length)) else {
                    assert_eq!(decode(kind, &region), None);
                    continue;
                };
                let crc = bytes::crc(&[&region[..CRC_AT], payload]);
                bytes::put(&mut region, CRC_AT, &crc.to_le_bytes());
                if let Some(record) = decode(kind, &region) {
                    let mut again = vec![0; region.len()];
                    encode(kind, record, &mut again).unwrap();
                    assert_eq!(decode(kind, &again), Some(record));
                }
            }
        },
    }
}
