//! The controller with an in-memory store and a network made of a server in a table.

use std::cell::Cell;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Mutex;

use reconcile::{Store, Writer, run_cycle};

use super::packet::tests::answer;
use super::*;
use crate::resources::link::{LinkKind, OperState};
use crate::resources::resolver::ResolverSpec;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(1000) };
    static SERVES: Cell<bool> = const { Cell::new(true) };
    static BROKEN: Cell<u32> = const { Cell::new(0) };
}

/// Answers every message at once, when the server is there.
struct Fake(Mutex<Vec<Vec<u8>>>);

impl Wire for Fake {
    fn open(index: u32) -> io::Result<Self> {
        if index == BROKEN.get() {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(Self(Mutex::new(Vec::new())))
    }

    fn broadcast(&self, packet: &[u8]) -> io::Result<()> {
        if SERVES.get() {
            self.0.lock().unwrap().push(answer(packet, Ipv4Addr::new(10, 0, 2, 15), 100));
        }
        Ok(())
    }

    fn unicast(&self, _: Ipv4Addr, _: Ipv4Addr, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn drain(&self, mut take: impl FnMut(&[u8])) {
        for packet in std::mem::take(&mut *self.0.lock().unwrap()) {
            take(&packet);
        }
    }

    async fn readable(&self) {}
}

struct World {
    store: Store,
    links: Writer<Link>,
    specs: Writer<LinkSpec>,
    events: Events,
}

impl World {
    fn new(folder: &Path) -> Self {
        let store = Store::new();
        let (links, specs) = (store.writer("test").unwrap(), store.writer("test").unwrap());
        store.writer::<ResolverSpec>("test").unwrap().put(ResolverSpec::ID, ResolverSpec::default());
        let events = Events::open(&store, folder.join("events")).unwrap();
        let world = Self { store, links, specs, events };
        world.cable(true);
        world.specs.put(
            "eth0",
            LinkSpec { up: true, mtu: None, dhcp4: true, accept_ra: true, metric: 1026, ..LinkSpec::default() },
        );
        world
    }

    fn cable(&self, carrier: bool) {
        self.link("eth0", 2, carrier);
    }

    fn link(&self, name: &str, index: u32, carrier: bool) {
        let link = Link {
            index,
            kind: LinkKind::Physical,
            virtual_kind: String::new(),
            mac: "52:54:00:00:00:01".into(),
            mtu: 1500,
            up: true,
            carrier,
            carrier_losses: 0,
            oper_state: OperState::Up,
            controller: None,
            active_port: None,
            made: None,
            driver: String::new(),
            bus_path: String::new(),
            speed_mbps: None,
            permanent_mac: String::new(),
            parent: None,
            origin: None,
        };
        self.links.put(name, link);
    }

    fn controller(&self, folder: &Path) -> Dhcp4<Fake> {
        let setup = Setup {
            leases: Leases::new(folder.join("dhcp")),
            identity: watch::channel(identity::Machine::default()).1,
            events: self.events.clone(),
            now: || NOW.get(),
            random: || Box::new(|| 4),
        };
        Dhcp4::new(setup)
    }

    fn addresses(&self) -> Vec<String> {
        let configs = self.store.list::<LinkConfig>();
        configs.iter().flat_map(|config| config.value.addresses.iter().map(ToString::to_string)).collect()
    }
}

async fn cycles(controller: &mut Dhcp4<Fake>, world: &World, count: usize) {
    for _ in 0..count {
        run_cycle(controller, &world.store).await.unwrap();
    }
}

#[tokio::test]
async fn a_lease_comes_and_survives_a_restart_without_a_server_until_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let mut controller = world.controller(folder.path());
    // Discover; request; acknowledged.
    cycles(&mut controller, &world, 3).await;
    assert_eq!(world.addresses(), ["10.0.2.15/24"]);
    assert!(world.store.list::<Wait>().is_empty());
    assert_eq!(mac(&world.store.get::<Link>("eth0").unwrap().value), Some(MAC));

    // A new machined, nothing merged yet, no server: the address is in its first report.
    SERVES.set(false);
    NOW.set(20_000);
    let next = World::new(&folder.path().join("next"));
    next.store.writer::<ResolverSpec>("test").unwrap().remove(ResolverSpec::ID);
    next.specs.remove("eth0");
    let mut controller = next.controller(folder.path());
    cycles(&mut controller, &next, 1).await;
    assert_eq!(next.addresses(), ["10.0.2.15/24"]);
    assert!(next.store.get::<NetworkSource>("dhcp4").is_some());

    // Merged, so it is asked for on; over: the address goes, and people see what is waited for.
    next.store.writer::<ResolverSpec>("test").unwrap().put(ResolverSpec::ID, ResolverSpec::default());
    next.specs.put(
        "eth0",
        LinkSpec { up: true, mtu: None, dhcp4: true, accept_ra: true, metric: 1026, ..LinkSpec::default() },
    );
    NOW.set(200_000);
    cycles(&mut controller, &next, 2).await;
    assert!(next.addresses().is_empty());
    assert_eq!(next.store.list::<Wait>()[0].value.reason, "no DHCP answer on eth0 yet");
}

#[tokio::test]
async fn without_a_cable_the_lease_stays_and_nothing_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let mut controller = world.controller(folder.path());
    cycles(&mut controller, &world, 3).await;
    world.cable(false);
    NOW.set(5000);
    cycles(&mut controller, &world, 2).await;
    assert_eq!(world.addresses(), ["10.0.2.15/24"]);
    world.cable(true);
    cycles(&mut controller, &world, 2).await;
    assert_eq!(world.addresses(), ["10.0.2.15/24"]);
}

#[tokio::test]
async fn a_link_without_a_socket_holds_no_other_up_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    BROKEN.set(1);
    world.link("broken", 1, true);
    world.specs.put(
        "broken",
        LinkSpec { up: true, mtu: None, dhcp4: true, accept_ra: true, metric: 1025, ..LinkSpec::default() },
    );
    let mut controller = world.controller(folder.path());
    cycles(&mut controller, &world, 3).await;
    assert_eq!(world.addresses(), ["10.0.2.15/24"], "the other has its lease");
    let next = run_cycle(&mut controller, &world.store).await.unwrap();
    assert!(matches!(next, Next::After(time) if time <= Duration::from_millis(REOPEN_MS)), "{next:?}");
    // Long enough for the client to have asked in vain.
    NOW.set(NOW.get() + 20_000);
    cycles(&mut controller, &world, 2).await;
    let reason = world.store.get::<Wait>("dhcp4/broken").unwrap().value.reason.clone();
    assert!(reason.contains("no socket for DHCP: out of memory"), "{reason}");
    let told = world.store.list::<crate::resources::Event>();
    assert_eq!(told.iter().filter(|event| event.value.message.contains("no socket")).count(), 1, "said once");

    BROKEN.set(0);
    NOW.set(NOW.get() + REOPEN_MOST_MS);
    cycles(&mut controller, &world, 3).await;
    assert_eq!(world.addresses().len(), 2);
    assert!(world.store.list::<Wait>().is_empty());
}

#[tokio::test]
async fn a_link_that_shall_not_ask_has_no_client() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    let mut controller = world.controller(folder.path());
    cycles(&mut controller, &world, 3).await;
    world.specs.put(
        "eth0",
        LinkSpec { up: true, mtu: None, dhcp4: false, accept_ra: true, metric: 1026, ..LinkSpec::default() },
    );
    cycles(&mut controller, &world, 1).await;
    assert!(world.addresses().is_empty());
}
