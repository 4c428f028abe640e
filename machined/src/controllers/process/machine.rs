//! The status of the machine as a whole: how far it has come, and what is missing.

use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use tokio::sync::watch;

use crate::identity;
use crate::resources::address::{Address, AddressScope};
use crate::resources::config_status::{ConfigStatus, State};
use crate::resources::machine::{Machine, Phase};
use crate::resources::{Condition, Wait};
use crate::served::Served;
use crate::stop;

/// What is known outside of the store.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Version of Stele.
    pub version: String,
    /// It is the recovery system.
    pub recovery: bool,
    /// Who this machine is.
    pub identity: watch::Receiver<identity::Machine>,
    /// By what the API is served; its certificate's fingerprint is shown.
    pub served: watch::Receiver<Served>,
    /// Whether the machine is on its way down.
    pub stop: watch::Receiver<stop::State>,
}

/// `process/machine`.
pub struct Status {
    outside: Outside,
}

impl Status {
    /// Shows the machine.
    pub fn new(outside: Outside) -> Self {
        Self { outside }
    }
}

/// What a phase says of itself beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stop {
    cause: String,
    step: String,
}

/// The phase: a stop is never taken back; without every condition the machine still boots, but for the recovery system, which is
/// there for what is not as it should be.
fn phase(stop: Option<&Stop>, unmet: &[String], config: State, recovery: Option<bool>) -> Phase {
    match (stop, config) {
        (Some(_), _) => Phase::Stopping,
        _ if recovery == Some(true) => Phase::Recovery,
        _ if recovery == Some(false) => Phase::Booting,
        (None, State::Looking | State::Unreadable) => Phase::Booting,
        _ if !unmet.is_empty() => Phase::Booting,
        (None, State::Unconfigured) => Phase::Maintenance,
        (None, State::Proving | State::Reached | State::Blessed) => Phase::Running,
    }
}

/// Why the machine has not booted yet.
fn unmet(conditions: &[(String, Condition)]) -> Vec<String> {
    let mut unmet: Vec<String> = conditions
        .iter()
        .filter(|(_, condition)| condition.required && !condition.met)
        .map(|(_, condition)| condition.reason.clone())
        .collect();
    // Without it the machine has not booted, whatever the others say.
    if !conditions.iter().any(|(id, _)| id == Condition::API) {
        unmet.push("the API has not started yet".into());
    }
    unmet
}

/// Addresses others can use, link-local ones last.
fn addresses(mut all: Vec<Address>) -> Vec<String> {
    all.retain(Address::usable);
    all.sort_by(|a, b| {
        let key = |address: &Address| (address.scope, address.link.clone(), address.address.addr().is_ipv6());
        key(a).cmp(&key(b))
    });
    all.iter()
        .map(|address| match address.scope {
            AddressScope::Link => {
                format!("{}%{}/{}", address.address.addr(), address.link, address.address.prefix_len())
            }
            _ => address.address.to_string(),
        })
        .collect()
}

impl Controller for Status {
    const NAME: &'static str = "process/machine";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.watch::<Condition>();
        ports.watch::<Wait>();
        ports.watch::<Address>();
        ports.watch::<ConfigStatus>();
        ports.own::<Machine>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        let stop = match &*self.outside.stop.borrow_and_update() {
            stop::State::Running => None,
            stop::State::Stopping { request, step } => Some(Stop { cause: request.cause.clone(), step: step.clone() }),
        };
        let identity = self.outside.identity.borrow_and_update().clone();
        let fingerprint = self.outside.served.borrow_and_update().fingerprint.clone();
        let conditions: Vec<_> =
            cx.list::<Condition>()?.into_iter().map(|found| (found.id, (*found.value).clone())).collect();
        let waits = cx.list::<Wait>()?;
        let config = cx.get::<ConfigStatus>(ConfigStatus::ID)?;
        let state = config.as_ref().map_or(State::Looking, |config| config.value.state);
        let mut unmet = unmet(&conditions);
        if let (State::Looking | State::Unreadable, Some(config)) = (state, &config) {
            unmet.push(format!("the configuration: {}", config.value.reason));
        }
        let answers = conditions.iter().any(|(id, one)| id == Condition::API && one.met);
        let phase = phase(stop.as_ref(), &unmet, state, self.outside.recovery.then_some(answers));
        let Stop { cause, step } = stop.unwrap_or_default();
        let machine = Machine {
            phase,
            unmet,
            waits: waits.iter().map(|wait| format!("{}: {}", wait.value.what, wait.value.reason)).collect(),
            step,
            cause,
            version: self.outside.version.clone(),
            machine_id: identity.machine_id,
            boot_id: identity.boot_id,
            hostname: identity.hostname,
            fingerprint,
            addresses: addresses(cx.list::<Address>()?.into_iter().map(|found| (*found.value).clone()).collect()),
        };
        cx.put(Machine::ID, machine)?;
        Ok(Next::OnChange)
    }

    async fn wake(&mut self) {
        let Outside { identity, served, stop, .. } = &mut self.outside;
        // A sender that is gone changes nothing any more.
        tokio::select! {
            Ok(()) = identity.changed() => {}
            Ok(()) = served.changed() => {}
            Ok(()) = stop.changed() => {}
            else => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use reconcile::{Store, run_cycle};

    use super::*;
    use crate::resources::address::AddressOrigin;
    use crate::stop;

    fn address(link: &str, address: &str, scope: AddressScope) -> Address {
        let address = address.parse().unwrap();
        let origin = AddressOrigin::Other;
        Address { link: link.into(), address, scope, document: None, origin, tentative: false, deprecated: false }
    }

    #[tokio::test]
    async fn phases_follow_the_conditions_and_the_stop() {
        let store = Store::new();
        let conditions = store.shared_writer::<Condition>("test").unwrap();
        let unconfigured = ConfigStatus { state: State::Unconfigured, ..ConfigStatus::looking() };
        store.writer("test").unwrap().put(ConfigStatus::ID, unconfigured);
        let stopping = stop::Handle::new();
        let (_identity, identity) = watch::channel(identity::Machine::default());
        let (served, seen) = watch::channel(Served::default());
        let stop = stopping.watch();
        let mut status = Status::new(Outside { version: "1".into(), recovery: false, identity, served: seen, stop });
        let mut cycle = async || {
            run_cycle(&mut status, &store).await.unwrap();
            (*store.get::<Machine>(Machine::ID).unwrap().value).clone()
        };
        let machine = cycle().await;
        assert_eq!((machine.phase, machine.unmet.len()), (Phase::Booting, 1));
        conditions.put(Condition::API, Condition::unmet("the API does not answer")).unwrap();
        assert_eq!(cycle().await.unmet, ["the API does not answer"]);
        conditions.put(Condition::API, Condition::met("the API answers")).unwrap();
        conditions.put(Condition::NETWORK, Condition::unmet("no network card").optional()).unwrap();
        served.send_replace(Served { fingerprint: "ab".into(), ..Served::default() });
        let machine = cycle().await;
        assert_eq!((machine.phase, machine.fingerprint.as_str()), (Phase::Maintenance, "ab"));
        stopping.request(stop::Request::new(stop::Action::Reboot, "because"));
        stopping.step("unmounting");
        let machine = cycle().await;
        assert_eq!(
            (machine.phase, machine.step.as_str(), machine.cause.as_str()),
            (Phase::Stopping, "unmounting", "because")
        );
    }

    #[test]
    fn the_recovery_system_says_that_it_is_one_whatever_is_missing() {
        let unmet = ["service x: is not there".to_owned()];
        let of = |recovery| phase(None, &unmet, State::Unreadable, recovery);
        assert_eq!([of(None), of(Some(false)), of(Some(true))], [Phase::Booting, Phase::Booting, Phase::Recovery]);
        assert_eq!(phase(Some(&Stop::default()), &unmet, State::Blessed, Some(true)), Phase::Stopping);
    }

    #[test]
    fn link_local_addresses_come_last_with_their_link() {
        let all = vec![
            address("eth0", "fe80::1/64", AddressScope::Link),
            address("lo", "127.0.0.1/8", AddressScope::Host),
            address("eth1", "10.1.0.1/24", AddressScope::Global),
            address("eth0", "fec0::2/64", AddressScope::Global),
            address("eth0", "10.0.2.15/24", AddressScope::Global),
        ];
        assert_eq!(addresses(all), ["10.0.2.15/24", "fec0::2/64", "10.1.0.1/24", "fe80::1%eth0/64"]);
    }
}
