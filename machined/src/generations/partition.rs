//! The EFI partition of the system disk, changed by the program `installer esp` and by nobody else, one call at a time.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::boot::part;
use config::image::esp::{Done, Line, Progress, Request};
use reconcile::{ClaimError, Store};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::blocking;
use crate::drivers::{self, Drivers};
use crate::program::{self, Call, Program, Programs};
use crate::resources::partition::Partition as Found;
use crate::resources::system_disk::SystemDisk;

/// The image's own.
const INSTALLER: &str = "/usr/bin/installer";
/// For the system disk to be settled: before that nothing of it is changed.
const SETTLED: Duration = Duration::from_secs(60);
/// A hundred megabytes onto a slow stick, read back, with a repair before.
const WITHIN: Duration = Duration::from_secs(30 * 60);
const MEMORY: u64 = 128 << 20;
/// A killed program is gone within moments, unless its disk does not answer.
const RELEASES: u32 = 50;
/// Between two looks.
const RELEASE: Duration = Duration::from_millis(100);

/// Why it is not as wanted.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each says what failed; the causes say why")]
pub enum Error {
    #[error("the system disk is not settled: {0}")]
    Disk(String),
    #[error("the system disk {0} has no EFI partition")]
    None(String),
    #[error("cannot make the folder of the EFI partition")]
    Folder(#[source] std::io::Error),
    #[error(transparent)]
    Run(#[from] program::Error),
    #[error("{message} ({remedy})")]
    Failed { message: String, remedy: String },
    #[error("the program for the EFI partition {0}")]
    Ended(String),
}

/// The partition.
#[derive(Debug)]
pub struct Partition {
    store: Store,
    programs: Programs,
    drivers: Drivers,
    mount: PathBuf,
    turn: Mutex<()>,
}

impl Partition {
    /// `run` is machined's folder in /run.
    ///
    /// # Errors
    /// Somebody owns the kernel modules alone.
    pub fn new(store: &Store, programs: Programs, run: &Path) -> Result<Self, ClaimError> {
        let drivers = Drivers::new(store, "generations")?;
        Ok(Self { store: store.clone(), programs, drivers, mount: run.join("esp"), turn: Mutex::new(()) })
    }

    /// Where it is mounted while it is changed.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Makes it as wanted; device and place are filled in. `warn` hears what was mended.
    ///
    /// # Errors
    /// There is none, or it is not as wanted: nothing that was to be kept was touched.
    pub async fn ensure(
        &self,
        program: Program<'_>,
        request: Request,
        mut each: impl FnMut(&Progress),
        mut warn: impl FnMut(&str),
    ) -> Result<Done, Error> {
        let _turn = self.turn.lock().await;
        let device = self.device().await?;
        self.drivers.load(drivers::VFAT, "the EFI partition is changed").await;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.mount).map_err(Error::Folder)?;
        let request = Request { device, mount: self.mount.display().to_string(), ..request };
        let input = serde_json::to_vec(&request).unwrap_or_default();
        let call = Call {
            program,
            arguments: &["esp"],
            input: &input,
            confined: None,
            memory: MEMORY,
            pids: 32,
            within: WITHIN,
        };
        let mut last = None;
        let hear = |line: &str| match serde_json::from_str(line) {
            Ok(Line::Progress(progress)) => each(&progress),
            Ok(Line::Warning(what)) => warn(&what),
            Ok(line) => last = Some(line),
            Err(error) => tracing::warn!("installer esp says what is no line of ours: {error}"),
        };
        let ended = self.programs.call(&call, hear).await?;
        match last {
            Some(Line::Done(done)) if ended.code() == Some(0) => Ok(done),
            Some(Line::Failed(failed)) => {
                let message = format!("{}: {}", failed.step, failed.message);
                Err(Error::Failed { message, remedy: failed.remedy })
            }
            _ => Err(Error::Ended(ended.told())),
        }
    }

    /// With the image's own program.
    ///
    /// # Errors
    /// As [`Partition::ensure`].
    pub async fn ensure_quietly(&self, request: Request, warn: impl FnMut(&str)) -> Result<Done, Error> {
        self.ensure(Program::Image(INSTALLER), request, |_| {}, warn).await
    }

    /// Unmounts what a program left that was ended. One that is still being ended holds it: it is waited for.
    pub async fn release(&self) {
        let _turn = self.turn.lock().await;
        for _ in 0..RELEASES {
            let mount = self.mount.clone();
            let busy = blocking::run(move || {
                loop {
                    match sys::mount::unmount(&mount) {
                        Ok(()) => {}
                        Err(sys::mount::Error::Change { cause, .. }) => {
                            return cause.kind() == std::io::ErrorKind::ResourceBusy;
                        }
                        Err(_) => return false,
                    }
                }
            });
            if !busy.await {
                return;
            }
            sleep(RELEASE).await;
        }
        tracing::warn!("the EFI partition stays mounted on {}", self.mount.display());
    }

    async fn device(&self) -> Result<String, Error> {
        let mut changes = self.store.watch::<SystemDisk>();
        let settled = async {
            loop {
                let found = self.store.get::<SystemDisk>(SystemDisk::ID).map(|found| found.value);
                match found {
                    Some(found) if found.settled => return found,
                    _ => changes.changed().await,
                }
            }
        };
        let disk = timeout(SETTLED, settled).await.map_err(|_| {
            let found = self.store.get::<SystemDisk>(SystemDisk::ID);
            Error::Disk(found.map(|found| found.value.reason.clone()).unwrap_or_default())
        })?;
        let kind = part::ESP.guid.to_string();
        let parts = self.store.list::<Found>();
        let ours = parts.iter().filter(|one| one.value.disk == disk.disk && one.value.kind.eq_ignore_ascii_case(&kind));
        let first = ours.min_by_key(|one| one.value.number).ok_or_else(|| Error::None(disk.disk.clone()))?;
        Ok(first.value.device.clone())
    }
}
