use api::pki::Key;
use reconcile::{Store, run_cycle};

use super::*;
use crate::{resources::Event, resources::config_status::State, state};

struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
    active: watch::Sender<Arc<Active>>,
    machine: watch::Sender<Machine>,
    clock_sure: watch::Sender<bool>,
    node: node::Handle,
    controller: Certificates,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new();
    let events = Events::open(&store, folder.path().join("events")).unwrap();
    let active = watch::Sender::new(Arc::new(Active::looking()));
    let machine = watch::Sender::new(Machine { hostname: "node-1".into(), ..Machine::default() });
    let (clock_sure, state) = (watch::Sender::new(true), state::Handle::new());
    let node = node::Handle::new(state.clone(), folder.path(), clock_sure.subscribe());
    state.put(state::State::None("a test".into()));
    let controller = Certificates::new(World {
        active: active.subscribe(),
        node: node.clone(),
        machine: machine.subscribe(),
        clock_sure: clock_sure.subscribe(),
        events,
        rescue: None,
    });
    Fixture { _folder: folder, store, active, machine, clock_sure, node, controller }
}

impl Fixture {
    /// A configuration in effect; with an authority, its key is among the secrets.
    fn configure(&self, accept: &Ca, authority: Option<&Ca>, key: Option<&Key>) {
        self.configure_for("api.example", accept, authority, key);
    }

    /// With these subjectNames.
    fn configure_for(&self, names: &str, accept: &Ca, authority: Option<&Ca>, key: Option<&Key>) {
        let indent = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
        let mut text = format!(
            "apiVersion: stele/v1\nkind: Api\naccept:\n- certificate: |\n{}subjectNames: [{names}]\n",
            indent(&accept.certificate().pem())
        );
        if let Some(ca) = authority {
            let pem = indent(&ca.certificate().pem());
            text += &format!("---\napiVersion: stele/v1\nkind: Authority\nsecret: api-ca\ncertificate: |\n{pem}");
        }
        if let Some(key) = key {
            let pem: String = key.pem().lines().map(|line| format!("      {line}\n")).collect();
            text += &format!("---\napiVersion: stele/v1\nkind: Secrets\nsecrets:\n  api-ca:\n    key: |\n{pem}");
        }
        let stream = config::parse(&text).unwrap();
        self.active.send_replace(Arc::new(Active {
            state: State::Blessed,
            revision: Some(3),
            documents: Arc::new(stream.documents),
            secrets: Arc::new(stream.secrets.unwrap_or_default()),
            ..Active::looking()
        }));
    }

    fn address(&self, text: &str) {
        let address = Address {
            link: "eth0".into(),
            address: text.parse().unwrap(),
            scope: AddressScope::Global,
            document: None,
            origin: AddressOrigin::Stele,
            tentative: false,
            deprecated: false,
        };
        self.store.shared_writer::<Address>("test").unwrap().put(text, address).unwrap();
    }

    /// Once the identity is known.
    async fn cycle(&mut self) -> Next {
        let node = self.node.clone();
        let mut known = self.node.watch();
        tokio::select! {
            () = node.follow() => unreachable!(),
            _ = known.wait_for(|now| !matches!(now, node::Now::Unknown)) => {}
        }
        run_cycle(&mut self.controller, &self.store).await.unwrap()
    }

    fn own(&self) -> Option<Arc<Certificate>> {
        self.store.get::<Certificate>(Certificate::API).map(|found| found.value)
    }

    fn condition(&self, id: &str) -> Arc<Condition> {
        self.store.get::<Condition>(id).unwrap().value
    }

    fn warnings(&self) -> Vec<String> {
        self.store.list::<Event>().into_iter().map(|event| event.value.message.clone()).collect()
    }
}

#[tokio::test]
async fn a_machine_with_an_authority_signs_for_all_its_names_and_again_for_new_ones() {
    let mut fixture = fixture();
    let ca = Ca::make("ca").unwrap();
    fixture.configure(&ca, Some(&ca), Some(ca.key()));
    fixture.address("192.0.2.7/24");
    fixture.cycle().await;
    let first = fixture.own().unwrap();
    assert_eq!(first.names, ["node-1", "api.example", "192.0.2.7", "localhost", "127.0.0.1", "::1"]);
    assert_eq!((first.validity, first.issuer.as_str()), (Validity::Valid, "CN=ca"));
    assert!(fixture.condition("certificate").met && fixture.condition("document/Authority").met);
    assert!(matches!(fixture.cycle().await, Next::After(_)));
    assert_eq!(fixture.own().unwrap().fingerprint, first.fingerprint, "nothing was due");

    fixture.address("2001:db8::7/64");
    fixture.machine.send_modify(|machine| machine.hostname = "node-2".into());
    fixture.cycle().await;
    let second = fixture.own().unwrap();
    assert!(second.names.contains(&"2001:db8::7".to_owned()) && second.names[0] == "node-2");
    let ids: Vec<_> = fixture.store.list::<Certificate>().into_iter().map(|found| found.id).collect();
    assert_eq!(ids, ["accepted/0", "api", "authority"]);
    let origin = fixture.store.get::<Certificate>("authority").unwrap().value.origin.clone().unwrap();
    assert_eq!((origin.document.as_str(), origin.revision), ("Authority", 3));
}

#[tokio::test]
async fn what_is_signed_before_the_clock_is_set_is_made_anew_when_it_is() {
    let mut fixture = fixture();
    let ca = Ca::make("ca").unwrap();
    fixture.clock_sure.send_replace(false);
    fixture.configure(&ca, Some(&ca), Some(ca.key()));
    fixture.cycle().await;
    let lifetime = |fixture: &Fixture| fixture.node.watch().borrow().held().unwrap().chain[0].lifetime();
    assert!(lifetime(&fixture) > 300 * DAY);
    fixture.clock_sure.send_replace(true);
    fixture.cycle().await;
    assert!(lifetime(&fixture) < 2 * DAY);
}

#[tokio::test]
async fn an_authority_without_its_key_is_said_and_nothing_is_taken_away() {
    let mut fixture = fixture();
    let (ca, other) = (Ca::make("ca").unwrap(), Ca::make("other").unwrap());
    fixture.configure(&ca, Some(&ca), Some(ca.key()));
    fixture.cycle().await;
    let before = fixture.own().unwrap().fingerprint.clone();
    fixture.configure(&ca, Some(&ca), Some(other.key()));
    fixture.cycle().await;
    let condition = fixture.condition("document/Authority");
    assert!(!condition.met && condition.reason.contains("not that of the certificate"), "{}", condition.reason);
    assert_eq!(fixture.own().unwrap().fingerprint, before);
    // Another authority: at once.
    fixture.configure(&other, Some(&other), Some(other.key()));
    fixture.cycle().await;
    assert_eq!(fixture.own().unwrap().issuer, "CN=other");
}

#[tokio::test]
async fn a_certificate_that_nobody_renews_is_told_of_in_time() {
    let mut fixture = fixture();
    let ca = Ca::make("ca").unwrap();
    fixture.configure(&ca, None, None);
    fixture.cycle().await;
    assert!(fixture.own().is_none());
    let condition = fixture.condition("certificate");
    assert!(!condition.met && !condition.required && condition.reason.contains("nobody has signed"));
    for (age, validity) in [(0, Validity::Valid), (320, Validity::EndsSoon)] {
        let request = fixture.node.request().await.unwrap();
        assert!(request.names.contains(&"node-1".to_owned()));
        let at = SystemTime::now() - age * DAY;
        let signed = ca
            .sign_node_at(&request, &Node { names: vec!["node-1".into(), "api.example".into()], ttl: 365 * DAY }, at)
            .unwrap();
        fixture.node.install(&signed.pem()).await.unwrap();
        fixture.cycle().await;
        assert_eq!(fixture.own().unwrap().validity, validity);
        let told = fixture.warnings().iter().filter(|text| text.contains("cert renew --node --secrets FILE")).count();
        assert_eq!(told, usize::from(validity == Validity::EndsSoon), "{:?}", fixture.warnings());
        assert_eq!(fixture.condition("certificate").met, validity == Validity::Valid);
    }
    let told = fixture.warnings().len();
    fixture.cycle().await;
    assert_eq!(fixture.warnings().len(), told, "once a day");
}

#[tokio::test]
async fn in_maintenance_there_is_nothing_to_show() {
    let mut fixture = fixture();
    assert_eq!(fixture.cycle().await, Next::Unready);
    fixture.active.send_replace(Arc::new(Active::nothing(State::Unconfigured)));
    fixture.address("192.0.2.7/24");
    fixture.cycle().await;
    assert!(fixture.store.list::<Certificate>().is_empty());
    let request = fixture.node.request().await.unwrap();
    assert!(request.names.contains(&"192.0.2.7".to_owned()), "the first request asks for the names there are");
}

#[tokio::test]
async fn names_that_a_certificate_has_otherwise_or_no_room_for_are_signed_once() {
    let ca = Ca::make("ca").unwrap();
    let many = (0..node::NAMES + 3).map(|n| format!("n{n}.example")).collect::<Vec<_>>().join(", ");
    for (names, has) in [("\"2001:DB8:0::7\", \"::FFFF:192.0.2.1\"", "2001:db8::7"), (&many, "n7.example")] {
        let mut fixture = fixture();
        fixture.configure_for(names, &ca, Some(&ca), Some(ca.key()));
        fixture.cycle().await;
        let first = fixture.own().unwrap();
        assert!(first.names.iter().any(|name| name == has) && first.names.len() <= node::NAMES, "{:?}", first.names);
        // As if it had been signed long ago.
        fixture.controller.signed = None;
        fixture.cycle().await;
        assert_eq!(fixture.own().unwrap().fingerprint, first.fingerprint, "{names}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_does_not_sign_again_at_once_for_the_same_reasons() {
    let mut fixture = fixture();
    let (ca, other) = (Ca::make("ca").unwrap(), Ca::make("other").unwrap());
    fixture.configure(&ca, Some(&ca), Some(ca.key()));
    assert_eq!(fixture.cycle().await, Next::After(AGAIN));
    // Whatever makes what was signed just now not good.
    fixture.node.sign(&other, &Node { names: vec!["node-1".into()], ttl: DAY }).await.unwrap();
    let Next::After(pause) = fixture.cycle().await else { panic!("it looks again") };
    assert!(pause > Duration::from_secs(1), "{pause:?}");
    assert_eq!(fixture.own().unwrap().issuer, "CN=other");
    tokio::time::advance(AGAIN).await;
    fixture.cycle().await;
    assert_eq!(fixture.own().unwrap().issuer, "CN=ca");
}

#[tokio::test]
async fn names_that_nobody_signs_for_are_said() {
    let mut fixture = fixture();
    let ca = Ca::make("ca").unwrap();
    fixture.configure(&ca, None, None);
    fixture.address("192.0.2.7/24");
    let request = fixture.node.request().await.unwrap();
    let names = [&["stele-1", "node-1", "localhost", "127.0.0.1", "::1", "api.example", "192.0.2.7"][..]].concat();
    let names = names.into_iter().map(str::to_owned).collect();
    let signed = ca.sign_node(&request, &Node { names, ttl: 30 * DAY }).unwrap();
    fixture.node.install(&signed.pem()).await.unwrap();
    fixture.cycle().await;
    let machine = fixture.machine.borrow().clone();
    let own = fixture.own().unwrap();
    assert!(own.names.contains(&machine.hostname), "{own:?}");
    assert!(fixture.condition("certificate").met, "{:?}", fixture.condition("certificate"));
    fixture.address("192.0.2.8/24");
    fixture.cycle().await;
    assert!(fixture.condition("certificate").met, "it is still reached by the other one");
    fixture.store.shared_writer::<Address>("test").unwrap().remove("192.0.2.7/24").unwrap();
    fixture.cycle().await;
    let condition = fixture.condition("certificate");
    assert!(!condition.met && condition.reason.contains("is not for 192.0.2.8"), "{condition:?}");
}
