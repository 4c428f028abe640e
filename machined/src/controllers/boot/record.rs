//! The controller that writes the boot record: at once with what is known, and whole once the API answers or [`PATIENCE`] is
//! over, because the rest (the firmware's variables, META's ring, pstore) is slow to read.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use tokio::sync::watch;

use super::phase::{Stamp, Stamps, phases};
use super::pstore;
use super::source;
use super::started::{failed, started};
use crate::blocking;
use crate::efi::Variables;
use crate::events::Events;
use crate::generations::{self, Running, View};
use crate::image;
use crate::meta::{self, State, Tail};
use crate::resources::boot_record::{BootRecord, Ended, Failed, Image, Last, Reset, Source, Started};
use crate::resources::condition::Condition;
use crate::resources::system_disk::SystemDisk;
use crate::resources::wait::{self, For, Wait};
use crate::stop::Action;
use crate::uptime;

/// Without an API.
const PATIENCE: Duration = wait::BOOT_LOG;
/// Between two tries to read META's ring, pstore or the firmware's variables.
const RETRY: Duration = Duration::from_secs(10);
/// Of what is read later.
const NOT_YET: &str = "not known yet: it is read once the API answers";

/// Where the parts come from; tests imitate them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) sys: PathBuf,
    pub(super) proc: PathBuf,
    /// machined's folder in /run.
    pub(super) run: PathBuf,
    pub(super) init: Option<Stamp>,
    /// This machined's start.
    pub(super) started: Stamp,
}

/// The controller.
#[derive(Debug)]
pub(super) struct Record {
    places: Places,
    image: image::Image,
    meta: meta::Handle,
    tail: Tail,
    events: Events,
    since: Instant,
    since_ms: u64,
    crashes: Option<Vec<String>>,
    /// All of pstore is collected.
    collected: bool,
    /// What does not change while this boot lasts: each variable costs the firmware's time.
    firmware: Option<Firmware>,
    /// The state of META in which its ring was read.
    looked: Option<State>,
    told: BTreeSet<String>,
    generations: watch::Receiver<Arc<View>>,
    /// What runs, once that is known: what the loader turned down is no more in its slot later.
    started: Option<Started>,
}

/// What the firmware says.
#[derive(Clone, Debug, Default)]
struct Firmware {
    us: Option<u64>,
    source: Source,
    secure_boot: Option<bool>,
}

impl Record {
    pub(super) fn new(
        places: Places,
        image: image::Image,
        meta: meta::Handle,
        tail: Tail,
        events: Events,
        generations: &generations::Handle,
    ) -> Self {
        let (since, since_ms, told) = (Instant::now(), uptime::now_ms(), BTreeSet::new());
        let (crashes, collected, firmware, looked) = (None, false, None, None);
        let (generations, started) = (generations.watch(), None);
        Self {
            places,
            image,
            meta,
            tail,
            events,
            since,
            since_ms,
            crashes,
            collected,
            firmware,
            looked,
            told,
            generations,
            started,
        }
    }

    /// Each text once.
    fn tell(&mut self, text: String) {
        if self.told.insert(text.clone()) {
            self.events.warn("boot", text);
        }
    }

    /// The first machined of this boot leaves its stamp for those after it.
    fn machined(&self) -> Option<Stamp> {
        let file = self.places.run.join("machined-start");
        if let Ok(text) = fs::read_to_string(&file) {
            return parse(&text);
        }
        let Stamp { uptime_ns, tsc } = self.places.started;
        // Without the file only a restart of machined would show a later start.
        let _ = fs::write(file, format!("{uptime_ns} {tsc}\n"));
        Some(self.places.started)
    }

    fn stamps(&self, firmware_us: Option<u64>) -> Stamps {
        let api = fs::read_to_string(self.places.run.join("api-ready")).ok();
        Stamps {
            firmware_us,
            init: self.places.init,
            machined: self.machined(),
            api: api.and_then(|text| parse(&text)),
            now: Some(super::now()),
        }
    }

    /// Crash records, collected once.
    async fn crashes(&mut self) -> Vec<String> {
        if let Some(crashes) = self.crashes.as_ref().filter(|_| self.collected) {
            return crashes.clone();
        }
        let (from, into) = (self.places.sys.join("fs/pstore"), self.places.run.join("pstore"));
        let logs = self.tail.logs().clone();
        let collect = move || {
            let found = pstore::collect(&from, &into, |text| {
                let log = logs.log(pstore::LOG).map_err(io::Error::other)?;
                log.append(text)
            });
            (found, pstore::panic_line(&into))
        };
        let (found, panic) = blocking::run(collect).await;
        self.collected = found.failed.is_none();
        if let Some(error) = &found.failed {
            self.tell(format!("not all crash records in pstore can be collected: {error}"));
        }
        let crashes = found.names;
        if !crashes.is_empty() {
            // An earlier machined of this boot may have filled it: readers find it again.
            let _ = self.tail.logs().log(pstore::LOG);
            // The line, too: the log of this boot outlives /run, in META.
            let line = panic.map(|line| format!(" ({line})")).unwrap_or_default();
            let number = crashes.len();
            self.tell(format!("the kernel left {number} crash records{line}: read them with `apictl logs pstore`"));
        }
        self.crashes = Some(crashes.clone());
        crashes
    }

    async fn last(&mut self) -> Last {
        let crash_records = self.crashes().await;
        let state = self.meta.state();
        if self.looked.as_ref() != Some(&state) {
            match self.tail.flush().await {
                Ok(_) => self.looked = Some(state),
                Err(error) => self.tell(format!("the boot log is not kept: {}", crate::trace::chain(&error))),
            }
        }
        let log = self.tail.last();
        let previous = self.meta.record().previous;
        let panic = pstore::panic_line(&self.places.run.join("pstore"));
        let boot_id = previous.as_ref().map(|mark| mark.id.clone()).or(log.as_ref().map(|log| log.boot_id.clone()));
        let time_unix = previous.as_ref().and_then(|mark| mark.stop.as_ref()).map(|stop| stop.time_unix);
        let (ended, reason) = ended(&self.meta.state(), previous.as_ref(), panic);
        Last {
            ended,
            reason,
            boot_id: boot_id.unwrap_or_default(),
            time_unix,
            log_bytes: log.map_or(0, |log| log.bytes),
            crash_records,
        }
    }

    /// What runs, and what it came back from.
    fn started(&mut self) -> (Started, Option<Failed>) {
        let view = self.generations.borrow_and_update().clone();
        let now = started(&view);
        let now = match &self.started {
            Some(first) => Started { rejected: first.rejected.clone(), ..now },
            None => now,
        };
        self.started = (view.running != Running::Unknown).then(|| now.clone());
        (now, failed(&view, &self.meta.record()))
    }

    /// What costs nothing to know.
    fn early(&mut self) -> BootRecord {
        let (started, failed) = self.started();
        let mut phases = phases(&self.stamps(None));
        if let Some(firmware) = phases.first_mut() {
            (firmware.start_ms, firmware.duration_ms, firmware.note) = (None, None, NOT_YET.into());
        }
        let command_line = source::command_line(&self.places.proc);
        BootRecord {
            boot_id: self.meta.boot_id().into(),
            phases,
            image: self.image(),
            source: Source { via: "unknown".into(), command_line, ..Source::default() },
            started,
            failed,
            secure_boot: None,
            tpm: self.tpm(),
            last: Last { ended: Ended::Unknown, reason: NOT_YET.into(), ..Last::default() },
            reset: reset(&self.meta.record()),
        }
    }

    async fn firmware(&mut self) -> Firmware {
        if let Some(firmware) = &self.firmware {
            return firmware.clone();
        }
        let (sys, proc) = (self.places.sys.clone(), self.places.proc.clone());
        let read = blocking::run(move || {
            let variables = Variables::new(&sys);
            let good = !variables.is_efi() || variables.is_mounted();
            let source = source::source(&variables, &proc);
            let (us, secure_boot) = (source::firmware_us(&variables), source::secure_boot(&variables));
            (Firmware { us, source, secure_boot }, good)
        });
        let (firmware, good) = read.await;
        self.firmware = good.then(|| firmware.clone());
        firmware
    }

    async fn whole(&mut self) -> BootRecord {
        let Firmware { us, source, secure_boot } = self.firmware().await;
        let (started, failed) = self.started();
        BootRecord {
            boot_id: self.meta.boot_id().into(),
            phases: phases(&self.stamps(us)),
            image: self.image(),
            source,
            started,
            failed,
            secure_boot,
            tpm: self.tpm(),
            last: self.last().await,
            reset: reset(&self.meta.record()),
        }
    }

    fn image(&self) -> Image {
        let image::Image { version, commit, built, .. } = self.image.clone();
        Image { version, commit, built, kernel: rustix::system::uname().release().to_string_lossy().into_owned() }
    }

    fn tpm(&self) -> bool {
        self.places.sys.join("class/tpm/tpm0").exists()
    }
}

/// One that is not done yet, else the last one.
fn reset(record: &meta::Record) -> Option<Reset> {
    if let Some(meta::Reset { scope, cause, boot, time_unix, .. }) = record.reset.clone() {
        return Some(Reset { what: scope.name().into(), cause, done: false, boot_id: boot, time_unix });
    }
    let meta::Done { scope, cause, boot, time_unix } = record.was_reset.clone()?;
    Some(Reset { what: scope.name().into(), cause, done: true, boot_id: boot, time_unix })
}

/// How the boot before this one ended. A panic comes first: it may have come while the machine was stopping.
fn ended(state: &State, previous: Option<&meta::Mark>, panic: Option<String>) -> (Ended, String) {
    let stop = previous.and_then(|mark| mark.stop.as_ref());
    // The kernel goes on after many an oops.
    let survived = stop.is_some_and(|stop| stop.complete);
    match (panic, state, previous, stop) {
        (Some(line), ..) if !survived || line.contains(pstore::PANIC) => (Ended::Panic, line),
        (.., Some(stop)) if stop.complete => {
            let ended = match stop.action {
                Action::Reboot => Ended::Reboot,
                Action::PowerOff => Ended::PowerOff,
                Action::Halt => Ended::Halt,
            };
            (ended, stop.cause.clone())
        }
        (.., Some(stop)) => {
            let (verb, cause) = (stop.action.verb(), &stop.cause);
            let reason = format!(
                "it was asked to {verb} ({cause}), but did not come to the end of that: a hang, a reset or a power cut"
            );
            (Ended::Unclean, reason)
        }
        (_, _, Some(_), None) => (Ended::Unclean, "a power cut, a reset, a panic without pstore, or a hang".into()),
        (_, State::Attached { .. }, ..) => (Ended::None, "this disk was not booted before".into()),
        (_, State::Absent(why), ..) => (Ended::Unknown, format!("no META: {why}")),
        (_, State::Unusable(why), ..) => (Ended::Unknown, why.clone()),
        (_, State::Waiting | State::Read { .. }, ..) => (Ended::Unknown, "META is not in use yet".into()),
    }
}

fn parse(text: &str) -> Option<Stamp> {
    let (uptime, tsc) = text.trim().split_once(' ')?;
    Some(Stamp { uptime_ns: uptime.parse().ok()?, tsc: tsc.parse().ok()? })
}

impl Controller for Record {
    const NAME: &'static str = "boot/record";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<Condition>().watch::<SystemDisk>().own::<BootRecord>().share::<Wait>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        let answers = cx.get::<Condition>(Condition::API)?.is_some_and(|api| api.value.met);
        let left = PATIENCE.saturating_sub(self.since.elapsed());
        if !answers && self.crashes.is_none() && !left.is_zero() {
            cx.put::<BootRecord>(BootRecord::ID, self.early())?;
            cx.put::<Wait>(For::BootLog.id(), For::BootLog.wait("the API has not answered yet", self.since_ms))?;
            return Ok(Next::After(left));
        }
        let record = self.whole().await;
        cx.put::<BootRecord>(BootRecord::ID, record)?;
        let all = self.looked.is_some() && self.collected && self.firmware.is_some();
        Ok(if all { Next::OnChange } else { Next::After(RETRY) })
    }

    async fn wake(&mut self) {
        if self.generations.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::{Logs, Start};
    use reconcile::{Store, run_cycle};

    const BOOT: &str = "11111111-1111-4111-8111-111111111111";

    #[test]
    fn says_how_the_last_boot_ended() {
        let attached = State::Attached { device: "/dev/vda2".into(), unsaved: None };
        let mark = |stop: Option<(Action, bool)>| {
            let note = |(action, complete)| meta::Stop { action, cause: "why".into(), time_unix: 1, complete };
            meta::Mark { id: "x".into(), stop: stop.map(note), ..meta::Mark::default() }
        };
        let panic = "Kernel panic - not syncing";
        for (state, previous, panic, wanted) in [
            (&attached, Some(mark(Some((Action::Reboot, true)))), None, Ended::Reboot),
            (&attached, Some(mark(Some((Action::PowerOff, true)))), Some("Oops: 0000"), Ended::PowerOff),
            (&attached, Some(mark(Some((Action::Halt, true)))), None, Ended::Halt),
            (&attached, Some(mark(Some((Action::Reboot, true)))), Some(panic), Ended::Panic),
            (&attached, Some(mark(Some((Action::Reboot, false)))), Some("Oops: 0000"), Ended::Panic),
            (&attached, Some(mark(Some((Action::Reboot, false)))), None, Ended::Unclean),
            (&attached, Some(mark(None)), Some(panic), Ended::Panic),
            (&attached, Some(mark(None)), None, Ended::Unclean),
            (&attached, None, None, Ended::None),
            (&State::Absent("no disk".into()), None, None, Ended::Unknown),
            (&State::Waiting, None, Some(panic), Ended::Panic),
        ] {
            let (ended, reason) = ended(state, previous.as_ref(), panic.map(Into::into));
            assert_eq!(ended, wanted, "{reason}");
        }
    }

    #[tokio::test]
    async fn the_firmware_is_asked_once_it_can_answer_and_then_never_again() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().to_path_buf();
        let (store, meta, logs) = (Store::new(), meta::Handle::new(BOOT), Logs::new(run.join("logs"), BOOT));
        let events = Events::open(&store, run.join("events")).unwrap();
        let started = Stamp { uptime_ns: 1, tsc: 1 };
        let places = Places { sys: run.join("sys"), proc: run.join("proc"), run: run.clone(), init: None, started };
        let variables = run.join("sys/firmware/efi/efivars");
        fs::create_dir_all(&variables).unwrap();
        let tail = Tail::new(meta.clone(), logs, &run);
        let mut record =
            Record::new(places, image::Image::unknown(), meta.clone(), tail, events, &generations::Handle::new(meta));
        store.shared_writer::<Condition>("test").unwrap().put(Condition::API, Condition::met("")).unwrap();
        assert_eq!(run_cycle(&mut record, &store).await.unwrap(), Next::After(RETRY));
        let stub = variables.join(format!("StubInfo-{}", crate::efi::LOADER));
        fs::write(&stub, [6, 0, 0, 0, b's', 0]).unwrap();
        run_cycle(&mut record, &store).await.unwrap();
        fs::write(&stub, [6, 0, 0, 0, b'x', 0]).unwrap();
        run_cycle(&mut record, &store).await.unwrap();
        assert_eq!(store.get::<BootRecord>(BootRecord::ID).unwrap().value.source.stub, "s");
    }

    #[tokio::test]
    async fn tells_what_it_knows_at_once_and_everything_when_the_api_answers() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().to_path_buf();
        let store = Store::new();
        let events = Events::open(&store, run.join("events")).unwrap();
        let meta = meta::Handle::new(BOOT);
        let logs = Logs::new(run.join("logs"), BOOT);
        let tail = Tail::new(meta.clone(), logs.clone(), &run);
        let stamp = |ms: u64| Stamp { uptime_ns: ms * 1_000_000, tsc: ms * 2_000_000 };
        let (init, started) = (Some(stamp(1000)), stamp(1100));
        let places = Places { sys: run.join("sys"), proc: run.join("proc"), run: run.clone(), init, started };
        fs::create_dir_all(run.join("sys/class/tpm/tpm0")).unwrap();
        fs::create_dir_all(run.join("proc")).unwrap();
        fs::write(run.join("proc/cmdline"), "quiet\n").unwrap();
        let mut record =
            Record::new(places, image::Image::unknown(), meta.clone(), tail, events, &generations::Handle::new(meta));
        run_cycle(&mut record, &store).await.unwrap();
        let early = store.get::<BootRecord>(BootRecord::ID).unwrap().value;
        assert_eq!((&*early.boot_id, early.tpm, &*early.source.command_line), (BOOT, true, "quiet"));
        assert_eq!((early.last.ended, &*early.last.reason, &*early.phases[0].note), (Ended::Unknown, NOT_YET, NOT_YET));
        assert!(run.join("machined-start").exists());
        assert!(store.get::<Wait>("boot-log").unwrap().value.deadline_uptime_ms.is_some());

        fs::create_dir_all(run.join("sys/fs/pstore")).unwrap();
        fs::write(run.join("sys/fs/pstore/dmesg-ramoops-0"), "Oops: 0000").unwrap();
        fs::write(run.join("api-ready"), "2000000000 4000000000\n").unwrap();
        store.shared_writer::<Condition>("test").unwrap().put(Condition::API, Condition::met("")).unwrap();
        run_cycle(&mut record, &store).await.unwrap();
        let mut crash = logs.open(pstore::LOG, &Start::Oldest, false).unwrap();
        let lines = crash.next().await.unwrap().unwrap().lines;
        assert_eq!((&*lines[0].text, &*lines[1].text), (&b"--- dmesg-ramoops-0"[..], &b"Oops: 0000"[..]));
        let record = store.get::<BootRecord>(BootRecord::ID).unwrap().value;
        assert!(store.list::<Wait>().is_empty());
        assert_eq!((record.tpm, &*record.source.via, &*record.source.command_line), (true, "kernel", "quiet"));
        assert_eq!(record.phases.len(), 5);
        assert_eq!(record.phases[3].duration_ms, Some(900.0));
        assert_eq!((record.last.ended, &*record.last.reason), (Ended::Panic, "Oops: 0000"));
        let told = store.list::<crate::resources::Event>();
        assert!(told.iter().any(|event| event.value.message.contains("(Oops: 0000)")), "{told:?}");
    }
}
