//! The one table that says who may call what.
//!
//! Invariant: every method of every service has a line here (a test compares with the descriptors); what has none is not
//! implemented. Enforced by `authorise`, for every request.

use std::fmt;

use api::roles::Role;

use super::peer::Peer;
use crate::maintenance::Maintenance;

/// What a client is, as far as access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nobody we know; only in maintenance, where the gateway asks for no certificate.
    Stranger,
    /// Whose certificate has this role.
    Is(Role),
}

use Who::Stranger;

const READER: Who = Who::Is(Role::Reader);
const OPERATOR: Who = Who::Is(Role::Operator);
const ADMIN: Who = Who::Is(Role::Admin);
const BACKUP: Who = Who::Is(Role::EtcdBackup);
const NODE: Who = Who::Is(Role::Node);
const PROBE: Who = Who::Is(Role::Probe);

/// Whether it lives.
const LIVES: &[Who] = &[Stranger, READER, OPERATOR, ADMIN, BACKUP, NODE, PROBE];

/// What it is.
const WHAT: &[Who] = &[Stranger, READER, OPERATOR, ADMIN, BACKUP, NODE];

/// Reads nothing secret.
const READ: &[Who] = &[Stranger, READER, OPERATOR, ADMIN];

/// Reads what a stranger has no use for: the configuration (secrets are not in it), the shape of the API.
const KNOWN: &[Who] = &[READER, OPERATOR, ADMIN];

/// Stops the machine: in maintenance it runs nothing yet that a stranger could harm.
const STOP: &[Who] = &[Stranger, OPERATOR, ADMIN];

/// Changes which version runs, as often as there are new ones.
const UPKEEP: &[Who] = &[OPERATOR, ADMIN];

/// Changes the configuration. A stranger may give a machine its first (the engine sees to that), and put the system on a disk
/// of one that has none.
const FIRST: &[Who] = &[Stranger, ADMIN];

/// Changes it later, and reads who did what.
const CHANGE: &[Who] = &[ADMIN];

/// Renews a certificate of people and programs.
const RENEW: &[Who] = &[READER, OPERATOR, ADMIN, BACKUP];

/// Every method there is, in the order of its service.
pub const TABLE: &[(&str, &[Who])] = &[
    ("/grpc.health.v1.Health/Check", LIVES),
    ("/grpc.health.v1.Health/Watch", WHAT),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", KNOWN),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", KNOWN),
    ("/stele.v1.Audit/Entries", CHANGE),
    ("/stele.v1.Audit/Head", CHANGE),
    ("/stele.v1.Config/Apply", FIRST),
    ("/stele.v1.Config/Confirm", CHANGE),
    ("/stele.v1.Config/History", KNOWN),
    ("/stele.v1.Config/Read", KNOWN),
    ("/stele.v1.Config/Revert", CHANGE),
    ("/stele.v1.Diagnostics/Controllers", READ),
    ("/stele.v1.Enrolment/Install", CHANGE),
    ("/stele.v1.Enrolment/Renew", RENEW),
    ("/stele.v1.Enrolment/RenewNode", &[NODE]),
    ("/stele.v1.Enrolment/Request", FIRST),
    ("/stele.v1.Log/Kernel", READ),
    ("/stele.v1.Log/Service", READ),
    ("/stele.v1.Machine/CancelJob", STOP),
    ("/stele.v1.Machine/ConfirmUpgrade", UPKEEP),
    ("/stele.v1.Machine/Install", FIRST),
    ("/stele.v1.Machine/Reboot", STOP),
    ("/stele.v1.Machine/Reset", CHANGE),
    ("/stele.v1.Machine/Rollback", UPKEEP),
    ("/stele.v1.Machine/Shutdown", STOP),
    ("/stele.v1.Machine/Upgrade", UPKEEP),
    ("/stele.v1.Machine/Version", WHAT),
    ("/stele.v1.Machine/WatchPhase", READ),
    ("/stele.v1.Resource/Get", READ),
    ("/stele.v1.Resource/List", READ),
    ("/stele.v1.Resource/Types", READ),
    ("/stele.v1.Resource/Watch", READ),
];

/// Those that answer with a stream, for as long as their client likes.
const STREAMS: &[&str] = &[
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/stele.v1.Audit/Entries",
    "/stele.v1.Log/Kernel",
    "/stele.v1.Log/Service",
    "/stele.v1.Machine/WatchPhase",
    "/stele.v1.Resource/List",
    "/stele.v1.Resource/Watch",
];

/// Those that change something: recorded durably before they are answered.
const CHANGES: &[&str] = &[
    "/stele.v1.Config/Apply",
    "/stele.v1.Config/Confirm",
    "/stele.v1.Config/Revert",
    "/stele.v1.Enrolment/Install",
    "/stele.v1.Enrolment/Renew",
    "/stele.v1.Enrolment/RenewNode",
    "/stele.v1.Machine/CancelJob",
    "/stele.v1.Machine/ConfirmUpgrade",
    "/stele.v1.Machine/Install",
    "/stele.v1.Machine/Reboot",
    "/stele.v1.Machine/Reset",
    "/stele.v1.Machine/Rollback",
    "/stele.v1.Machine/Shutdown",
    "/stele.v1.Machine/Upgrade",
];

/// Whether the method at `path` changes something.
pub fn changes(path: &str) -> bool {
    CHANGES.contains(&path)
}

/// Whether there is such a method.
pub fn exists(path: &str) -> bool {
    TABLE.iter().any(|(method, _)| *method == path)
}

/// Whether the method at `path` may take minutes to answer.
pub fn takes_long(path: &str) -> bool {
    path == "/stele.v1.Config/Apply"
}

/// Whether the method at `path` answers with a stream.
pub fn streams(path: &str) -> bool {
    STREAMS.contains(&path)
}

/// Why a call is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such method.
    Unknown,
    /// None of these is what the client is.
    Needs(&'static [Who]),
}

/// Whether `peer` may call the method at `path`. The gateway lets strangers in only in maintenance; that alone would be one
/// wall, and of a program that everybody talks to.
pub fn check(path: &str, peer: &Peer, maintenance: &Maintenance) -> Result<(), Refusal> {
    let (_, allowed) = TABLE.iter().find(|(method, _)| *method == path).ok_or(Refusal::Unknown)?;
    let open = *maintenance == Maintenance::Open;
    if allowed.iter().any(|who| (open || *who != Stranger) && who.is(peer)) {
        Ok(())
    } else {
        Err(Refusal::Needs(allowed))
    }
}

impl Who {
    fn is(self, peer: &Peer) -> bool {
        match (&peer.certificate, self) {
            (None, Stranger) => true,
            (Some(certificate), Self::Is(role)) => certificate.organisations.iter().any(|o| o == role.organisation()),
            _ => false,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stranger => "no certificate (in maintenance)",
            Self::Is(role) => role.organisation(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        sync::Arc,
    };

    use prost::Message;

    use super::*;
    use crate::gateway::preamble::Certificate;

    /// Each method, and whether it answers with a stream.
    fn methods() -> BTreeMap<String, bool> {
        let sets = [
            api::v1::DESCRIPTORS,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
            tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
        ];
        let mut methods = BTreeMap::new();
        for set in sets {
            for file in prost_types::FileDescriptorSet::decode(set).unwrap().file {
                for service in &file.service {
                    for method in &service.method {
                        let name = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                        methods.insert(name, method.server_streaming());
                    }
                }
            }
        }
        methods
    }

    #[test]
    fn every_method_has_exactly_one_line() {
        let listed: Vec<_> = TABLE.iter().map(|(method, _)| (*method).to_owned()).collect();
        let described: Vec<_> = methods().into_keys().collect();
        assert_eq!(listed, described, "left: the table (keep it sorted); right: the descriptors");
    }

    #[test]
    fn every_stream_is_known_as_one() {
        let described: Vec<_> = methods().into_iter().filter_map(|(name, streams)| streams.then_some(name)).collect();
        assert_eq!(STREAMS, described, "left: the table (keep it sorted); right: the descriptors");
    }

    #[test]
    fn what_is_no_change_is_known_as_a_read() {
        let reads = [
            "Check",
            "Watch",
            "ServerReflectionInfo",
            "Entries",
            "Head",
            "History",
            "Read",
            "Controllers",
            "Request",
            "Kernel",
            "Service",
            "Version",
            "WatchPhase",
            "Get",
            "List",
            "Types",
        ];
        for (method, _) in TABLE {
            let name = method.rsplit('/').next().unwrap();
            assert!(changes(method) != reads.contains(&name), "{method}: a change, or a read?");
        }
        assert!(CHANGES.iter().all(|method| exists(method)));
    }

    #[test]
    fn health_knows_every_service_of_ours() {
        let ours = methods()
            .into_keys()
            .filter_map(|method| Some(method.strip_prefix("/stele.")?.rsplit_once('/')?.0.to_owned()));
        let ours: BTreeSet<_> = ours.map(|service| format!("stele.{service}")).chain([String::new()]).collect();
        assert_eq!(ours, super::super::health::SERVICES.into_iter().map(str::to_owned).collect());
    }

    fn peer(organisations: Option<&[&str]>) -> Peer {
        let certificate = organisations.map(|o| Certificate {
            subject: "CN=someone".into(),
            common_name: "someone".into(),
            organisations: o.iter().map(|o| (*o).to_owned()).collect(),
            fingerprint: [0; 32],
            rescue: false,
            names: vec![],
            not_before: 0,
            not_after: 0,
        });
        Peer { address: "192.0.2.1:1".parse().unwrap(), certificate: certificate.map(Arc::new) }
    }

    #[test]
    fn who_may_what() {
        let (version, reboot, apply) =
            ("/stele.v1.Machine/Version", "/stele.v1.Machine/Reboot", "/stele.v1.Config/Apply");
        let (health, renew) = ("/grpc.health.v1.Health/Check", "/stele.v1.Enrolment/RenewNode");
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        type Case<'a> = (Option<&'a [&'a str]>, &'a str, Result<(), Refusal>);
        let (upgrade, install) = ("/stele.v1.Machine/Upgrade", "/stele.v1.Machine/Install");
        let cases: [Case<'_>; 24] = [
            (None, version, Ok(())),
            (None, reboot, Ok(())),
            (None, apply, Ok(())),
            (None, reflection, Err(Refusal::Needs(KNOWN))),
            (None, "/stele.v1.Config/Read", Err(Refusal::Needs(KNOWN))),
            (None, "/stele.v1.Config/Revert", Err(Refusal::Needs(CHANGE))),
            (None, install, Ok(())),
            (None, upgrade, Err(Refusal::Needs(UPKEEP))),
            (None, "/stele.v1.Machine/Reset", Err(Refusal::Needs(CHANGE))),
            (Some(&["stele:operator"]), upgrade, Ok(())),
            (Some(&["stele:operator"]), install, Err(Refusal::Needs(FIRST))),
            (Some(&["stele:reader"]), version, Ok(())),
            (Some(&["stele:reader"]), reflection, Ok(())),
            (Some(&["stele:reader"]), reboot, Err(Refusal::Needs(STOP))),
            (Some(&["stele:operator"]), apply, Err(Refusal::Needs(FIRST))),
            (Some(&["someone", "stele:operator"]), reboot, Ok(())),
            (Some(&["Stele:Admin", "stele:admins"]), version, Err(Refusal::Needs(WHAT))),
            (Some(&[]), version, Err(Refusal::Needs(WHAT))),
            (Some(&["stele:probe"]), health, Ok(())),
            (Some(&["stele:probe"]), version, Err(Refusal::Needs(WHAT))),
            (Some(&["stele:node"]), renew, Ok(())),
            (Some(&["stele:node"]), "/stele.v1.Resource/List", Err(Refusal::Needs(READ))),
            (Some(&["stele:admin"]), renew, Err(Refusal::Needs(&[NODE]))),
            (Some(&["stele:admin"]), "/stele.v1.Machine/version", Err(Refusal::Unknown)),
        ];
        for (organisations, path, expected) in cases {
            assert_eq!(check(path, &peer(organisations), &Maintenance::Open), expected, "{organisations:?} {path}");
            // Closed, strangers may nothing; others what they may anyway.
            let expected =
                if organisations.is_none() { check(path, &peer(Some(&[])), &Maintenance::Open) } else { expected };
            let closed = check(path, &peer(organisations), &Maintenance::Configured);
            assert_eq!(closed, expected, "closed: {organisations:?} {path}");
        }
    }

    #[test]
    fn of_the_roles_of_people_each_may_what_the_one_below_it_may() {
        for (method, allowed) in TABLE.iter().filter(|(_, allowed)| allowed.contains(&READER)) {
            assert!(allowed.contains(&OPERATOR) && allowed.contains(&ADMIN), "{method}");
        }
        for (method, allowed) in TABLE.iter().filter(|(_, allowed)| allowed.contains(&OPERATOR)) {
            assert!(allowed.contains(&ADMIN), "{method}");
        }
        let probed: Vec<_> =
            TABLE.iter().filter(|(_, allowed)| allowed.contains(&PROBE)).map(|(method, _)| *method).collect();
        assert_eq!(probed, ["/grpc.health.v1.Health/Check"]);
    }
}
