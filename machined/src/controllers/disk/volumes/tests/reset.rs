//! A reset: what is wiped, what stays, and that it is done whenever it is cut off or fails.

use ::boot::part::BEING_MADE;
use ::boot::state::State as Boot;
use ::boot::uki::{Digest, Uki};
use reconcile::{Next, run_cycle};

use super::super::RETRY;
use super::fake::{MIB, Machine};
use crate::meta::{Reset, Scope};
use crate::resources::condition::Condition;
use crate::resources::volume::Phase;
use crate::state::State;
use crate::stop;

const EARLIER: &str = "22222222-2222-4222-8222-222222222222";
const SECRET: &[u8] = b"-----BEGIN PRIVATE KEY-----";

/// A configured machine with something on both, and a reset that was asked for in an earlier boot.
async fn asked(state: bool, ephemeral: bool, off: bool) -> Machine {
    let machine = Machine::new(512, 1024).await;
    machine.wish(&mut machine.boot()).await.unwrap();
    machine.configured().await;
    for at in [100 * MIB, 256 * MIB - 4096] {
        machine.write(3, at, SECRET);
    }
    let uki = Uki { digest: Digest([1; 32]), size: 10 };
    let blessed = Boot::first(uki, None).bless(1, 7).unwrap();
    machine.meta.change_boot(move |_| Ok::<_, ()>(blessed)).await.unwrap().unwrap();
    let scope = Scope { state, ephemeral };
    let reset = Reset { scope, off, cause: "reset by a test".into(), boot: EARLIER.into(), time_unix: 1 };
    machine.meta.update(|record| record.reset = Some(reset)).await.unwrap();
    machine
}

fn is_zero(machine: &Machine, number: u32, from: u64, to: u64) -> bool {
    let len = usize::try_from(to - from).unwrap();
    machine.read(number, from, len) == vec![0; len]
}

fn revision(machine: &Machine) -> u64 {
    let crate::meta::BootState::Known(state) = machine.meta.boot() else { panic!("no boot state") };
    state.generation(1).unwrap().revision
}

#[tokio::test]
async fn state_is_zeroed_forgotten_and_made_with_the_next_configuration() {
    let machine = asked(true, false, false).await;
    let mut volumes = machine.boot();
    assert_eq!(run_cycle(&mut volumes, &machine.store).await.unwrap(), Next::After(std::time::Duration::ZERO));
    assert!(is_zero(&machine, 3, 0, 256 * MIB), "something of STATE is left");
    let record = machine.meta.record();
    assert!(!record.configured && record.reset.is_none() && !record.anew, "{record:?}");
    assert_eq!((record.was_reset.unwrap().scope.name(), revision(&machine)), ("STATE", 0));
    assert!(machine.powers.calls().is_empty(), "nothing was mounted");

    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::None(why) if why.contains("first configuration")));
    assert!(machine.store.get::<Condition>(Condition::RESET).is_none());
    machine.wish(&mut volumes).await.unwrap();
    let calls = machine.powers.calls();
    assert_eq!(calls, ["mkfs.ext4 vda3", "mount vda3", "mount vda4", "xfs_growfs"], "EPHEMERAL is what it was");
}

#[tokio::test]
async fn ephemeral_is_made_anew_and_the_configuration_stays() {
    let machine = asked(false, true, false).await;
    machine.system(|disk| disk.settled = false);
    let mut volumes = machine.boot();
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(is_zero(&machine, 4, 0, MIB) && machine.read(3, 100 * MIB, SECRET.len()) == SECRET);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::Mounted { .. }));
    assert_eq!((machine.powers.calls(), revision(&machine)), (vec!["mount vda3".to_owned()], 7));
    let record = machine.meta.record();
    assert!(record.configured && record.anew && record.reset.is_none());

    // The table says so before META forgets it: cut off in between, it is made anew all the same.
    machine.system(|disk| disk.settled = true);
    machine.powers.fail("mkfs.xfs vda4", 1);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(!machine.meta.record().anew && machine.table()[4].attribute_bits & BEING_MADE != 0);
    let mut next = machine.boot();
    run_cycle(&mut next, &machine.store).await.unwrap();
    assert_eq!(machine.powers.calls(), ["mount vda3", "mkfs.xfs vda4", "mount vda4", "xfs_growfs"]);
    assert_eq!(machine.table()[4].attribute_bits, 0);
}

#[tokio::test]
async fn nothing_is_touched_before_all_disks_are_known_nor_made_whoever_wishes() {
    let machine = asked(true, true, false).await;
    machine.system(|disk| disk.complete = false);
    let mut volumes = machine.boot();
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    let refused = machine.wish(&mut volumes).await.unwrap_err();
    assert!(refused.to_string().contains("a reset"), "{refused}");
    assert!(machine.handle.needs().borrow().disks, "nobody loads the drivers");
    assert_eq!(machine.read(3, 100 * MIB, SECRET.len()), SECRET);
    assert_eq!((machine.handle.state(), machine.powers.calls()), (State::Waiting, vec![]));
    let condition = machine.condition(Condition::RESET);
    assert!(!condition.met && condition.required && condition.reason.contains("STATE and EPHEMERAL"), "{condition:?}");
    assert!(machine.meta.record().configured);
}

#[tokio::test]
async fn a_reset_of_this_boot_waits_for_the_next() {
    let machine = asked(true, true, false).await;
    let boot = machine.meta.boot_id().to_owned();
    machine.meta.update(|record| record.reset.as_mut().unwrap().boot = boot).await.unwrap();
    run_cycle(&mut machine.boot(), &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::Mounted { .. }));
}

#[tokio::test]
async fn cut_off_at_any_point_it_is_done_at_the_next_start() {
    // META is written last: what a cut leaves is the same record, and any part of this.
    type Cut = fn(&Machine);
    let cuts: [Cut; 4] = [
        |_| {},
        |m| m.write(4, 0, &[0; 1 << 20]),
        |m| m.write(3, 0, &vec![0; 120 << 20]),
        |m| m.write(3, 0, &vec![0; 256 << 20]),
    ];
    for (at, cut) in cuts.into_iter().enumerate() {
        let machine = asked(true, true, false).await;
        cut(&machine);
        let mut volumes = machine.boot();
        run_cycle(&mut volumes, &machine.store).await.unwrap();
        run_cycle(&mut volumes, &machine.store).await.unwrap();
        assert!(is_zero(&machine, 3, 0, 256 * MIB) && is_zero(&machine, 4, 0, MIB), "cut {at}");
        assert!(matches!(machine.handle.state(), State::None(_)), "cut {at}: {:?}", machine.handle.state());
        let record = machine.meta.record();
        assert!(!record.configured && record.anew && record.reset.is_none(), "cut {at}");
        // And it can be configured again.
        machine.wish(&mut volumes).await.unwrap();
        let calls = machine.powers.calls();
        assert_eq!(calls, ["mkfs.ext4 vda3", "mount vda3", "mkfs.xfs vda4", "mount vda4", "xfs_growfs"], "cut {at}");
    }
}

async fn later() {
    tokio::time::pause();
    tokio::time::advance(RETRY).await;
    tokio::time::resume();
}

#[tokio::test]
async fn a_failure_is_told_opens_nothing_and_is_tried_again() {
    let machine = asked(true, true, false).await;
    let read_only = machine.read_only();
    let mut volumes = machine.boot();
    let Next::After(pause) = run_cycle(&mut volumes, &machine.store).await.unwrap() else { panic!("for ever") };
    assert!(pause > RETRY / 2, "{pause:?}");
    let State::Unusable(why) = machine.handle.state() else { panic!("{:?}", machine.handle.state()) };
    assert!(why.contains("STATE: ") && why.contains("EPHEMERAL: ") && why.contains("replace the disk"), "{why}");
    let record = machine.meta.record();
    assert!(record.configured && record.reset.is_some(), "{record:?}");
    drop(read_only);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::Unusable(_)), "without a pause");
    later().await;
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::None(_)), "{:?}", machine.handle.state());
}

#[tokio::test]
async fn without_meta_it_is_not_over_and_the_machine_stays_what_it_was() {
    let machine = asked(true, true, false).await;
    let mut volumes = machine.boot();
    let put_back = machine.without_meta();
    for _ in 0..2 {
        run_cycle(&mut volumes, &machine.store).await.unwrap();
        later().await;
    }
    let record = machine.meta.record();
    assert!(record.configured && record.reset.is_some(), "{record:?}");
    assert!(!matches!(machine.handle.state(), State::None(_)), "{:?}", machine.handle.state());
    put_back();
    machine.meta.update(|_| ()).await.unwrap();
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::None(_)), "{:?}", machine.handle.state());
    assert!(!machine.meta.record().configured);
}

#[tokio::test]
async fn without_partitions_there_is_nothing_to_wipe_and_the_identity_goes() {
    let machine = asked(true, true, false).await;
    machine.powers.edit(|table| {
        for number in [3, 4] {
            table[number] = gptman::GPTPartitionEntry::empty();
        }
    });
    let mut volumes = machine.boot();
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(matches!(machine.handle.state(), State::None(_)), "{:?}", machine.handle.state());
    assert!(!machine.meta.record().configured && !machine.meta.record().anew);
}

#[tokio::test]
async fn it_switches_off_where_that_was_asked_for_and_opens_nothing_before() {
    let machine = asked(true, false, true).await;
    let mut volumes = machine.boot();
    for _ in 0..2 {
        run_cycle(&mut volumes, &machine.store).await.unwrap();
        assert_eq!(machine.handle.state(), State::Waiting);
    }
    let stop::State::Stopping { request, .. } = machine.stop.watch().borrow().clone() else { panic!("it goes on") };
    assert_eq!((request.action, &*request.cause), (stop::Action::PowerOff, "after the reset by a test"));
    assert_eq!(machine.meta.record().reset, None, "the next start is an ordinary one");
}

#[tokio::test]
async fn the_recovery_system_does_the_same() {
    let machine = asked(true, true, false).await;
    let mut volumes = machine.boot().of_recovery();
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(is_zero(&machine, 3, 0, 256 * MIB) && is_zero(&machine, 4, 0, MIB));
    assert!(matches!(machine.handle.state(), State::None(_)));
    assert_eq!(machine.volume("EPHEMERAL").phase, Phase::Unusable, "left alone");
}
