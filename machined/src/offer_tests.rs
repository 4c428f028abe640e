use api::pki::Ca;
use config::kinds::Api as ApiDocument;

use super::*;
use crate::resources::config_status::State;

fn api(accept: &[&Ca], rescue: Option<&Ca>) -> Arc<Active> {
    let accept = accept.iter().map(|ca| config::kinds::Accepted { name: None, certificate: ca.certificate().pem() });
    let rescue = rescue.map(|ca| ca.certificate().pem());
    let api = ApiDocument { accept: accept.collect(), rescue, ..ApiDocument::default() };
    let text = serde_json::json!([api]).to_string();
    let fields: serde_json::Value = serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap().remove(0);
    let mut document = serde_json::json!({ "apiVersion": "stele/v1", "kind": "Api" });
    document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let stream = config::parse(&document.to_string()).unwrap();
    let looking = Active::looking();
    Arc::new(Active { state: State::Blessed, revision: Some(1), documents: Arc::new(stream.documents), ..looking })
}

fn sources(door: Maintenance, active: Arc<Active>, rescue: Option<&Ca>) -> Sources {
    let meta = meta::Handle::new("boot");
    Sources {
        door: watch::Sender::new(door).subscribe(),
        identity: watch::Sender::new(Arc::new(Identity::make().unwrap())).subscribe(),
        node: watch::Sender::new(Now::None).subscribe(),
        active: watch::Sender::new(active).subscribe(),
        meta,
        mark: PathBuf::from("/nowhere"),
        until: Instant::now() + LOOKING,
        own: Own::default(),
        rescue: rescue.map(|ca| ca.certificate().clone()),
        clock_sure: watch::Sender::new(false).subscribe(),
    }
}

fn accepted(offer: &Offer) -> Vec<(Vec<u8>, bool)> {
    let Offer::Keys(keys) = offer else { panic!("{offer:?}") };
    keys.accepted.iter().map(|one| (one.der.clone(), one.rescue)).collect()
}

fn der(ca: &Ca) -> Vec<u8> {
    ca.certificate().der().to_vec()
}

#[test]
fn strangers_come_in_by_an_open_door_alone() {
    let (ca, rescue) = (Ca::make("ca").unwrap(), Ca::make("rescue").unwrap());
    let nothing = Arc::new(Active::looking());
    assert_eq!(accepted(&sources(Maintenance::Open, nothing.clone(), Some(&rescue)).now()), []);
    let closed = || Maintenance::Closed("torn".into());
    assert_eq!(sources(closed(), nothing.clone(), None).now(), Offer::Nothing("torn".into()));
    // Configured, but the documents are not here yet.
    assert!(matches!(sources(Maintenance::Configured, nothing.clone(), Some(&rescue)).now(), Offer::Later(_)));

    let shut = sources(closed(), nothing, Some(&rescue));
    let own = shut.own.authority().unwrap();
    assert_eq!(accepted(&shut.now()), [(der(&rescue), true), (own, false)]);

    let configured = sources(Maintenance::Configured, api(&[&ca], Some(&rescue)), None);
    let own = configured.own.authority().unwrap();
    assert_eq!(accepted(&configured.now()), [(der(&ca), false), (der(&rescue), true), (own, false)]);
    // STATE was not looked at yet: who has keys serves on with them.
    let early = Sources { node: watch::Sender::new(Now::Unknown).subscribe(), ..configured };
    assert!(matches!(early.now(), Offer::Later(_)));
}

#[tokio::test]
async fn the_rescue_that_meta_remembers_comes_in_when_state_cannot_be_read() {
    let rescue = Ca::make("rescue").unwrap();
    let shut = sources(Maintenance::Closed("torn".into()), Arc::new(Active::looking()), None);
    let pem = rescue.certificate().pem();
    shut.meta.update(|record| record.rescue = Some(pem)).await.unwrap();
    assert!(accepted(&shut.now()).contains(&(der(&rescue), true)));
    let looking = Sources { door: watch::Sender::new(Maintenance::looking()).subscribe(), ..shut };
    assert!(accepted(&looking.now()).contains(&(der(&rescue), true)), "nobody has configured it");
    looking.meta.update(|record| record.configured = true).await.unwrap();
    assert!(matches!(looking.now(), Offer::Later(_)));
    let looking = Sources { until: Instant::now(), ..looking };
    assert!(accepted(&looking.now()).contains(&(der(&rescue), true)), "not for ever");
    let shut = Sources { door: watch::Sender::new(Maintenance::Closed("torn".into())).subscribe(), ..looking };
    shut.meta.update(|record| record.rescue = Some("damaged".into())).await.unwrap();
    assert_eq!(shut.now(), Offer::Nothing("torn".into()));
}
