//! The volumes against an imitated machine: the disk is a file with a real table, programs and mounts are imitated.

mod fake;
mod reset;
mod state;
mod wear;

use std::path::PathBuf;

use boot::part::{BEING_MADE, EPHEMERAL, STATE};
use reconcile::run_cycle;

use self::fake::{MIB, Machine};
use super::survey::is_clean;
use crate::resources::volume::Phase;
use crate::resources::wait::Wait;
use crate::state::{Error, State};

#[tokio::test]
async fn both_are_made_with_the_first_configuration_and_found_at_every_boot() {
    for sector in [512, 4096] {
        let machine = Machine::new(sector, 1024).await;
        let mut volumes = machine.boot();
        let before = machine.start_of_disk();
        run_cycle(&mut volumes, &machine.store).await.unwrap();
        assert!(matches!(machine.handle.state(), State::None(why) if why.contains("first configuration")));
        assert_eq!(machine.volume("STATE").phase, Phase::Absent);
        assert_eq!((machine.powers.calls(), machine.start_of_disk()), (vec![], before), "nobody asked for anything");

        let made = machine.wish(&mut volumes).await.unwrap();
        assert_eq!(made, machine.root());
        let calls = machine.powers.calls();
        let wanted = ["add 3", "mkfs.ext4 vda3", "mount vda3", "add 4", "mkfs.xfs vda4", "mount vda4", "xfs_growfs"];
        assert_eq!(calls, wanted, "in this order");
        let table = machine.table();
        let of = |number: u32| {
            let entry = &table[number];
            let place = (entry.starting_lba * sector, (entry.ending_lba + 1) * sector);
            (entry.partition_type_guid, entry.partition_name.to_string(), entry.attribute_bits, place)
        };
        let start = if sector == 512 { 2 * MIB } else { 10 * MIB };
        assert_eq!(of(3), (STATE.guid.0, "STATE".into(), 0, (start, start + 256 * MIB)));
        assert_eq!(of(4), (EPHEMERAL.guid.0, "EPHEMERAL".into(), 0, (start + 256 * MIB, 1023 * MIB)));
        assert!(made.join("format").exists());
        for name in ["state", "ephemeral"] {
            let condition = machine.condition(name);
            assert!(condition.met && !condition.required, "{name}: {condition:?}");
        }
        assert_eq!(machine.volume("EPHEMERAL").device, machine.node(4));
        run_cycle(&mut volumes, &machine.store).await.unwrap();
        assert!(machine.store.list::<Wait>().is_empty() && machine.powers.calls().is_empty());

        // A machined that was restarted finds them mounted, and checks nothing.
        machine.powers.forget();
        machine.system(|disk| (disk.complete, disk.settled) = (false, false));
        let mut restarted = machine.restart();
        run_cycle(&mut restarted, &machine.store).await.unwrap();
        assert!(!machine.handle.needs().borrow().disks && machine.condition("ephemeral").met);
        machine.system(|disk| (disk.complete, disk.settled) = (true, true));
        run_cycle(&mut restarted, &machine.store).await.unwrap();
        assert_eq!(
            (machine.handle.state(), machine.powers.calls()),
            (State::Mounted { root: made }, vec!["xfs_growfs".into()])
        );

        // The next boot of a configured machine.
        let mut next = machine.boot();
        machine.configured().await;
        run_cycle(&mut next, &machine.store).await.unwrap();
        assert_eq!(machine.powers.calls(), ["mount vda3", "mount vda4", "xfs_growfs"]);
        assert!(matches!(machine.handle.state(), State::Mounted { .. }));
    }
}

#[tokio::test]
async fn the_recovery_system_mounts_state_leaves_ephemeral_and_makes_nothing() {
    let machine = Machine::new(512, 1024).await;
    let mut volumes = machine.boot().of_recovery();
    let before = machine.start_of_disk();
    let refused = machine.wish(&mut volumes).await.unwrap_err();
    assert!(refused.to_string().contains("makes no file system"), "{refused}");
    assert_eq!((machine.powers.calls(), machine.start_of_disk()), (vec![], before));

    let mut full = machine.boot();
    machine.wish(&mut full).await.unwrap();
    machine.configured().await;
    let mut volumes = machine.boot().of_recovery();
    machine.powers.forget();
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert_eq!(machine.powers.calls(), ["mount vda3"]);
    assert!(matches!(machine.handle.state(), State::Mounted { .. }));
    let ephemeral = machine.volume("EPHEMERAL");
    assert_eq!(ephemeral.phase, Phase::Unusable);
    assert!(ephemeral.reason.contains("recovery system"), "{ephemeral:?}");
}

#[tokio::test]
async fn a_wish_waits_for_the_choice_of_the_disk_and_says_so() {
    let machine = Machine::new(512, 1024).await;
    machine.system(|disk| disk.settled = false);
    let mut volumes = machine.boot();
    let before = machine.start_of_disk();
    let (handle, store) = (machine.handle.clone(), machine.store.clone());
    let wish = handle.make();
    tokio::pin!(wish);
    tokio::select! {
        biased;
        made = &mut wish => panic!("{made:?}"),
        cycle = run_cycle(&mut volumes, &store) => drop(cycle.unwrap()),
    }
    let waits = machine.store.list::<Wait>();
    assert_eq!((waits.len(), waits[0].id.as_str()), (1, "state"));
    assert!(waits[0].value.deadline_uptime_ms.is_some());
    assert_eq!(machine.start_of_disk(), before, "nothing is written before the choice is final");
    machine.system(|disk| disk.settled = true);
    let (made, cycle) = tokio::join!(wish, run_cycle(&mut volumes, &store));
    assert_eq!(made, Ok(machine.root()));
    cycle.unwrap();

    // Nobody writes to a disk while another may fit; that a disk has none is known without.
    machine.system(|disk| disk.complete = false);
    let mut volumes = machine.boot();
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert_eq!((machine.handle.state(), machine.powers.calls()), (State::Waiting, vec![]));
    assert!(machine.handle.needs().borrow().disks);
    machine.system(|disk| disk.complete = true);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::Mounted { .. }));
    let empty = Machine::new(512, 1024).await;
    empty.system(|disk| disk.complete = false);
    run_cycle(&mut empty.boot(), &empty.store).await.unwrap();
    assert!(matches!(empty.handle.state(), State::None(_)) && !empty.handle.needs().borrow().disks);
}

#[tokio::test]
async fn without_room_a_disk_or_meta_it_says_what_is_needed() {
    let small = Machine::new(512, 200).await;
    let refused = small.wish(&mut small.boot()).await.unwrap_err();
    let text = refused.to_string();
    assert!(text.contains("needs 256 MiB") && text.contains("197 MiB") && text.contains("enlarge"), "{text}");
    assert!(small.table().iter().filter(|(_, entry)| entry.is_used()).count() == 2);

    // Room for STATE alone: the machine is configured all the same.
    let tight = Machine::new(512, 400).await;
    let mut volumes = tight.boot();
    tight.wish(&mut volumes).await.unwrap();
    let ephemeral = tight.condition("ephemeral");
    assert!(!ephemeral.met && ephemeral.reason.contains("needs 300 MiB"), "{ephemeral:?}");

    let none = Machine::new(512, 1024).await;
    none.system(|disk| {
        disk.state = crate::resources::system_disk::State::None;
        disk.reason = "no disk has META".into();
    });
    assert!(matches!(none.wish(&mut none.boot()).await, Err(Error::Refused(why)) if why.contains("no disk has META")));

    let without = Machine::new(512, 1024).await;
    without.meta.detach("the system disk vda has no META partition");
    let refused = without.wish(&mut without.boot()).await;
    assert!(matches!(refused, Err(Error::Refused(why)) if why.contains("no META partition")));
}

#[tokio::test]
async fn a_cut_anywhere_in_the_making_is_made_good_by_the_next_wish() {
    for cut in ["add 3", "mkfs.ext4 vda3", "mount vda3", "add 4", "mkfs.xfs vda4", "mount vda4"] {
        let machine = Machine::new(512, 1024).await;
        let mut volumes = machine.boot();
        machine.powers.fail(cut, 5);
        let first = machine.wish(&mut volumes).await;
        assert_eq!(first.is_ok(), cut.ends_with('4') && !cut.contains("ext4"), "{cut}: {first:?}");

        // The power goes; the kernel reads the table anew.
        let mut next = machine.boot();
        machine.powers.forget();
        run_cycle(&mut next, &machine.store).await.unwrap();
        let made = machine.wish(&mut next).await.unwrap_or_else(|error| panic!("{cut}: {error}"));
        run_cycle(&mut next, &machine.store).await.unwrap();
        assert!(made.join("format").exists());
        assert_eq!(machine.volume("EPHEMERAL").phase, Phase::Mounted, "{cut}: {:?}", machine.volume("EPHEMERAL"));
        let table = machine.table();
        for number in [3, 4] {
            assert_eq!(table[number].attribute_bits & BEING_MADE, 0, "{cut}: {number}");
        }
        assert_eq!(table.iter().filter(|(_, entry)| entry.is_used()).count(), 4, "{cut}");
    }
}

/// The programs of this machine do what the imitated ones do.
#[tokio::test]
async fn the_arguments_are_right_for_the_real_programs() {
    use super::super::content::probe;
    use super::super::rewrite::Disk;
    let (link, _tasks) = crate::link::tests::connect(&std::sync::Arc::default(), &crate::stop::Handle::new());
    let programs = crate::program::Programs::free(link);
    let dir = tempfile::tempdir().unwrap();
    let device = dir.path().join("disk");
    let path = device.to_str().unwrap().to_owned();
    std::fs::File::create(&device).unwrap().set_len(256 * MIB).unwrap();
    let within = std::time::Duration::from_secs(60);
    let mkfs = PathBuf::from(super::state::MKFS);
    if !mkfs.exists() {
        eprintln!("no {} here: not tried", mkfs.display());
        return;
    }
    let mut arguments = super::state::MAKE.to_vec();
    arguments.push(&path);
    let ended = programs.run(super::state::MKFS, &arguments, within).await.unwrap();
    assert_eq!(ended.code(), Some(0), "{}", ended.told());
    let whole = std::fs::read(&device).unwrap();
    let content = probe(&whole[..65536]).unwrap();
    assert_eq!((content.format.as_str(), content.label.as_str()), ("ext4", "STATE"));
    let disk = Disk { device: device.clone(), sector: 512, size: 256 * MIB };
    assert!(is_clean(&disk, &(0..256 * MIB)).unwrap());
    for (damage, right) in
        [(&["ssv state 0"][..], true), (&["ssv state 3"], true), (&["ssv state 0", "clri <2>"], false)]
    {
        std::fs::write(&device, &whole).unwrap();
        for command in damage {
            programs.run("/usr/sbin/debugfs", &["-w", "-R", command, &path], within).await.unwrap();
        }
        assert!(!is_clean(&disk, &(0..256 * MIB)).unwrap(), "{damage:?}");
        let ended = programs.run(super::state::E2FSCK, &["-p", &path], within).await.unwrap();
        let is_right = ended.code().is_some_and(|code| super::state::RIGHT.contains(&code));
        assert_eq!(is_right, right, "{damage:?}: {}", ended.told());
        assert_eq!(is_clean(&disk, &(0..256 * MIB)).unwrap(), right, "{damage:?}");
    }
}
