//! A NoCloud disk: a volume labelled `cidata` (ISO 9660 or FAT) with user-data and, if wanted, meta-data and network-config.
//! It is what a hypervisor attaches, and what a person plugs in.
//!
//! Looked for once the drivers of disks and optical drives are loaded, without any wait beyond that: a disk that comes
//! later is looked at when it comes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Again, Source, volume};
use crate::blocking;
use crate::platform::look::{Look, Volume};
use crate::platform::seed::Seed;
use crate::platform::{Finding, found};
use crate::resources::wait::For;
use crate::trace::chain;

/// An optical drive that spins up needs ten seconds.
const ANSWER: Duration = Duration::from_secs(30);

/// `20-nocloud`.
#[derive(Default)]
pub(super) struct NoCloud {
    /// What was there at the last look.
    seen: Vec<Volume>,
    again: Again,
    /// Held by whoever reads a volume, until it has answered: one that hangs costs one thread.
    turn: Arc<Mutex<()>>,
}

impl Source for NoCloud {
    fn id(&self) -> &'static str {
        "20-nocloud"
    }

    fn name(&self) -> &'static str {
        "nocloud"
    }

    fn look<'a>(&'a mut self, look: &'a Look) -> BoxFuture<'a, Finding> {
        async move {
            look.disks_listed().await;
            self.seen = look.volumes();
            match &self.seen[..] {
                [] => {
                    self.again.wanted(false);
                    Finding::Nothing { why: "no volume is labelled cidata".into() }
                }
                [volume] => {
                    let finding = read(look, volume.clone(), self.turn.clone()).await;
                    self.again.wanted(matches!(finding, Finding::Wrong { .. }));
                    finding
                }
                several => {
                    let names: Vec<&str> = several.iter().map(|volume| volume.device.as_str()).collect();
                    let why = format!(
                        "{} are labelled cidata, and only one can count: unplug the others",
                        names.join(" and ")
                    );
                    Finding::Wrong { why }
                }
            }
        }
        .boxed()
    }

    fn changed<'a>(&'a mut self, look: &'a Look) -> BoxFuture<'a, ()> {
        async move {
            let mut changes = look.disk_changes();
            let mut due = pin!(self.again.due());
            while look.volumes() == self.seen {
                tokio::select! {
                    () = changes.changed() => {}
                    () = &mut due => return,
                }
            }
        }
        .boxed()
    }
}

async fn read(look: &Look, volume: Volume, turn: Arc<Mutex<()>>) -> Finding {
    let Volume { device, format, .. } = volume;
    look.file_system(&format).await;
    let (of, node) = (format.clone(), device.clone());
    let wrong = |why: String| Finding::Wrong { why: format!("{device}: {why}") };
    let answer = async {
        let turn = turn.lock_owned().await;
        blocking::run(move || {
            let _turn = turn;
            volume::read(&node, &of)
        })
        .await
    };
    let seed = match timeout(ANSWER, answer).await {
        Ok(Ok(seed)) => seed,
        Ok(Err(error)) => return wrong(chain(&error)),
        Err(_) => return wrong(format!("it does not answer within {} s", ANSWER.as_secs())),
    };
    let seed = match seed.meta_data() {
        Ok(meta) => match meta.seed_from {
            Some(from) => match look.fetch(&from, For::Seed).await {
                // What is there counts more; the names of this machine are on the disk.
                Ok(there) => Seed {
                    user_data: there.user_data,
                    meta_data: seed.meta_data,
                    network_config: there.network_config.or(seed.network_config),
                    vendor_data: there.vendor_data,
                },
                Err(why) => return wrong(format!("seedfrom in meta-data: {why}")),
            },
            None => seed,
        },
        Err(error) => return wrong(error.to_string()),
    };
    match seed.read(&device, None) {
        Err(error) => wrong(error.to_string()),
        read => found(read),
    }
}
