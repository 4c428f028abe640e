//! A DHCP server is away when the machine boots, comes, goes, and another one comes, which gives another address.
//!
//! The machine's card is on the emulator's hub, and a server is a user network that is plugged into the hub and out again.
//! It forwards the same port of this workstation each time, so that the operator always asks at one place.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{
    apictl::Apictl,
    artifacts,
    chaos::Chaos,
    machine::{self, Machine},
    operator::{Operator, wait_blessed},
    runner::Story,
    vm::{BOOT, Spec, Vm},
    wait,
};

pub(crate) fn stories() -> Vec<Story> {
    vec![Story::new("a_dhcp_server_is_away_at_boot_comes_goes_and_another_gives_another_address", story)]
}

/// A hub, and the card on it. A hub with one port takes no packet from it and lets it wait: so there is a second, with nobody.
const HUB: &str = "-netdev hubport,id=nobody,hubid=0 -netdev hubport,id=port0,hubid=0 \
                   -device virtio-net-pci,netdev=port0,id=net0,romfile=";

fn story() -> Result<()> {
    let mut spec = Spec::roomy_kernel(&artifacts::test_image())?;
    spec.nic = None;
    spec.extra = HUB.split_whitespace().map(str::to_owned).collect();
    machine::with(&spec, |machine| {
        machine.vm.wait_line("stele: waiting for an IPv4 address for eth0: no DHCP answer on eth0 yet", BOOT)?;
        ensure!(machine.vm.console.line("stele: address eth0 10.").is_none(), "an address without a server");

        plug_in(&machine.vm, "10.0.2.0/24")?;
        machine.vm.wait_line("stele: address eth0 10.0.2.15/24", BOOT)?;
        machine.apictl.wait_maintenance()?;
        let operator = Operator::new(machine)?;
        operator.configure(machine, "node-1")?;
        wait_blessed(&machine.apictl, 1)?;

        let mut chaos = machine.chaos()?;
        // What the kernel says: taken away and given again it would be another time.
        let since = chaos.call("since 10.0.2.15")?;
        for server in ["there", "away"] {
            if server == "away" {
                plug_out(&machine.vm)?;
            }
            kill(machine, &mut chaos)?;
            let now = chaos.call("since 10.0.2.15")?;
            ensure!(now == since, "with the server {server} its address was away: since {since:?}, now {now:?}");
        }

        plug_in(&machine.vm, "10.0.3.0/24")?;
        let mark = machine.vm.console.len();
        machine.vm.qmp.set_link("net0", false)?;
        wait::until("the machine to see it", BOOT, || {
            chaos.call("cat /sys/class/net/eth0/carrier").ok().filter(|carrier| *carrier == ["0"])
        })?;
        machine.vm.qmp.set_link("net0", true)?;
        machine.vm.wait_line_after("stele: address gone: eth0 10.0.2.15/24", mark, BOOT)?;
        machine.vm.wait_line_after("stele: address eth0 10.0.3.15/24", mark, BOOT)?;
        machine.wait_api()?;
        moved(&machine.apictl)
    })
}

/// A server on the hub, which gives the address of this network that ends in 15, and forwards the API's port to it.
fn plug_in(vm: &Vm, network: &str) -> Result<()> {
    let forward = [json!({ "str": format!("tcp:{}-:50000", vm.api) })];
    // IPv4 alone: an address by a router's announcement would hide that there is no lease.
    let user = json!({
        "type": "user", "id": "server", "restrict": true, "ipv6": false, "net": network, "hostfwd": forward
    });
    vm.qmp.execute("netdev_add", user)?;
    vm.qmp.execute("netdev_add", json!({ "type": "hubport", "id": "port1", "hubid": 0, "netdev": "server" })).map(drop)
}

fn plug_out(vm: &Vm) -> Result<()> {
    ["port1", "server"].iter().try_for_each(|id| vm.qmp.execute("netdev_del", json!({ "id": id })).map(drop))
}

/// Kills machined, and waits until the next one has made the configuration its own. By its console: without a server nothing is
/// forwarded to its API.
fn kill(machine: &Machine, chaos: &mut Chaos) -> Result<()> {
    let mark = machine.vm.console.len();
    chaos.kill("machined", "KILL")?;
    machine.vm.wait_line_after("stele: phase running", mark, BOOT).map(drop)
}

/// All that the first server said is gone, and what the second says is there.
fn moved(apictl: &Apictl) -> Result<()> {
    let of = |kind: &str, field: &str| -> Result<Vec<Value>> {
        let all = apictl.list(kind)?;
        Ok(all
            .iter()
            .map(|object| object["value"][field].clone())
            .filter(|text| text.to_string().contains("\"10."))
            .collect())
    };
    let addresses = of("addresses", "address")?;
    ensure!(addresses == ["10.0.3.15/24"], "its addresses: {addresses:?}");
    // A restricted user network names no router.
    let routes = of("routes", "destination")?;
    ensure!(routes == ["10.0.3.0/24"], "its routes: {routes:?}");
    let waits = apictl.ok(&["get", "waits"])?;
    ensure!(!waits.contains("eth0"), "it waits: {waits}");
    let events = apictl.ok(&["events"])?;
    for change in ["eth0 got 10.0.2.15/24", "eth0 gave up 10.0.2.15/24"] {
        ensure!(events.matches(change).count() == 1, "'{change}' is not there once:\n{events}");
    }
    for line in ["eth0: the lease of 10.0.2.15/24 ended", "eth0: DHCP server 10.0.3.2 leased 10.0.3.15/24"] {
        ensure!(events.contains(line), "no event says '{line}':\n{events}");
    }
    Ok(())
}
