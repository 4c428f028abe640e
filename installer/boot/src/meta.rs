//! The META partition: where each region lies, and the header that says so.
//!
//! ```text
//! offset     size     what                                    writer
//! 0x000000   4 KiB    header                                  image builder or installer, once
//! 0x001000   4 KiB    the same header again
//! 0x002000   2 x 4    boot state A, B                         loader, then machined
//! 0x004000   2 x 16   init's record A, B                      init
//! 0x00c000   2 x 16   machined's record A, B                  machined
//! 0x014000            reserved, zero
//! 0x020000   896 KiB  ring with the tail of the boot log      machined
//! ```
//! Every region starts and ends on 4 KiB, so a write of one never touches a logical sector (512 or 4096 bytes) of
//! another. Later versions may add regions in the reserved space and must read what version 1 wrote.

use crate::bytes;
use crate::guid::Guid;

/// Size of the partition in bytes.
pub const SIZE: u64 = 1024 * 1024;
/// Alignment of every region, and the size of one log block: the largest logical sector there is.
pub const BLOCK: usize = 4096;
/// First bytes of the partition.
pub const MAGIC: [u8; 16] = *b"STELEMETA\0\0\0\0\0\0\0";
/// Version of the layout that this code writes.
pub const VERSION: u32 = 1;

/// A piece of the partition, in bytes from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte; a multiple of [`BLOCK`].
    pub offset: u64,
    /// Length; a multiple of [`BLOCK`].
    pub len: usize,
}

/// Two places for one record: a write goes to the one that does not hold the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// First copy.
    pub a: Region,
    /// Second copy.
    pub b: Region,
}

impl Pair {
    /// The region of a slot.
    #[must_use]
    pub const fn get(self, slot: crate::record::Slot) -> Region {
        match slot {
            crate::record::Slot::A => self.a,
            crate::record::Slot::B => self.b,
        }
    }
}

const fn pair(offset: u64, len: usize) -> Pair {
    Pair { a: Region { offset, len }, b: Region { offset: offset + len as u64, len } }
}

/// The header and its copy: read both, use the first that decodes.
pub const HEADERS: Pair = pair(0, BLOCK);
/// The boot state ([`crate::record::Kind::Boot`]).
pub const BOOT: Pair = pair(0x2000, BLOCK);
/// init's record ([`crate::record::Kind::Init`]).
pub const INIT: Pair = pair(0x4000, 4 * BLOCK);
/// machined's record ([`crate::record::Kind::Machined`]).
pub const MACHINED: Pair = pair(0xc000, 4 * BLOCK);
/// The boot log ring ([`crate::log`]).
#[expect(clippy::cast_possible_truncation, reason = "1 MiB")]
pub const LOG: Region = Region { offset: 0x2_0000, len: SIZE as usize - 0x2_0000 };

/// What the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Version of the layout; a reader refuses one above [`VERSION`].
    pub version: u32,
    /// The disk GUID that the image was built with. While the disk's GPT still has it, the disk's and partitions' GUIDs
    /// are shared with every other disk of this image and must be made unique.
    pub image: Guid,
}

/// Why a header cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not a META partition: the magic is missing.
    Foreign,
    /// The magic is there but the checksum does not match.
    Damaged,
    /// Written by a newer release, with this version.
    Newer(u32),
}

impl core::fmt::Display for Error {
    fn fmt(&self, to: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Foreign => to.write_str("no META header (the magic STELEMETA is missing)"),
            Self::Damaged => to.write_str("META header damaged (checksum does not match)"),
            Self::Newer(version) => {
                write!(to, "META layout version {version} is newer than this release reads (up to {VERSION})")
            }
        }
    }
}

impl core::error::Error for Error {}

// magic 0..16, version 16..20, zero 20..24, image 24..40, zero, crc in the last four bytes of the block
const CRC_AT: usize = BLOCK - 4;

impl Header {
    /// A header as this release writes it.
    #[must_use]
    pub const fn new(image: Guid) -> Self {
        Self { version: VERSION, image }
    }

    /// The block to write to both of [`HEADERS`].
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        bytes::put(&mut block, 0, &MAGIC);
        bytes::put(&mut block, 16, &self.version.to_le_bytes());
        bytes::put(&mut block, 24, &self.image.0);
        let crc = bytes::crc(&[&block[..CRC_AT]]);
        bytes::put(&mut block, CRC_AT, &crc.to_le_bytes());
        block
    }

    /// Reads one block; bytes after the first [`BLOCK`] are ignored.
    ///
    /// # Errors
    /// Says whether it is no header, a damaged one, or one of a newer release.
    pub fn decode(block: &[u8]) -> Result<Self, Error> {
        if !block.starts_with(&MAGIC) {
            return Err(Error::Foreign);
        }
        let body = block.get(..CRC_AT).ok_or(Error::Damaged)?;
        if bytes::u32(block, CRC_AT) != Some(bytes::crc(&[body])) {
            return Err(Error::Damaged);
        }
        let version = bytes::u32(block, 16).ok_or(Error::Damaged)?;
        if version > VERSION {
            return Err(Error::Newer(version));
        }
        let image = bytes::array(block, 24).map(Guid).ok_or(Error::Damaged)?;
        Ok(Self { version, image })
    }

    /// Reads the first two blocks of the partition: the header, or its copy when the first is not valid.
    ///
    /// # Errors
    /// When neither decodes: what is wrong with the one that says more.
    pub fn decode_either(start: &[u8]) -> Result<Self, Error> {
        Self::decode(start).or_else(|first| {
            Self::decode(start.get(BLOCK..).unwrap_or_default())
                .map_err(|second| if first == Error::Foreign { second } else { first })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn regions_are_aligned_and_apart() {
        let mut end = 0;
        for pair in [HEADERS, BOOT, INIT, MACHINED] {
            for region in [pair.a, pair.b] {
                assert_eq!(region.offset, end);
                assert_eq!(region.len % BLOCK, 0);
                end = region.offset + region.len as u64;
            }
        }
        assert!(LOG.offset >= end);
        assert_eq!(LOG.offset + LOG.len as u64, SIZE);
    }

    #[test]
    fn says_what_is_wrong() {
        let mut later = Header { version: VERSION + 1, image: Guid::ZERO }.encode();
        assert_eq!(Header::decode(&later), Err(Error::Newer(VERSION + 1)));
        later[100] = 1;
        assert_eq!(Header::decode(&later), Err(Error::Damaged));
        assert_eq!(Header::decode(&[0; BLOCK]), Err(Error::Foreign));
        assert_eq!(Header::decode(&MAGIC), Err(Error::Damaged));
        assert_eq!(Header::decode_either(&[]), Err(Error::Foreign));
    }

    proptest! {
        #[test]
        fn any_damage_to_one_copy_leaves_the_other(image: [u8; 16], at in 0..2 * BLOCK, by in 1u8..) {
            let header = Header::new(Guid(image));
            let mut start = [header.encode(), header.encode()].concat();
            prop_assert_eq!(Header::decode_either(&start), Ok(header));
            start[at] ^= by;
            prop_assert_eq!(Header::decode_either(&start), Ok(header));
            prop_assert!(Header::decode(&start[at / BLOCK * BLOCK..]).is_err());
        }
    }

    fuzz::targets! {
        meta_header: |bytes| {
            let _ = Header::decode_either(bytes);
            // With a right checksum, as somebody would make it.
            let mut block = bytes.to_vec();
            block.resize(BLOCK, 0);
            bytes::put(&mut block, 0, &MAGIC);
            let crc = bytes::crc(&[&block[..CRC_AT]]);
            bytes::put(&mut block, CRC_AT, &crc.to_le_bytes());
            match Header::decode(&block) {
                Ok(header) => assert_eq!(Header::decode(&header.encode()), Ok(header)),
                Err(error) => assert!(matches!(error, Error::Newer(_)), "{error}"),
            }
        },
    }
}
