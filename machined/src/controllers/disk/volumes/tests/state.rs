//! STATE in every condition it can be found in: what becomes of it, and that what somebody may want back stays.

use std::fs;

use reconcile::run_cycle;

use super::super::RETRY;
use super::fake::Machine;
use crate::resources::volume::Phase;
use crate::state::State;

/// Makes STATE and EPHEMERAL.
async fn made() -> Machine {
    let machine = Machine::new(512, 1024).await;
    machine.wish(&mut machine.boot()).await.unwrap();
    machine
}

type Damage = fn(&Machine);

/// What is done to STATE while the machine is off; what a machine without and with a configuration says then.
const CASES: [(&str, Damage, &str, &str); 8] = [
    ("wiped", |m| m.write(3, 0, &[0; 1 << 20]), "made: holds no file system", "unusable: holds no file system"),
    ("garbage", |m| m.write(3, 0, &[7; 65536]), "unusable: no file system that this release knows", "unusable: knows"),
    ("xfs", |m| m.write(3, 0, b"XFSB"), "unusable: (xfs)", "unusable: (xfs)"),
    (
        "another ext4",
        |m| m.write(3, 1024 + 120, b"data\0"),
        "unusable: labelled \"data\"",
        "unusable: labelled \"data\"",
    ),
    ("luks", |m| m.write(3, 0, b"LUKS\xba\xbe\0\x02"), "unusable: holds luks", "unusable: holds luks"),
    (
        "no /format",
        |m| fs::remove_file(m.content(3).join("format")).unwrap(),
        "made: was not made to its end",
        "unusable: was not made to its end",
    ),
    (
        "files of others",
        |m| {
            fs::remove_file(m.content(3).join("format")).unwrap();
            fs::write(m.content(3).join("mine"), "").unwrap();
        },
        "unusable: none of ours",
        "unusable: none of ours",
    ),
    (
        "a later release",
        |m| fs::write(m.content(3).join("format"), r#"{"version":2}"#).unwrap(),
        "unusable: version 2",
        "unusable: version 2",
    ),
];

#[tokio::test]
async fn whatever_is_found_nothing_of_anybodys_is_lost() {
    for (name, damage, fresh, configured) in CASES {
        for (is_configured, wanted) in [(false, fresh), (true, configured)] {
            let machine = made().await;
            if is_configured {
                machine.configured().await;
            }
            damage(&machine);
            let mut volumes = machine.boot();
            run_cycle(&mut volumes, &machine.store).await.unwrap();
            let (outcome, part) = wanted.split_once(": ").unwrap();
            let why = match machine.handle.state() {
                State::None(why) if outcome == "made" => why,
                State::Unusable(why) if outcome == "unusable" => why,
                other => panic!("{name} {is_configured}: {other:?}"),
            };
            assert!(why.contains(part), "{name} {is_configured}: {why}");
            let condition = machine.condition("state");
            assert!(!condition.met && condition.reason.contains(part), "{name}: {condition:?}");
            machine.powers.forget();
            let made = machine.wish(&mut volumes).await;
            assert_eq!(made.is_ok(), outcome == "made", "{name} {is_configured}: {made:?}");
            let changed = machine.powers.calls().iter().any(|call| call.starts_with("mkfs.ext4"));
            assert_eq!(changed, outcome == "made", "{name} {is_configured}");
        }
    }
}

#[tokio::test]
async fn a_partition_that_is_gone_or_there_twice_is_named() {
    for number in [3, 4] {
        let machine = made().await;
        machine.configured().await;
        machine.powers.edit(|table| {
            let twice = gptman::GPTPartitionEntry { unique_partition_guid: [7; 16], ..table[3].clone() };
            let twice = gptman::GPTPartitionEntry {
                starting_lba: table[4].starting_lba,
                ending_lba: table[4].ending_lba,
                ..twice
            };
            table[number] = if number == 3 { gptman::GPTPartitionEntry::empty() } else { twice };
        });
        let mut volumes = machine.boot();
        run_cycle(&mut volumes, &machine.store).await.unwrap();
        let State::Unusable(why) = machine.handle.state() else { panic!("{:?}", machine.handle.state()) };
        let part = if number == 3 { "has no STATE partition" } else { "2 STATE partitions (numbers 3 and 4)" };
        assert!(why.contains(part), "{why}");
        assert!(machine.wish(&mut volumes).await.is_err());
    }
}

#[tokio::test]
async fn one_that_was_not_unmounted_well_or_is_damaged_is_checked_before_it_is_mounted() {
    const NOT_CLEAN: Damage = |m| m.write(3, 1024 + 58, &[0]);
    const ERRORS: Damage = |m| m.write(3, 1024 + 58, &[3]);
    const JOURNAL: Damage = |m| m.write(3, 1024 + 96, &[0x44]);
    const NOTHING: Damage = |_| {};
    type Case = (Damage, &'static [(&'static str, i32)], &'static [&'static str], &'static str);
    let cases: [Case; 8] = [
        (NOT_CLEAN, &[], &["e2fsck -p vda3", "mount vda3"], ""),
        (ERRORS, &[("e2fsck -p vda3", 1)], &["e2fsck -p vda3", "mount vda3"], ""),
        (JOURNAL, &[], &["e2fsck -p vda3", "mount vda3"], ""),
        (NOT_CLEAN, &[("e2fsck -p vda3", 4)], &["e2fsck -p vda3"], "e2fsck ended with exit code 4: e2fsck: said this"),
        (NOT_CLEAN, &[("e2fsck -p vda3", 8)], &["e2fsck -p vda3"], "exit code 8"),
        (NOTHING, &[("mount vda3", 117)], &["mount vda3", "e2fsck -fp vda3", "mount vda3"], ""),
        (
            NOTHING,
            &[("mount vda3", 117), ("e2fsck -fp vda3", 4)],
            &["mount vda3", "e2fsck -fp vda3"],
            "exit code 4: e2fsck: said this",
        ),
        (NOTHING, &[("mount vda3", 5)], &["mount vda3"], "cannot be mounted or read: Input/output error"),
    ];
    for (damage, failing, calls, why) in cases {
        let machine = made().await;
        machine.configured().await;
        damage(&machine);
        let mut volumes = machine.boot();
        for (call, code) in failing {
            machine.powers.fail(call, *code);
        }
        run_cycle(&mut volumes, &machine.store).await.unwrap();
        let of_state: Vec<_> = machine.powers.calls().into_iter().filter(|call| call.contains("vda3")).collect();
        assert_eq!(of_state, calls, "{failing:?}");
        let volume = machine.volume("STATE");
        let wanted = if why.is_empty() { Phase::Mounted } else { Phase::Unusable };
        assert!(volume.phase == wanted && volume.reason.contains(why), "{failing:?}: {volume:?}");
        assert!(why.is_empty() || volume.reason.contains("install anew"), "{volume:?}");
        // It is not tried over and over, but when somebody asks.
        run_cycle(&mut volumes, &machine.store).await.unwrap();
        assert!(!machine.powers.calls().iter().any(|call| call.contains("vda3")));
        if matches!(failing, [("mount vda3", 5)]) {
            // A disk that failed is looked at again by itself.
            tokio::time::pause();
            tokio::time::advance(RETRY).await;
            tokio::time::resume();
            run_cycle(&mut volumes, &machine.store).await.unwrap();
            assert!(matches!(machine.handle.state(), State::Mounted { .. }), "{:?}", machine.handle.state());
        } else if wanted == Phase::Unusable && failing.len() == 1 {
            machine.wish(&mut volumes).await.unwrap();
            assert_eq!(machine.volume("STATE").phase, Phase::Mounted);
        }
    }
}

#[tokio::test]
async fn one_that_is_read_at_last_is_mounted_once_its_module_is_there() {
    let machine = made().await;
    machine.configured().await;
    let mut volumes = machine.boot();
    machine.powers.fail("mount vda3", 5);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::Unusable(_)));
    tokio::time::pause();
    tokio::time::advance(RETRY).await;
    tokio::time::resume();
    machine.powers.modules(false);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert_eq!(machine.handle.state(), State::Waiting);
    machine.powers.modules(true);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::Mounted { .. }), "{:?}", machine.handle.state());
}

#[tokio::test]
async fn a_disk_that_goes_away_is_said_and_keeps_what_is_mounted() {
    use crate::resources::system_disk::State as Disk;
    let machine = Machine::new(512, 1024).await;
    let mut volumes = machine.boot();
    machine.wish(&mut volumes).await.unwrap();
    machine.system(|disk| {
        disk.state = Disk::None;
        disk.reason = "the system disk of this boot was removed".into();
    });
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::Unusable(why) if why.contains("was removed")));
    for name in ["state", "ephemeral"] {
        assert!(machine.condition(name).reason.contains("plug it in"), "{:?}", machine.condition(name));
    }
    // A configured machine whose disk never came.
    machine.configured().await;
    let mut next = machine.boot();
    run_cycle(&mut next, &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::Unusable(why) if why.contains("no system disk")));
}
