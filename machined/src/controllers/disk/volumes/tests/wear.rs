//! EPHEMERAL damaged, lost, and on a disk that has grown.

use boot::part::EPHEMERAL;
use reconcile::run_cycle;

use super::fake::{MIB, Machine};
use crate::resources::volume::Phase;

async fn made() -> Machine {
    let machine = Machine::new(512, 1024).await;
    machine.wish(&mut machine.boot()).await.unwrap();
    machine.configured().await;
    machine
}

#[tokio::test]
async fn it_grows_with_its_disk_at_the_next_boot_and_while_the_machine_runs() {
    let machine = made().await;
    let mut volumes = machine.boot();
    machine.resize(2048);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert_eq!(machine.powers.calls(), ["mount vda3", "mount vda4", "resize 4", "xfs_growfs"]);
    let table = machine.table();
    assert_eq!(((table[4].ending_lba + 1) * 512, table.header.backup_lba), (2047 * MIB, 2048 * MIB / 512 - 1));
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert!(machine.powers.calls().is_empty(), "once is enough");
    machine.resize(4096);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert_eq!(machine.powers.calls(), ["resize 4", "xfs_growfs"]);

    // A machined that died after it had changed the table.
    machine.powers.fail("resize 4", 5);
    machine.resize(5000);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    let told = machine.store.list::<crate::resources::Event>();
    assert!(told.iter().any(|event| event.value.message.contains("was not grown")), "{told:?}");
    machine.powers.forget();
    run_cycle(&mut machine.restart(), &machine.store).await.unwrap();
    assert_eq!(machine.powers.calls(), ["resize 4", "xfs_growfs"]);

    // Not before the choice of the disk is final.
    let machine = made().await;
    let mut volumes = machine.boot();
    machine.resize(2048);
    machine.system(|disk| disk.settled = false);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert_eq!(machine.powers.calls(), ["mount vda3", "mount vda4"]);
    machine.system(|disk| disk.settled = true);
    run_cycle(&mut volumes, &machine.store).await.unwrap();
    assert_eq!(machine.powers.calls(), ["resize 4", "xfs_growfs"]);
}

#[tokio::test]
async fn a_damaged_one_is_repaired_once_without_force_and_never_made_anew() {
    for (failing, calls, phase) in [
        (&[("mount vda4", 117)][..], &["mount vda4", "xfs_repair vda4", "mount vda4"][..], Phase::Mounted),
        (&[("mount vda4", 117), ("xfs_repair vda4", 2)], &["mount vda4", "xfs_repair vda4"], Phase::Unusable),
        (&[("mount vda4", 5)], &["mount vda4"], Phase::Unusable),
    ] {
        let machine = made().await;
        let mut volumes = machine.boot();
        for (call, code) in failing {
            machine.powers.fail(call, *code);
        }
        run_cycle(&mut volumes, &machine.store).await.unwrap();
        let of_it: Vec<_> = machine.powers.calls().into_iter().filter(|call| call.contains("vda4")).collect();
        assert_eq!(of_it, calls);
        let volume = machine.volume("EPHEMERAL");
        assert_eq!(volume.phase, phase, "{volume:?}");
        let condition = machine.condition("ephemeral");
        assert_eq!(condition.met, phase == Phase::Mounted);
        assert!(condition.met || condition.reason.contains("xfs_repair"), "{condition:?}");
        assert!(machine.condition("state").met);
    }
}

#[tokio::test]
async fn what_was_there_once_is_not_replaced_by_an_empty_one() {
    type Damage = fn(&Machine);
    let cases: [(&str, Damage, &str); 4] = [
        ("wiped", |m| m.write(4, 0, &[0; 1 << 20]), "holds no file system"),
        ("foreign", |m| m.write(4, 108, b"data\0\0\0\0\0"), "labelled \"data\""),
        ("garbage", |m| m.write(4, 0, &[7; 4096]), "no file system that this release knows"),
        ("out of the table", |m| m.powers.edit(|table| table.remove(4).unwrap()), "put it back"),
    ];
    for (name, damage, part) in cases {
        let machine = made().await;
        damage(&machine);
        machine.powers.unplug(4);
        let mut volumes = machine.boot();
        run_cycle(&mut volumes, &machine.store).await.unwrap();
        let volume = machine.volume("EPHEMERAL");
        assert!(volume.phase == Phase::Unusable && volume.reason.contains(part), "{name}: {volume:?}");
        assert!(!machine.powers.calls().iter().any(|call| call.contains("mkfs")), "{name}");
        assert!(machine.condition("state").met, "{name}: the machine is configured all the same");
    }
    // Given up as the reason says: made anew.
    let machine = made().await;
    machine.write(4, 0, &[0; 1 << 20]);
    machine.powers.edit(|table| table.remove(4).unwrap());
    machine.powers.unplug(4);
    run_cycle(&mut machine.boot(), &machine.store).await.unwrap();
    assert_eq!(machine.volume(EPHEMERAL.name).phase, Phase::Mounted);
}
