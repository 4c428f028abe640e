//! Reading and writing the regions of a META partition (or of a plain file, in tests). Blocking.
//!
//! Invariant: nothing is written unless the header is there; what was written is read back past the page cache before a
//! write counts. The device is open only while it is used, so partitions can be changed under it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use boot::meta::{BLOCK, BOOT, HEADERS, Header, LOG, MACHINED, Region};
use boot::record::{self, Kind};
use boot::state::State;
use tokio::sync::Mutex;

use super::record::Record;
use crate::blocking;
use sys::direct::{self, Device};

/// For META to answer: a disk that spins up takes less, one whose controller resets takes the kernel's 30 s and more.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// Why META cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device.
    #[error("cannot use META")]
    Device(#[from] direct::Error),
    /// No header, or one that this release cannot use.
    #[error(
        "META on {device} has no header that this release can use; it is left as it is: start a release that knows it, or \
         install anew"
    )]
    Header {
        /// The partition.
        device: PathBuf,
        /// What is wrong with it.
        #[source]
        source: boot::meta::Error,
    },
    /// It was written whole, so it is no damage: it is not overwritten.
    #[error(
        "machined's record in META on {device} is of a shape that this release does not know; it is left as it is: \
         start a release that knows it, or install anew"
    )]
    Shape {
        /// The partition.
        device: PathBuf,
        /// What is not as expected.
        #[source]
        source: serde_json::Error,
    },
    /// Neither copy of the record can be read: what it said is lost, and so is whether the machine is configured.
    #[error(
        "both copies of machined's record in META on {device} are damaged; they are left as they are: install anew, or \
         write the disk's image again"
    )]
    Damaged {
        /// The partition.
        device: PathBuf,
    },
    /// Nobody has found one, or it is only read yet.
    #[error("there is no META that can be written")]
    Absent,
    /// A later release wrote it, or it is damaged in a way that a torn write cannot do.
    #[error("the boot state in META on {device} is left as it is: {why}")]
    Boot {
        /// The partition.
        device: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The work goes on in its thread.
    #[error("META did not answer within {} s: its disk hangs", LIMIT.as_secs())]
    Silent,
    /// The record has grown too large.
    #[error("machined's record does not fit into META")]
    TooLong(#[source] record::TooLong),
    /// The record is no JSON. Cannot happen.
    #[error("machined's record cannot be written as JSON")]
    Format(#[source] serde_json::Error),
}

/// A META partition that was there when it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    device: PathBuf,
    /// What its header said.
    pub header: Header,
}

/// What META says about generations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BootState {
    /// Nothing: no META was read, or neither copy of it is valid.
    #[default]
    None,
    /// This.
    Known(Box<State>),
    /// There is one that this release cannot read, for this reason.
    Unusable(String),
}

impl Volume {
    /// The partition.
    pub(super) fn device(&self) -> &Path {
        &self.device
    }

    /// Reads the boot state.
    pub(super) fn boot(&self) -> Result<BootState, Error> {
        let file = Device::read_only(&self.device)?;
        let (a, b) = (read(&file, BOOT.a)?, read(&file, BOOT.b)?);
        let newest = record::decode_newest(Kind::Boot, &a, &b).map(|(_, record)| State::decode(record.payload));
        Ok(match newest {
            None => BootState::None,
            Some(Ok(state)) => BootState::Known(Box::new(state)),
            Some(Err(error)) => BootState::Unusable(error.to_string()),
        })
    }

    /// Writes the boot state over the older copy, then over the other one: from then on the loss of either loses nothing.
    pub(super) fn save_boot(&self, state: &State) -> Result<(), Error> {
        let file = self.open_to_write()?;
        for _ in 0..2 {
            let (a, b) = (read(&file, BOOT.a)?, read(&file, BOOT.b)?);
            let (slot, seq) = record::next(record::decode_newest(Kind::Boot, &a, &b));
            let region = BOOT.get(slot);
            let mut bytes = vec![0; region.len];
            record::encode(Kind::Boot, record::Record { seq, payload: &state.encode() }, &mut bytes)
                .map_err(Error::TooLong)?;
            file.write(region.offset, &bytes)?;
        }
        Ok(())
    }

    /// Reads the header.
    ///
    /// # Errors
    /// The device cannot be read, or it is no META of this release.
    pub fn open(device: &Path) -> Result<Self, Error> {
        let header = header(device, &Device::read_only(device)?)?;
        Ok(Self { device: device.into(), header })
    }

    /// The newer valid copy of the record; none when none was ever written.
    ///
    /// # Errors
    /// The device, a valid copy that does not parse, or copies that are not valid.
    pub(crate) fn load(&self) -> Result<Option<Record>, Error> {
        let file = Device::read_only(&self.device)?;
        let (a, b) = (read(&file, MACHINED.a)?, read(&file, MACHINED.b)?);
        let newest = record::decode_newest(Kind::Machined, &a, &b).map(|(_, record)| record.payload);
        let shape = |source| Error::Shape { device: self.device.clone(), source };
        let record = newest.map(|payload| serde_json::from_slice(payload).map_err(shape)).transpose()?;
        // All zero is how the image builder leaves a copy. Only the first write of all has such a copy beside it: when that
        // one was cut off, nothing is lost.
        let written = |copy: &[u8]| copy.iter().any(|byte| *byte != 0);
        if record.is_none() && written(&a) && written(&b) {
            return Err(Error::Damaged { device: self.device.clone() });
        }
        Ok(record)
    }

    /// Writes the record over the older copy, unless the newer one says the same.
    pub(super) fn save(&self, value: &Record) -> Result<(), Error> {
        self.write_record(value, false)
    }

    /// Writes the record over the older copy in any case: from then on both say the same.
    pub(super) fn save_again(&self, value: &Record) -> Result<(), Error> {
        self.write_record(value, true)
    }

    fn write_record(&self, value: &Record, again: bool) -> Result<(), Error> {
        let payload = serde_json::to_vec(value).map_err(Error::Format)?;
        let file = self.open_to_write()?;
        let (a, b) = (read(&file, MACHINED.a)?, read(&file, MACHINED.b)?);
        let newest = record::decode_newest(Kind::Machined, &a, &b);
        if !again && newest.is_some_and(|(_, record)| record.payload == payload) {
            return Ok(());
        }
        let (slot, seq) = record::next(newest);
        let region = MACHINED.get(slot);
        let mut bytes = vec![0; region.len];
        record::encode(Kind::Machined, record::Record { seq, payload: &payload }, &mut bytes)
            .map_err(Error::TooLong)?;
        Ok(file.write(region.offset, &bytes)?)
    }

    /// All of the boot log's ring.
    pub(super) fn ring(&self) -> Result<Vec<u8>, Error> {
        read(&Device::read_only(&self.device)?, LOG)
    }

    /// Writes blocks of the ring: offset in the ring and bytes of each.
    pub(super) fn write_ring(&self, blocks: &[(usize, [u8; BLOCK])]) -> Result<(), Error> {
        let file = self.open_to_write()?;
        blocks.iter().try_for_each(|(at, bytes)| Ok(file.write(LOG.offset + *at as u64, bytes)?))
    }

    /// Another disk may have taken the name: the header is checked before each write.
    fn open_to_write(&self) -> Result<Device, Error> {
        let file = Device::read_write(&self.device)?;
        header(&self.device, &file)?;
        Ok(file)
    }
}

fn read(file: &Device, region: Region) -> Result<Vec<u8>, Error> {
    Ok(file.read(region.offset, region.len)?)
}

fn header(device: &Path, file: &Device) -> Result<Header, Error> {
    let both = file.read(HEADERS.a.offset, 2 * BLOCK)?;
    Header::decode_either(&both).map_err(|source| Error::Header { device: device.into(), source })
}

/// Runs blocking work beside the runtime, one at a time. A caller waits at most [`LIMIT`]; the work keeps its turn and its
/// thread until the disk has answered.
pub(super) async fn blocking<T: Send + 'static>(
    turn: &Arc<Mutex<()>>,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = async {
        let turn = turn.clone().lock_owned().await;
        let work = move || {
            let _turn = turn;
            work()
        };
        blocking::run(work).await
    };
    tokio::time::timeout(LIMIT, done).await.unwrap_or(Err(Error::Silent))
}

/// The slot the next save goes to; for tests that tear it.
#[cfg(test)]
pub(super) fn next_slot(a: &[u8], b: &[u8]) -> record::Slot {
    record::next(record::decode_newest(Kind::Machined, a, b)).0
}
