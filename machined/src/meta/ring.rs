//! The boot log's tail in META: appends text in 4 KiB blocks and reads what the boot before left.
//!
//! Invariant: the newest block is written again with more text until it is full; a torn write loses that one block. The
//! boot controllers own the only [`Ring`].

use boot::log::{Block, TEXT_MAX, collect, get, next_seq, place};
use boot::meta::{BLOCK, LOG};

use super::{Error, Handle};

/// What the boot before this one left in the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Last {
    /// The kernel's id of that boot, as in /proc/sys/kernel/random/boot_id.
    pub boot_id: String,
    /// The tail of its log.
    pub text: Vec<u8>,
}

/// The writing end.
#[derive(Debug)]
pub struct Ring {
    meta: Handle,
    boot: [u8; 16],
    seq: u64,
    open: Vec<u8>,
}

impl Ring {
    /// Reads the ring: what the boot before left, and where to go on. `None` without a META.
    ///
    /// # Errors
    /// The disk.
    pub async fn open(meta: &Handle) -> Result<Option<(Self, Option<Last>)>, Error> {
        let Some(volume) = meta.volume() else { return Ok(None) };
        let boot = *uuid::Uuid::try_parse(meta.boot_id()).unwrap_or_default().as_bytes();
        let bytes = meta.io(move || volume.ring()).await?;
        let last = last(&bytes, boot);
        let seq = next_seq(&bytes);
        // A machined before this one, in the same boot: go on in its newest block.
        let newest = seq.checked_sub(1).and_then(|seq| get(&bytes, seq)).filter(|block| block.boot == boot);
        let (seq, open) = newest.map_or((seq, Vec::new()), |block| (block.seq, block.text.to_vec()));
        Ok(Some((Self { meta: meta.clone(), boot, seq, open }, last)))
    }

    /// Appends text; false when META is not there (any more). Of text longer than the ring only the end is written.
    ///
    /// # Errors
    /// The disk: nothing counts as written, the same text can be given again.
    pub async fn append(&mut self, text: &[u8]) -> Result<bool, Error> {
        let text = &text[text.len().saturating_sub(LOG.len / BLOCK * TEXT_MAX - TEXT_MAX)..];
        let Some(volume) = self.meta.volume() else { return Ok(false) };
        let (mut seq, mut open) = (self.seq, self.open.clone());
        let mut blocks = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(TEXT_MAX - open.len()));
            open.extend_from_slice(now);
            rest = later;
            blocks.push((place(seq, LOG.len), Block { seq, boot: self.boot, text: &open }.encode()));
            if open.len() == TEXT_MAX {
                seq = seq.saturating_add(1);
                open.clear();
            }
        }
        self.meta.io(move || volume.write_ring(&blocks)).await?;
        (self.seq, self.open) = (seq, open);
        Ok(true)
    }
}

fn last(ring: &[u8], current: [u8; 16]) -> Option<Last> {
    let blocks: Vec<_> = collect(ring, &current).collect();
    let boot_id = uuid::Uuid::from_bytes(blocks.first()?.boot).to_string();
    Some(Last { boot_id, text: blocks.iter().flat_map(|block| block.text).copied().collect() })
}
