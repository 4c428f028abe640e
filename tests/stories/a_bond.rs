//! Two machines with a VLAN over a bond reach each other, and go on to while one link of the bond after the other is pulled.
//!
//! Each has two cards in one switch, which is the emulator's hub; the switches are joined by a socket.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{
    apictl::Apictl,
    artifacts,
    chaos::Chaos,
    machine::{self, Machine},
    operator::{Operator, wait_blessed},
    runner::Story,
    scratch::Scratch,
    vm::{BOOT, Spec},
    wait,
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_vlan_over_a_bond_goes_on_while_one_link_after_the_other_is_pulled", story)]
}

/// The second machine's API, by the VLAN.
const SECOND: &str = "10.5.0.2:50000";

const BOND: &str = "kind: Bond\nname: bond0\nlinks: [eth1, eth2]\nmode: active-backup\nmiimon: 100\ndhcp4: false\n";

fn story() -> Result<()> {
    let folder = Scratch::new()?;
    machine::with(&spec(1, folder.path())?, |first| {
        configure(first, 1)?;
        machine::with(&spec(2, folder.path())?, |second| {
            configure(second, 2)?;
            let mut chaos = first.chaos()?;
            reach(&mut chaos)?;

            let one = in_use(&first.apictl)?;
            let other = pull(first, &one)?;
            reach(&mut chaos)?;
            plug_in(first, &one)?;
            ensure!(in_use(&first.apictl)? == other, "it went back to {one} without need");
            ensure!(pull(first, &other)? == one, "the link that came back is not used");
            reach(&mut chaos)?;

            // Nothing but the bond leads there.
            first.vm.qmp.set_link(&card(&one), false)?;
            bond(&first.apictl, "the bond to be cut off", |bond| bond["carrier"] == false)?;
            ensure!(chaos.call(&format!("reach {SECOND}")).is_err(), "it is reached without the bond");
            plug_in(first, &one)?;
            reach(&mut chaos)
        })
    })
}

/// The machine of that number. The first listens for the second, so it is started first.
fn spec(number: u8, folder: &Path) -> Result<Spec> {
    let server = if number == 1 { "on" } else { "off" };
    let socket = folder.join("link").display().to_string();
    let card = |card: u8| {
        format!(
            "-netdev hubport,id=port{card},hubid=0 \
             -device virtio-net-pci,netdev=port{card},id=net{card},romfile=,mac=52:54:00:05:0{number}:0{card} "
        )
    };
    let switch = format!(
        "-netdev stream,id=far,server={server},addr.type=unix,addr.path={socket} \
         -netdev hubport,id=far-port,hubid=0,netdev=far"
    );
    let extra = (card(1) + &card(2) + &switch).split_whitespace().map(str::to_owned).collect();
    Ok(Spec { extra, beside: number == 2, ..Spec::roomy_kernel(&artifacts::test_image())? })
}

fn configure(machine: &mut Machine, number: u8) -> Result<()> {
    machine.apictl.wait_maintenance()?;
    let operator = Operator::new(machine)?;
    operator.generate(machine, &format!("node-{number}"))?;
    operator.write("bond", BOND)?;
    let vlan = format!("kind: Vlan\nname: bond0.5\nlink: bond0\nid: 5\naddresses: [10.5.0.{number}/24]\n");
    operator.write("vlan", &vlan)?;
    machine.apictl.use_context();
    operator.apply(&machine.apictl, &[])?;
    wait_blessed(&machine.apictl, 1)?;
    for document in ["Bond/bond0", "Vlan/bond0.5"] {
        machine.apictl.wait_for("network-document", document, "the document to be applied", |applied| {
            applied["value"]["state"] == "applied"
        })?;
    }
    bond(&machine.apictl, "the bond to use a link", |bond| bond["activePort"].is_string()).map(drop)
}

/// Waits until the second machine is reached.
fn reach(chaos: &mut Chaos) -> Result<()> {
    let mut last = String::new();
    let reached =
        wait::until(&format!("{SECOND} to be reached"), BOOT, || match chaos.call(&format!("reach {SECOND}")) {
            Ok(_) => Some(()),
            Err(error) => {
                last = format!("{error:#}");
                None
            }
        });
    reached.context(last)
}

fn bond(apictl: &Apictl, what: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    apictl.wait_for("link", "bond0", what, |bond| wanted(&bond["value"]))
}

/// The link that the bond sends by.
fn in_use(apictl: &Apictl) -> Result<String> {
    let bond = apictl.get("link", "bond0")?;
    let port = bond["value"]["activePort"].as_str();
    Ok(port.with_context(|| format!("the bond uses no link: {bond}"))?.to_owned())
}

/// The emulator's name of a card.
fn card(link: &str) -> String {
    link.replace("eth", "net")
}

/// Pulls the link that is in use, and returns the one that is in use now.
fn pull(machine: &Machine, link: &str) -> Result<String> {
    machine.vm.qmp.set_link(&card(link), false)?;
    bond(&machine.apictl, "the bond to use the other link", |bond| {
        bond["carrier"] == true && bond["activePort"].as_str().is_some_and(|port| port != link)
    })?;
    in_use(&machine.apictl)
}

fn plug_in(machine: &Machine, link: &str) -> Result<()> {
    machine.vm.qmp.set_link(&card(link), true)?;
    machine.apictl.wait_for("link", link, "the link to be back", |link| link["value"]["carrier"] == true).map(drop)
}
