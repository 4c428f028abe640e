//! The tail of the boot log in META: a ring of 4 KiB blocks that the next boot reads.
//!
//! Block `seq` lies at place `seq % blocks`, so the ring needs no head pointer: the highest valid sequence number is the
//! newest. Sequence numbers go on rising across boots. The writer may write the newest block again with more text in
//! it (same `seq`); a torn write loses that one block, never another.

use crate::bytes;
use crate::meta::BLOCK;

/// Most bytes of text in one block.
pub const TEXT_MAX: usize = BLOCK - HEAD;

// magic 0..8, format 8..10, text length 10..12, crc 12..16, seq 16..24, zero 24..32, boot id 32..48, text
const HEAD: usize = 48;
const MAGIC: [u8; 8] = *b"STELElog";
const FORMAT: u16 = 1;
const CRC_AT: usize = 12;

/// One block of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// Rises by one with each block, across boots.
    pub seq: u64,
    /// The kernel's boot id (`/proc/sys/kernel/random/boot_id`), as 16 bytes.
    pub boot: [u8; 16],
    /// Log text; lines may run over from one block to the next.
    pub text: &'a [u8],
}

impl<'a> Block<'a> {
    /// The block as it is written; text beyond [`TEXT_MAX`] is cut.
    #[must_use]
    pub fn encode(&self) -> [u8; BLOCK] {
        let text = &self.text[..self.text.len().min(TEXT_MAX)];
        #[expect(clippy::cast_possible_truncation, reason = "at most TEXT_MAX")]
        let len = text.len() as u16;
        let mut block = [0; BLOCK];
        bytes::put(&mut block, 0, &MAGIC);
        bytes::put(&mut block, 8, &FORMAT.to_le_bytes());
        bytes::put(&mut block, 10, &len.to_le_bytes());
        bytes::put(&mut block, 16, &self.seq.to_le_bytes());
        bytes::put(&mut block, 32, &self.boot);
        bytes::put(&mut block, HEAD, text);
        let crc = checksum(&block, text);
        bytes::put(&mut block, CRC_AT, &crc.to_le_bytes());
        block
    }

    /// Reads one block; `None` when it is empty or damaged.
    #[must_use]
    pub fn decode(block: &'a [u8]) -> Option<Self> {
        if !block.starts_with(&MAGIC) || bytes::u16(block, 8)? != FORMAT {
            return None;
        }
        let text = block.get(HEAD..BLOCK)?.get(..usize::from(bytes::u16(block, 10)?))?;
        if bytes::u32(block, CRC_AT)? != checksum(block, text) {
            return None;
        }
        Some(Self { seq: bytes::u64(block, 16)?, boot: bytes::array(block, 32)?, text })
    }
}

fn checksum(block: &[u8], text: &[u8]) -> u32 {
    bytes::crc(&[&block[..CRC_AT], &block[CRC_AT + 4..HEAD], text])
}

/// Byte offset in the ring of block `seq`; `ring` is the ring's length in bytes, at least one [`BLOCK`].
#[must_use]
pub fn place(seq: u64, ring: usize) -> usize {
    let blocks = (ring / BLOCK).max(1) as u64;
    #[expect(clippy::cast_possible_truncation, reason = "below ring / BLOCK, which is a usize")]
    let index = (seq % blocks) as usize;
    index * BLOCK
}

/// The block with number `seq`, if the ring still has it.
#[must_use]
pub fn get(ring: &[u8], seq: u64) -> Option<Block<'_>> {
    Block::decode(ring.get(place(seq, ring.len())..)?).filter(|block| block.seq == seq)
}

/// The sequence number for the first block that this boot writes.
#[must_use]
pub fn next_seq(ring: &[u8]) -> u64 {
    valid(ring).map(|block| block.seq).max().map_or(0, |newest| newest.saturating_add(1))
}

/// The blocks of the boot before `current`, oldest first; empty when the ring has none.
///
/// "Before" is the one that wrote last among all others. Blocks that are damaged are left out.
pub fn collect<'a>(ring: &'a [u8], current: &[u8; 16]) -> impl Iterator<Item = Block<'a>> + use<'a> {
    let last = valid(ring).filter(|block| block.boot != *current).max_by_key(|block| block.seq);
    last.into_iter().flat_map(move |last| {
        let oldest = last.seq.saturating_sub((ring.len() / BLOCK) as u64);
        (oldest..=last.seq).filter_map(move |seq| get(ring, seq)).filter(move |block| block.boot == last.boot)
    })
}

/// Valid blocks in the order of their places; one that lies at a place not its own does not count.
fn valid(ring: &[u8]) -> impl Iterator<Item = Block<'_>> {
    ring.chunks_exact(BLOCK)
        .enumerate()
        .filter_map(|(index, bytes)| Block::decode(bytes).filter(|block| place(block.seq, ring.len()) == index * BLOCK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RING: usize = 8 * BLOCK;

    fn fill(ring: &mut [u8], boot: u8, texts: &[Vec<u8>]) {
        for text in texts {
            let seq = next_seq(ring);
            let at = place(seq, ring.len());
            ring[at..at + BLOCK].copy_from_slice(&Block { seq, boot: [boot; 16], text }.encode());
        }
    }

    fn texts(max: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
        proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..=TEXT_MAX), 0..max)
    }

    fn read(ring: &[u8], current: u8) -> Vec<Vec<u8>> {
        collect(ring, &[current; 16]).map(|block| block.text.to_vec()).collect()
    }

    #[test]
    fn an_empty_ring_has_nothing() {
        assert_eq!(next_seq(&vec![0; RING]), 0);
        assert!(read(&vec![0; RING], 1).is_empty());
        assert!(read(&[], 1).is_empty());
        assert_eq!(Block::decode(&MAGIC), None);
    }

    #[test]
    fn long_text_is_cut() {
        let block = Block { seq: 1, boot: [1; 16], text: &[b'x'; BLOCK] }.encode();
        assert_eq!(Block::decode(&block).unwrap().text.len(), TEXT_MAX);
    }

    proptest! {
        #[test]
        fn the_boot_before_is_read_in_order(first in texts(12), second in texts(12), third in texts(4)) {
            let mut ring = vec![0; RING];
            fill(&mut ring, 1, &first);
            fill(&mut ring, 2, &second);
            fill(&mut ring, 3, &third);
            let wanted = if second.is_empty() { &first } else { &second };
            let left = 8 - third.len();
            let kept = if second.len() >= left || !second.is_empty() { wanted.len().min(left) } else { first.len().min(left) };
            prop_assert_eq!(read(&ring, 3), wanted[wanted.len() - kept..].to_vec());
        }

        #[test]
        fn a_flipped_byte_costs_at_most_one_block(texts in texts(12), at in 0..RING, by in 1u8..) {
            let mut ring = vec![0; RING];
            fill(&mut ring, 1, &texts);
            let before = read(&ring, 2);
            ring[at] ^= by;
            let after = read(&ring, 2);
            prop_assert!(after.len() + 1 >= before.len());
            prop_assert!(after.iter().all(|text| before.contains(text)));
        }
    }

    fuzz::targets! {
        log_ring: |bytes| {
            // Each chunk is put to its place with a right checksum; the sequence numbers are the input's.
            let mut ring = vec![0; 4 * BLOCK];
            for (place, chunk) in bytes.chunks(64).take(4).enumerate() {
                let block = &mut ring[place * BLOCK..(place + 1) * BLOCK];
                block[..chunk.len()].copy_from_slice(chunk);
                bytes::put(block, 0, &MAGIC);
                bytes::put(block, 8, &FORMAT.to_le_bytes());
                let length = usize::from(bytes::u16(block, 10).unwrap());
                if let Some(text) = block[HEAD..].get(..length) {
                    let crc = checksum(block, text);
                    bytes::put(block, CRC_AT, &crc.to_le_bytes());
                }
            }
            for ring in [&ring[..], bytes] {
                let next = next_seq(ring);
                for block in collect(ring, &[0; 16]) {
                    assert!(block.seq <= next && Block::decode(&block.encode()) == Some(block));
                }
                let _ = get(ring, next);
            }
        },
    }
}
