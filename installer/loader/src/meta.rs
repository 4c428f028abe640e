//! META of the disk that this program was started from: its regions, by the firmware's Block I/O.

use core::ptr::NonNull;

use boot::meta::{BLOCK, HEADERS, Header, Region, SIZE};
use uefi_raw::{Handle, protocol::block::BlockIoProtocol};

use crate::{
    firmware::{Firmware, Pages},
    path,
};

/// The partition.
pub(crate) struct Meta {
    io: NonNull<BlockIoProtocol>,
    /// A page: aligned as every device wants it, and as long as the longest sector.
    block: Pages,
}

impl Meta {
    /// The partition with a META header on the disk that the device path `own` is of.
    pub(crate) fn find(firmware: &Firmware, own: &[u8]) -> Option<Self> {
        let disk = path::disk(own);
        let mut partitions = firmware
            .handles::<BlockIoProtocol>()
            .iter()
            .filter(|&&handle| firmware.device_path(handle).is_some_and(|path| path::is_partition_of(path, disk)));
        partitions.find_map(|&handle| Self::open(firmware, handle))
    }

    /// The partition when it has a header.
    fn open(firmware: &Firmware, handle: Handle) -> Option<Self> {
        let mut found = Self { io: firmware.protocol(handle)?, block: firmware.pages(BLOCK)? };
        let mut has_header = |region| found.read(region).is_some_and(|bytes| Header::decode(bytes).is_ok());
        (has_header(HEADERS.a) || has_header(HEADERS.b)).then_some(found)
    }

    /// Reads a region of one block.
    pub(crate) fn read(&mut self, region: Region) -> Option<&[u8]> {
        let place = self.place(region)?;
        let io = self.io.as_ptr();
        // SAFETY: `io` is a protocol of the firmware's; the buffer has a block, aligned to a page.
        let status = unsafe { ((*io).read_blocks)(io, place.media, place.lba, BLOCK, self.block.as_mut_ptr().cast()) };
        status.is_success().then_some(&*self.block)
    }

    /// Writes a region of one block and reads it back from the disk; whether it is there now.
    pub(crate) fn write(&mut self, region: Region, bytes: &[u8; BLOCK]) -> bool {
        let Some(place) = self.place(region).filter(|place| !place.read_only) else { return false };
        self.block.copy_from_slice(bytes);
        let io = self.io.as_ptr();
        // SAFETY: see `read`; the firmware only reads the buffer.
        let status = unsafe { ((*io).write_blocks)(io, place.media, place.lba, BLOCK, self.block.as_ptr().cast()) };
        if !status.is_success() {
            return false;
        }
        // A device that knows no flush fails here for ever, and would never get an upgrade; what is lost on one whose cache
        // forgets is a count, by a power cut at this very moment.
        // SAFETY: see `read`.
        let _ = unsafe { ((*io).flush_blocks)(io) };
        self.block.fill(0);
        self.read(region).is_some_and(|back| back == bytes)
    }

    /// Where the region is on the medium that is there now.
    fn place(&self, region: Region) -> Option<Place> {
        // SAFETY: the firmware keeps the description of the medium up to date at this place while the handle is there. Only
        // fields that every revision of it has are read.
        let (media, sector, align, last, present, read_only) = unsafe {
            let media = self.io.as_ref().media;
            if media.is_null() {
                return None;
            }
            let sector = u64::from((*media).block_size);
            (
                (*media).media_id,
                sector,
                (*media).io_align,
                (*media).last_block,
                (*media).media_present,
                (*media).read_only,
            )
        };
        let fits = sector != 0
            && (BLOCK as u64).is_multiple_of(sector)
            && align as usize <= BLOCK
            && last.saturating_add(1).saturating_mul(sector) >= SIZE;
        (present.is_true() && fits && region.len == BLOCK).then(|| Place {
            media,
            lba: region.offset / sector,
            read_only: read_only.is_true(),
        })
    }
}

/// A region on a medium.
struct Place {
    media: u32,
    lba: u64,
    read_only: bool,
}
