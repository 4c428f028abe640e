//! Certificates over the API of a configured machine, by real connections.

use api::{
    connect::{Authorities, Identity as Shown},
    pki::{Ca, Certificate, Client, Key},
    roles::Role,
    v1::enrolment_client::EnrolmentClient,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;
use crate::resources::config_status::State;

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) struct Cas {
    pub(super) ca: Ca,
    rescue: Ca,
}

/// A configured machine that lets in clients of `ca`, and signs with it unless it has no authority.
pub(super) async fn configured(authority: bool) -> (Node, Cas) {
    let node = node().await;
    let cas = Cas { ca: Ca::make("ca").unwrap(), rescue: Ca::make("rescue").unwrap() };
    let indent = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let (ca, rescue) = (indent(&cas.ca.certificate().pem()), indent(&cas.rescue.certificate().pem()));
    let mut text = format!("apiVersion: stele/v1\nkind: Api\naccept:\n- certificate: |\n{ca}rescue: |\n{rescue}");
    if authority {
        let key = indent(&cas.ca.key().pem()).replace("    ", "      ");
        text += &format!("---\napiVersion: stele/v1\nkind: Authority\nsecret: api-ca\ncertificate: |\n{ca}");
        text += &format!("---\napiVersion: stele/v1\nkind: Secrets\nsecrets:\n  api-ca:\n    key: |\n{key}");
    }
    let stream = ::config::parse(&text).unwrap();
    node.active.send_replace(Arc::new(configuration::Active {
        state: State::Blessed,
        revision: Some(1),
        documents: Arc::new(stream.documents),
        secrets: Arc::new(stream.secrets.unwrap_or_default()),
        ..configuration::Active::looking()
    }));
    node.maintenance.send_replace(Maintenance::Configured);
    (node, cas)
}

fn shown(key: &Key, certificate: &Certificate) -> Shown {
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.der().to_vec()));
    Shown::from_der(vec![CertificateDer::from(certificate.der().to_vec())], private).unwrap()
}

pub(super) fn client(ca: &Ca, role: Role) -> Shown {
    client_for(ca, role, DAY).0
}

fn client_for(ca: &Ca, role: Role, ttl: Duration) -> (Shown, Certificate) {
    let key = Key::make().unwrap();
    let wanted = Client { common_name: "alice".into(), role, ttl };
    let signed = ca.sign_client(&key.request("x", &[]).unwrap(), &wanted).unwrap();
    (shown(&key, &signed), signed)
}

impl Node {
    /// As this client; waits until the gateway lets it in.
    pub(super) async fn channel(&self, client: &Shown) -> Channel {
        let pin = Pin::Exact(vec![Fingerprint::of_der(&self.shown.borrow().certificate)]);
        let endpoint: api::endpoint::Endpoint = self.address.to_string().parse().unwrap();
        let connector = Connector::new(endpoint, pin).client(Some(client.clone()));
        let connected = async {
            loop {
                // Right after the change of its terms.
                if let Ok(channel) = connector.connect().await {
                    return channel;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, connected).await.unwrap()
    }

    async fn enrol(&self, client: &Shown) -> EnrolmentClient<Channel> {
        EnrolmentClient::new(self.channel(client).await)
    }
}

fn reason(status: &tonic::Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn a_client_renews_what_it_has_and_no_more() {
    let (node, cas) = configured(true).await;
    for role in Role::CLIENTS {
        let mut enrolment = node.enrol(&client_for(&cas.ca, role, 60 * DAY).0).await;
        let key = Key::make().unwrap();
        // What it asks for in the request counts for nothing.
        let request = key.request("root", &["kubernetes".into()]).unwrap().pem();
        let answer = enrolment.renew(v1::RenewRequest { request }).await.unwrap().into_inner();
        let chain = Certificate::chain(&answer.certificate).unwrap();
        assert!(chain[0].is_of(&key) && chain[0].is_signed_by(cas.ca.certificate()));
        assert_eq!((chain[0].common_name.as_str(), chain[0].roles()), ("alice", vec![role]));
        let left = chain[0].left(std::time::SystemTime::now());
        assert!(left > 29 * DAY && left <= 30 * DAY, "720 h, as the document says");
        assert!(Authorities::from_pem(&answer.accepted).is_ok());
        // The new one is let in.
        node.enrol(&shown(&key, &chain[0])).await;
    }
    let mut enrolment = node.enrol(&client(&cas.ca, Role::Admin)).await;
    let wrong = enrolment.renew(v1::RenewRequest { request: "nonsense".into() }).await.unwrap_err();
    assert_eq!(reason(&wrong), "INVALID_ARGUMENT");
    let request = Key::make().unwrap().request("x", &[]).unwrap().pem();
    let node_only = enrolment.renew_node(v1::RenewRequest { request: request.clone() }).await.unwrap_err();
    assert_eq!(reason(&node_only), "ROLE_MISSING");
    let key = Key::make().unwrap();
    let wanted = Client { common_name: "x".into(), role: Role::Admin, ttl: DAY };
    let rescued = shown(&key, &cas.rescue.sign_rescue(&key.request("x", &[]).unwrap(), &wanted).unwrap());
    let refused = node.enrol(&rescued).await.renew(v1::RenewRequest { request }).await.unwrap_err();
    assert_eq!(reason(&refused), "NOT_RENEWED", "{refused:?}");
    let told = std::fs::read_to_string(node.path("events")).unwrap();
    assert!(told.contains("RESCUE: ") && told.contains("renewed for"), "{told}");
}

#[tokio::test]
async fn what_was_given_for_an_hour_is_renewed_for_an_hour_however_often() {
    let (node, cas) = configured(true).await;
    let hour = Duration::from_secs(3600);
    let (mut has, mut old) = client_for(&cas.ca, Role::Admin, hour);
    for _ in 0..3 {
        let key = Key::make().unwrap();
        let request = key.request("x", &[]).unwrap().pem();
        let answer = node.enrol(&has).await.renew(v1::RenewRequest { request }).await.unwrap().into_inner();
        let new = Certificate::chain(&answer.certificate).unwrap().remove(0);
        let left = new.left(std::time::SystemTime::now());
        assert!(left <= hour && left > hour / 2, "{left:?}");
        let told = std::fs::read_to_string(node.path("events")).unwrap();
        assert!(told.contains(&format!("{} beside {}", new.fingerprint(), old.fingerprint())), "{told}");
        (has, old) = (shown(&key, &new), new);
    }
}

#[tokio::test]
async fn a_node_renews_with_its_names_and_no_others() {
    let (node, cas) = configured(true).await;
    let own = Key::make().unwrap();
    let names = vec!["node-2".to_owned(), "192.0.2.2".to_owned()];
    let wanted = api::pki::Node { names: names.clone(), ttl: DAY };
    let present = cas.ca.sign_node(&own.request("x", &[]).unwrap(), &wanted).unwrap();
    let mut enrolment = node.enrol(&shown(&own, &present)).await;
    for asked in [vec![], names.clone()] {
        let key = Key::make().unwrap();
        let request = key.request("x", &asked).unwrap().pem();
        let answer = enrolment.renew_node(v1::RenewRequest { request }).await.unwrap().into_inner();
        let chain = Certificate::chain(&answer.certificate).unwrap();
        assert!(chain[0].is_of(&key) && chain[0].server && chain[0].names == names, "{:?}", chain[0].names);
        assert_eq!(chain[0].roles(), [Role::Node]);
        assert!(chain[0].lifetime() <= present.lifetime() + Duration::from_secs(1), "{:?}", chain[0].lifetime());
    }
    let more = [names, vec!["node-1".into()]].concat();
    let request = Key::make().unwrap().request("x", &more).unwrap().pem();
    let refused = enrolment.renew_node(v1::RenewRequest { request: request.clone() }).await.unwrap_err();
    assert!(refused.message().contains("node-1"), "{}", refused.message());
    assert_eq!(reason(&enrolment.renew(v1::RenewRequest { request }).await.unwrap_err()), "ROLE_MISSING");
}

#[tokio::test]
async fn a_machine_without_an_authority_says_so_and_takes_what_was_signed_for_it() {
    let (node, cas) = configured(false).await;
    let mut enrolment = node.enrol(&client(&cas.ca, Role::Admin)).await;
    let request = Key::make().unwrap().request("x", &[]).unwrap().pem();
    let refused = enrolment.renew(v1::RenewRequest { request }).await.unwrap_err();
    assert_eq!(reason(&refused), "NO_AUTHORITY");
    let asked = enrolment.request(v1::EnrolmentRequestRequest {}).await.unwrap().into_inner();
    let request = api::pki::Request::from_pem(&asked.request).unwrap();
    let wanted = api::pki::Node { names: vec!["node-1".into()], ttl: 365 * DAY };
    let signed = cas.ca.sign_node(&request, &wanted).unwrap();
    let install = |certificate| v1::InstallRequest { certificate };
    let installed = enrolment.install(install(signed.pem())).await.unwrap().into_inner();
    assert_eq!(installed.not_after_unix, signed.not_after);
    let other = cas.ca.sign_node(&Key::make().unwrap().request("x", &[]).unwrap(), &wanted).unwrap();
    let refused = enrolment.install(install(other.pem())).await.unwrap_err();
    assert_eq!(reason(&refused), "BAD_CERTIFICATE");
    // A reader may look at neither.
    let mut reader = node.enrol(&client(&cas.ca, Role::Reader)).await;
    let refused = reader.request(v1::EnrolmentRequestRequest {}).await.unwrap_err();
    assert_eq!(reason(&refused), "ROLE_MISSING");
}

#[tokio::test]
async fn a_machine_without_an_authority_is_renewed_by_one_that_has_it() {
    let (node, cas) = configured(true).await;
    let sign = |names: &[&str]| {
        let key = Key::make().unwrap();
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let wanted = api::pki::Node { names, ttl: DAY };
        let own = cas.ca.sign_node(&key.request("x", &[]).unwrap(), &wanted).unwrap();
        pki::node::Held { chain: vec![own, cas.ca.certificate().clone()], key }
    };
    node.held.send_replace(pki::node::Now::Held(Arc::new(sign(&["127.0.0.1"]))));
    let folder = tempfile::tempdir().unwrap();
    let sure = watch::Sender::new(true);
    let asks = pki::node::Handle::new(crate::state::Handle::new(), folder.path(), sure.subscribe());
    // It has other names by now; what it shows is what is renewed.
    asks.put_names(vec!["node-2".into(), "192.0.2.99".into()]);
    let (present, accepted) = (sign(&["node-2", "192.0.2.2"]), cas.ca.certificate().pem());
    let renew =
        async |from: &[String], accepted: &str| crate::controllers::pki::renew(from, accepted, &present, &asks).await;
    let place = node.address.to_string();
    let renewed = async {
        // The first is not there; the second changes its terms just now.
        while renew(&["127.0.0.1:1".into(), place.clone()], &accepted).await.is_err() {}
    };
    timeout(SOON, renewed).await.unwrap();
    let held = asks.watch().borrow().held().cloned().unwrap();
    assert_eq!(held.chain[0].names, ["node-2", "192.0.2.2"]);
    assert!(held.chain[0].is_signed_by(cas.ca.certificate()) && !held.chain[0].is_of(&present.key));
    // One that is not of an accepted authority is not even asked.
    let why = renew(&[place], &cas.rescue.certificate().pem()).await.unwrap_err();
    assert!(why.contains("not signed by an authority"), "{why}");
}
