//! `pki/access`: shows who shall be let in by the API and who is, and with what the machine shall sign. It changes nothing:
//! `offer` decides from the same documents, and the gateway obeys.

use ::api::pki::Certificate;
use config::kinds;
use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use tokio::sync::watch;

use crate::documents;
use crate::resources::api::{Api, ApiSpec};
use crate::resources::authority::AuthoritySpec;
use crate::served::Served;

/// `pki/access`.
#[derive(Debug)]
pub(super) struct Access {
    served: watch::Receiver<Served>,
}

impl Access {
    /// Of a gateway that serves so.
    pub(super) fn new(served: watch::Receiver<Served>) -> Self {
        Self { served }
    }
}

fn fingerprint(pem: &str) -> String {
    Certificate::parse(pem).map(|found| found.fingerprint().to_string()).unwrap_or_default()
}

impl Controller for Access {
    const NAME: &'static str = "pki/access";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        documents::declare(ports);
        ports.own::<ApiSpec>().own::<Api>().own::<AuthoritySpec>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        let now = self.served.borrow_and_update().clone();
        let wanted = documents::of::<kinds::Api>(cx)?.unwrap_or_default().into_iter().next();
        let origin = wanted.as_ref().map(|wanted| wanted.origin.clone());
        if let Some(documents::Configured { body, origin, .. }) = wanted {
            let spec = ApiSpec {
                accepted: body.accept.iter().map(|one| fingerprint(&one.certificate)).collect(),
                rescue: body.rescue.as_deref().map(fingerprint).unwrap_or_default(),
                allow: body.allow.iter().map(|net| net.0.to_string()).collect(),
                revoked: body.revoked.len() as u64,
                subject_names: body.subject_names,
                renew_from: body.renew_from,
                origin,
            };
            cx.put(ApiSpec::ID, spec)?;
        }
        if let Some(wanted) = documents::of::<kinds::Authority>(cx)?.unwrap_or_default().into_iter().next() {
            let (body, origin) = (wanted.body, wanted.origin);
            let fingerprint = fingerprint(&body.certificate);
            cx.put(AuthoritySpec::ID, AuthoritySpec { fingerprint, secret: body.secret, origin })?;
        }
        let Served { fingerprint, accepted, rescue, allow, revoked, open, trouble } = now;
        let api = Api { maintenance: open, fingerprint, accepted, rescue, allow, revoked, problem: trouble, origin };
        cx.put(Api::ID, api)?;
        Ok(Next::OnChange)
    }

    async fn wake(&mut self) {
        if self.served.changed().await.is_err() {
            // Nobody is left to change it.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use ::api::pki::Ca;
    use reconcile::{Store, run_cycle};
    use serde_json::json;

    use super::*;
    use crate::controllers::system::tests_support::{decide, document};

    #[tokio::test]
    async fn what_is_wanted_and_what_is_served_stand_beside_each_other() {
        let (store, ca) = (Store::new(), Ca::make("ca").unwrap());
        let (sender, served) = watch::channel(Served { open: true, ..Served::default() });
        let mut access = Access::new(served);
        run_cycle(&mut access, &store).await.unwrap();
        let now = || store.get::<Api>(Api::ID).unwrap().value;
        assert!(now().maintenance && now().origin.is_none() && store.list::<ApiSpec>().is_empty());

        let pem = ca.certificate().pem();
        let api = json!({ "accept": [{ "certificate": pem }], "allow": ["192.0.2.0/24"] });
        let authority = json!({ "certificate": pem, "secret": "api-ca" });
        decide(&store, &[document("Api", "", api), document("Authority", "", authority)]);
        let problem = "the gateway cannot use its keys: torn";
        sender.send_replace(Served { trouble: problem.into(), ..Served::default() });
        run_cycle(&mut access, &store).await.unwrap();
        let spec = store.get::<ApiSpec>(ApiSpec::ID).unwrap().value;
        let print = ca.certificate().fingerprint().to_string();
        assert_eq!((&spec.accepted, &spec.allow), (&vec![print.clone()], &vec!["192.0.2.0/24".to_owned()]));
        assert_eq!(store.get::<AuthoritySpec>(AuthoritySpec::ID).unwrap().value.fingerprint, print);
        assert_eq!(
            (now().problem.as_str(), now().origin.as_ref().map(|origin| &*origin.document)),
            (problem, Some("Api"))
        );
    }
}
