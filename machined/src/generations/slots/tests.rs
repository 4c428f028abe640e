//! The slots with a META in a file, and with a program in place of `installer esp` that answers as it is told.

use std::fs;
use std::path::PathBuf;

use config::image::esp::{Line, Room};
use config::image::pull::File;
use reconcile::Store;
use serde_json::json;
use sha2::Digest as _;

use super::*;
use crate::configuration::choice::{Run, Trial};
use crate::generations::tests::{machine, on_trial, uki};
use crate::program::Programs;
use crate::resources::coldplug::Coldplug;
use crate::resources::job::Phase as Standing;
use crate::resources::partition;
use crate::resources::system_disk::{self, SystemDisk};

struct Machine {
    folder: tempfile::TempDir,
    store: Store,
    meta: meta::Handle,
    handle: Handle,
    slots: Arc<Slots>,
    _tasks: tokio::task::JoinSet<()>,
}

/// Says what it was asked, waits while it is told to, and answers.
const PROGRAM: &str = r#"#!/bin/sh
cd FOLDER
read -r asked
echo "$asked" >> asked
while [ -e wait ]; do :; done
case "$asked" in *'"look":true'*) cat look;; *) cat done;; esac
"#;

/// Generation 1 is the other one, 2 is current, 9 is recovery.
fn proven() -> State {
    on_trial().bless(2, 0).unwrap()
}

impl Machine {
    async fn new(state: &State, running: Running) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (meta, handle) = machine(folder.path(), state, running).await;
        let store = Store::new();
        let disk = SystemDisk {
            state: system_disk::State::Found,
            disk: "vda".into(),
            meta: String::new(),
            reason: String::new(),
            candidates: Vec::new(),
            guids: system_disk::Guids::Unique,
            complete: true,
            settled: true,
        };
        store.writer::<SystemDisk>("test").unwrap().put(SystemDisk::ID, disk);
        let kind = ::boot::part::ESP.guid.to_string();
        let esp = partition::Partition { disk: "vda".into(), kind, ..partition::Partition::default() };
        store.writer::<partition::Partition>("test").unwrap().put("vda1", esp);
        let seen_to = crate::drivers::VFAT.iter().map(|name| (*name).to_owned()).collect();
        let coldplug = Coldplug { seen_to, ..Coldplug::default() };
        store.writer::<Coldplug>("test").unwrap().put(Coldplug::ID, coldplug);
        let (link, tasks) = crate::link::tests::connect(&Arc::default(), &crate::stop::Handle::new());
        let partition = Arc::new(Partition::new(&store, Programs::free(link), folder.path()).unwrap());
        let slots = Arc::new(Slots::new(handle.clone(), meta.clone(), partition));
        let program = PROGRAM.replace("FOLDER", &folder.path().display().to_string());
        fs::write(folder.path().join("installer"), program).unwrap();
        let machine = Self { folder, store, meta, handle, slots, _tasks: tasks };
        machine.answers("look", &Line::Done(Done { room: Some(Room::default()), ..Done::default() }));
        machine.answers("done", &Line::Done(Done::default()));
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn answers(&self, what: &str, line: &Line) {
        fs::write(self.path(what), serde_json::to_string(line).unwrap()).unwrap();
    }

    /// The files of this image are damaged.
    fn damaged(&self, number: u8, found: &[u32]) {
        let found = found.iter().map(|number| config::image::esp::Found {
            generation: Some(*number),
            digest: named(uki(9).digest),
            size: 1,
        });
        let damaged = vec![named(uki(number).digest)];
        self.answers("look", &Line::Done(Done { damaged, found: found.collect(), ..Done::default() }));
    }

    fn asked(&self) -> Vec<Request> {
        let asked = fs::read_to_string(self.path("asked")).unwrap_or_default();
        asked.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn job(&self) -> Job {
        Job::alone(&self.store, self.meta.clone(), self.folder.path())
    }

    /// An image with this UKI.
    fn image(&self, number: u8) -> Pulled {
        let program = fs::read(self.path("installer")).unwrap();
        let program = Named::of_bytes(&sha2::Sha256::digest(&program).into());
        let uki = named(uki(number).digest);
        let parts = json!([{ "name": "uki", "digest": uki, "size": 1000 }]);
        let manifest = json!({
            "format": 1, "name": "stele", "version": "2.0.0", "commit": "", "built": "", "arch": "amd64", "kernel": "",
            "floor": "1.5.0", "minimum": "0.0.0", "schema": [], "formats": {}, "parts": parts
        });
        let file = |name: &str, digest: &Named| File {
            name: name.into(),
            path: self.path(name).display().to_string(),
            digest: digest.clone(),
            size: 1000,
        };
        Pulled {
            digest: uki.clone(),
            manifest: serde_json::from_value(manifest).unwrap(),
            signed_by: None,
            endpoint: String::new(),
            files: vec![file("installer", &program), file("uki", &uki)],
            fetched: 0,
            kept: 0,
            fetch_ms: 0,
            check_ms: 0,
        }
    }

    fn state(&self) -> State {
        self.handle.view().state.unwrap()
    }
}

#[tokio::test]
async fn what_cannot_be_written_or_would_leave_nothing_to_go_back_to_is_refused_before_anything_is_changed() {
    let machine = Machine::new(&proven(), Running::Generation(2)).await;
    let full = Room { free: 1 << 20, needed: 2 << 20, ..Room::default() };
    machine.answers("look", &Line::Done(Done { room: Some(full), ..Done::default() }));
    let job = machine.job();
    let refused = machine.slots.stage(&job, &machine.image(3)).await.unwrap_err();
    assert!(refused.reason.starts_with("space: the EFI partition has not room"), "{}", refused.reason);
    machine.damaged(2, &[1]);
    let refused = machine.slots.stage(&job, &machine.image(3)).await.unwrap_err();
    assert!(refused.reason.contains("generation 2, which is current, is damaged"), "{}", refused.reason);
    assert!(machine.asked().iter().all(|request| request.look));
    assert_eq!((machine.state(), machine.meta.record().staged), (proven(), None));
    assert!(!job.record().committed, "it can still be called off");
}

#[tokio::test]
async fn it_cannot_be_called_off_once_the_slot_is_empty_and_what_failed_is_forgotten() {
    let machine = Machine::new(&proven(), Running::Generation(2)).await;
    let failed = config::image::esp::Failed { step: "write".into(), message: "broken".into(), remedy: "new".into() };
    machine.answers("done", &Line::Failed(failed));
    let job = machine.job();
    machine.slots.stage(&job, &machine.image(3)).await.unwrap_err();
    assert!(job.record().committed && machine.state().slots[0].is_none());
    assert!(machine.slots.waits(3).await);
    machine.slots.tidy().await;
    assert_eq!(machine.meta.record().staged, None);
    assert!(!machine.slots.waits(3).await);
}

#[tokio::test]
async fn a_generation_that_became_current_meanwhile_is_not_emptied() {
    let machine = Machine::new(&proven(), Running::Generation(2)).await;
    fs::write(machine.path("wait"), "").unwrap();
    let (job, image) = (machine.job(), machine.image(3));
    let between = async {
        while machine.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        machine.handle.roll_back(None, "").await.unwrap();
        fs::remove_file(machine.path("wait")).unwrap();
    };
    let (staged, ()) = tokio::join!(machine.slots.stage(&job, &image), between);
    assert!(staged.unwrap_err().reason.contains("generation 1 starts next"));
    assert!(machine.state().generation(1).is_some());
}

#[tokio::test]
async fn what_is_here_already_counts_only_if_its_file_is_whole_and_is_done_only_if_it_runs() {
    let machine = Machine::new(&proven(), Running::Generation(2)).await;
    let job = machine.job();
    let look = |number| (machine.image(number), machine.slots.clone(), job.clone());
    let looked = |(image, slots, job): (Pulled, Arc<Slots>, Job)| async move { slots.look(&job, &image, false).await };
    assert_eq!(looked(look(2)).await, Ok(Some(2)));
    let other = looked(look(1)).await.unwrap_err();
    assert_eq!(other.remedy, "go to it: apictl rollback --to 1");
    // The other one is damaged: the same takes a slot once more.
    machine.damaged(1, &[2]);
    assert_eq!(looked(look(1)).await, Ok(None));
    assert!(machine.asked().iter().all(|request| request.look));
    // What is current is damaged: written again in its own place, and nothing else goes.
    machine.damaged(2, &[1]);
    assert_eq!(looked(look(2)).await, Ok(Some(2)));
    let wrote = machine.asked().pop().unwrap();
    assert_eq!((wrote.look, wrote.keep.len(), wrote.add.len()), (false, 3, 1));
    assert!(job.record().warnings.iter().any(|warning| warning.contains("was written anew")));

    let machine = Machine::new(&proven(), Running::Recovery).await;
    let waits = machine.slots.look(&machine.job(), &machine.image(2), false).await.unwrap_err();
    assert_eq!(waits.remedy, "it starts next: apictl reboot");
}

#[tokio::test]
async fn nobody_confirms_a_configuration_by_an_upgrade() {
    let machine = Machine::new(&proven(), Running::Generation(2)).await;
    assert!(machine.slots.facts().await.is_ok());
    let trial = Some(Trial { back: 1, left_s: 3000, boots: 3, boot: "x".into() });
    let run = |trial| Some(Run { revision: 2, attempts: 0, trial });
    machine.meta.update(|record| record.run = run(trial.clone())).await.unwrap();
    for refused in [machine.slots.facts().await.map(drop), machine.slots.start_trial(3).await] {
        let refused = refused.unwrap_err();
        assert_eq!(
            (refused.phase, &*refused.reason),
            (Standing::Refused, "revision 2 of the configuration is on trial")
        );
        assert!(refused.remedy.contains("apictl config confirm"));
    }
    machine.meta.update(|record| record.run = run(None)).await.unwrap();
    assert!(machine.slots.facts().await.is_ok());
}

#[tokio::test]
async fn what_is_proven_and_not_settled_is_waited_for() {
    let machine = Machine::new(&proven(), Running::Generation(2)).await;
    let staged = Staged { generation: 2, floor: "1.2.0".into(), ..Staged::default() };
    machine.meta.update(|record| record.staged = Some(staged.clone())).await.unwrap();
    let (job, image) = (machine.job(), machine.image(3));
    let settle = async {
        // So long it would take to ask, many times over.
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(10)).await;
            assert!(machine.asked().is_empty(), "it does not wait");
        }
        machine.meta.update(|record| record.staged = None).await.unwrap();
        machine.handle.look_again();
    };
    let (done, ()) = tokio::join!(machine.slots.stage(&job, &image), settle);
    assert_eq!(done, Ok(3));

    // Of one that is proven and does not run nobody knows when it is settled: its floor stays all the same.
    let machine = Machine::new(&proven(), Running::Generation(1)).await;
    machine.handle.change(|state| Ok(state.roll_back(1)?)).await.unwrap();
    machine.meta.update(|record| record.staged = Some(staged)).await.unwrap();
    assert_eq!(machine.slots.stage(&machine.job(), &machine.image(3)).await, Ok(3));
    let record = machine.meta.record();
    assert_eq!((record.floor.as_deref(), record.staged.unwrap().generation), (Some("1.2.0"), 3));
}
