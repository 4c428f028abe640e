//! Making a partition and running the programs that make or check its file system: what STATE and EPHEMERAL share.

use std::ops::Range;
use std::path::Path;

use boot::Guid;
use boot::part::{BEING_MADE, EPHEMERAL, Kind, STATE};
use sys::partition::Place;

use super::super::rewrite::{self, Disk, edit};
use super::super::system::random;
use super::super::table::{Entry, Gpt};
use super::super::unique::announce;
use super::survey::{self, Node, Survey};
use super::{PROGRAM, Powers, Volumes, room};
use crate::program::Ended;
use crate::trace::chain;
use crate::{blocking, program};
use sys::direct::{self, Device};

/// mkfs.xfs makes none that is smaller.
const EPHEMERAL_LEAST: u64 = 300 << 20;

/// Why there is no partition.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Survey(#[from] survey::Error),
    #[error(transparent)]
    Table(#[from] rewrite::Error),
    #[error(transparent)]
    Room(#[from] room::Error),
    #[error("cannot wipe the place of {0}")]
    Wipe(&'static str, #[source] direct::Error),
    #[error(
        "the kernel does not take the new partition {number} of {disk}; reboot, after which it reads the table anew"
    )]
    Kernel {
        number: u32,
        disk: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{program} {told}")]
    Program { program: String, told: String },
    #[error(transparent)]
    Run(#[from] program::Error),
}

impl Error {
    pub(super) fn told(&self) -> String {
        chain(self)
    }
}

/// Where the partition goes.
fn place(disk: &Disk, table: &Gpt, kind: &Kind) -> Result<Range<u64>, room::Error> {
    match kind.size {
        Some(size) => room::first(disk, table, kind, size),
        None => room::last(disk, table, kind, EPHEMERAL_LEAST),
    }
}

/// What lies where EPHEMERAL would be made.
pub(super) fn in_its_place(survey: &Survey) -> Result<super::judge::Holds, Error> {
    let range = place(&survey.disk, &survey.table, &EPHEMERAL)?;
    let file = Device::read_only(&survey.disk.device).map_err(rewrite::Error::from)?;
    Ok(survey::look(&file, &range))
}

/// Adds a partition, in a wiped place, that is known as being made. Blocking.
pub(super) fn allot(disk: &Disk, kind: &Kind, guid: Guid) -> Result<u32, Error> {
    let mut number = 0;
    edit(disk, |table, entries| {
        let wiped = |range: &Range<u64>| {
            let file = Device::read_write(&disk.device)?;
            survey::wipe(&file, range)
        };
        let range = place(disk, table, kind)?;
        wiped(&range).map_err(|error| Error::Wipe(kind.name, error))?;
        number = room::add(disk, table, entries, kind, &range, guid, BEING_MADE)?;
        if kind.name == STATE.name {
            // What an earlier installation left there: from now on, what lies there is EPHEMERAL's.
            let with = Gpt { entries: entries.clone(), ..table.clone() };
            if let Ok(rest) = place(disk, &with, &EPHEMERAL) {
                wiped(&rest).map_err(|error| Error::Wipe(EPHEMERAL.name, error))?;
            }
        }
        Ok::<_, Error>(())
    })?;
    Ok(number)
}

/// Changes what the table says of a partition. Blocking.
fn note(disk: &Disk, number: u32, last: Option<u64>, attributes: Option<u64>) -> Result<(), Error> {
    edit(disk, |table, entries| {
        room::set(table, entries, number, last, attributes);
        Ok(())
    })
}

impl<P: Powers> Volumes<P> {
    pub(super) async fn survey(&self, name: &str) -> Result<Survey, Error> {
        let (host, name) = (self.host.clone(), name.to_owned());
        Ok(blocking::run(move || Survey::new(&host, &name)).await?)
    }

    /// Adds a partition of this kind to the table.
    pub(super) async fn allot(&self, survey: &Survey, kind: Kind) -> Result<u32, Error> {
        let disk = survey.disk.clone();
        blocking::run(move || allot(&disk, &kind, random())).await
    }

    /// Notes in the table that a file system is being made, or that it is there.
    pub(super) async fn mark(&self, survey: &Survey, entry: &Entry, being_made: bool) -> Result<(), Error> {
        let attributes = if being_made { entry.attributes | BEING_MADE } else { entry.attributes & !BEING_MADE };
        if attributes == entry.attributes {
            return Ok(());
        }
        let (disk, number) = (survey.disk.clone(), entry.number);
        blocking::run(move || note(&disk, number, None, Some(attributes))).await?;
        self.announce(&survey.name);
        Ok(())
    }

    /// Lets a partition reach up to this sector; also moves the backup of the table to the disk's end.
    pub(super) async fn extend(&self, survey: &Survey, number: u32, last: Option<u64>) -> Result<(), Error> {
        let disk = survey.disk.clone();
        blocking::run(move || note(&disk, number, last, None)).await?;
        self.announce(&survey.name);
        Ok(())
    }

    /// The device of a partition; the kernel is told of it when it does not know it yet.
    pub(super) async fn node(&self, survey: &Survey, number: u32) -> Result<Node, Error> {
        if let Some(node) = survey.device(number) {
            return Ok(node);
        }
        let now = self.survey(&survey.name).await?;
        let unknown = |source| Error::Kernel { number, disk: survey.name.clone(), source };
        let entry = now.table.partitions().find(|entry| entry.number == number);
        let range = now.disk.bytes(&entry.ok_or_else(|| unknown(std::io::ErrorKind::NotFound.into()))?);
        let place = Place { number, start: range.start, length: range.end - range.start };
        let (powers, device) = (self.powers.clone(), now.disk.device.clone());
        blocking::run(move || powers.add(&device, place)).await.map_err(unknown)?;
        self.announce(&survey.name);
        let now = self.survey(&survey.name).await?;
        now.device(number).ok_or_else(|| unknown(std::io::ErrorKind::NotFound.into()))
    }

    /// Runs a program that has to succeed.
    pub(super) async fn must(&self, program: &str, arguments: &[&str]) -> Result<(), Error> {
        let ended = self.powers.run(program, arguments, PROGRAM).await?;
        if ended.code() == Some(0) { Ok(()) } else { Err(failed(program, &ended)) }
    }

    /// Has the inventory look at the disk again.
    pub(super) fn announce(&self, name: &str) {
        if let Err(error) = announce(&self.host.sys, name) {
            tracing::info!("changes of {name} are shown only after the next event of it: {error}");
        }
    }
}

pub(super) fn failed(program: &str, ended: &Ended) -> Error {
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy().into_owned();
    Error::Program { program: name, told: ended.told() }
}
