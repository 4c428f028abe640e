//! What a certificate's holder may be: the Organizations that nodes know.
//!
//! Invariant: a role and its Organization are one to one, and case counts. Which methods a role may call is said by
//! machined's `server::access` alone. Used by `pki`, `apictl` and machined.

use std::{fmt, str::FromStr};

/// What the holder of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Looks at everything that is no secret.
    Reader,
    /// Stops machines and does what changes no configuration, too.
    Operator,
    /// Everything.
    Admin,
    /// Takes copies of etcd.
    EtcdBackup,
    /// A node of the same authority.
    Node,
    /// machined, when it asks itself. Never issued by an authority of people.
    Probe,
}

/// No role has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no role {0:?}; there are reader, operator, admin and etcd-backup")]
pub struct Unknown(String);

impl Role {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Reader, Self::Operator, Self::Admin, Self::EtcdBackup, Self::Node, Self::Probe];

    /// Those that people get certificates for.
    pub const CLIENTS: [Self; 4] = [Self::Reader, Self::Operator, Self::Admin, Self::EtcdBackup];

    /// As people write it: "admin".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
            Self::EtcdBackup => "etcd-backup",
            Self::Node => "node",
            Self::Probe => "probe",
        }
    }

    /// As the certificate says it: "stele:admin".
    pub const fn organisation(self) -> &'static str {
        match self {
            Self::Reader => "stele:reader",
            Self::Operator => "stele:operator",
            Self::Admin => "stele:admin",
            Self::EtcdBackup => "stele:etcd-backup",
            Self::Node => "stele:node",
            Self::Probe => "stele:probe",
        }
    }

    /// What a certificate with this Organization makes its holder; none when it is none of ours.
    pub fn of_organisation(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.organisation() == text)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A role that people get, with or without `stele:`.
impl FromStr for Role {
    type Err = Unknown;

    fn from_str(text: &str) -> Result<Self, Unknown> {
        let name = text.strip_prefix("stele:").unwrap_or(text);
        Self::CLIENTS.into_iter().find(|role| role.name() == name).ok_or_else(|| Unknown(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_organisations_are_one_to_one() {
        for role in Role::ALL {
            assert_eq!(role.organisation(), format!("stele:{}", role.name()));
            assert_eq!(Role::of_organisation(role.organisation()), Some(role));
        }
        for text in ["admin", "Stele:admin", "stele:Admin", "stele:", "stele:admin "] {
            assert_eq!(Role::of_organisation(text), None, "{text}");
        }
    }

    #[test]
    fn people_get_only_roles_for_people() {
        for role in Role::CLIENTS {
            assert_eq!(role.name().parse(), Ok(role));
            assert_eq!(role.organisation().parse(), Ok(role));
        }
        for text in ["node", "stele:node", "probe", "Admin", ""] {
            assert_eq!(text.parse::<Role>(), Err(Unknown(text.to_owned())));
        }
    }
}
