//! The secrets bundle: a file with a document `kind: Secrets`, from which the operator signs.
//!
//! Invariant: only its owner can read it, it is written as a whole, and nothing of its keys is ever shown.

use std::path::{Path, PathBuf};

use api::{
    pki::{self, Ca, Client, Key},
    roles::Role,
};
use config::{Private, Secrets};

use crate::{
    exit::{Code, Failure, Result},
    secret,
    settings::Secret,
};

/// The authority of nodes and clients, by the name under which documents refer to it.
pub(crate) const API: &str = "api-ca";

/// The authority of the way in when everything else fails.
pub(crate) const RESCUE: &str = "rescue-ca";

/// Written above the secrets.
const HEAD: &str = "\
# Secrets of Stele machines. Whoever has the keys in here has the machines: this file belongs into no version control.
# Documents refer to a secret by its name; `apictl apply-config --secrets` sends a node those that its documents name.
";

/// Written above a file that holds the rescue authority alone.
const RESCUE_HEAD: &str = "\
# The rescue authority of Stele machines: what it signs is let in whatever their documents say (for 24 h at most). Keep it
# offline. To get in: apictl cert new --rescue --secrets THIS-FILE
";

/// A bundle and where it is.
#[derive(Debug)]
pub(crate) struct Bundle {
    path: PathBuf,
    pub(crate) secrets: Secrets,
}

/// A client's certificate with its key.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) certificate: pki::Certificate,
    pub(crate) key: Secret,
}

impl Bundle {
    /// Reads it.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let place = path.display();
        let text = secret::read(path)?;
        let stream = config::parse(text.reveal()).map_err(|problems| {
            // Without the lines of the file: they hold keys.
            Failure::usage(format!("{place}: {problems}"), "apictl gen secrets makes such a file")
        })?;
        let secrets = stream.secrets.ok_or_else(|| {
            Failure::usage(format!("{place} holds no document of kind Secrets"), "apictl gen secrets makes such a file")
        })?;
        Ok(Self { path: path.to_owned(), secrets })
    }

    /// Writes it in place of the old one.
    pub(crate) fn save(&self) -> Result {
        secret::replace(&self.path, &text(&self.secrets))
    }

    /// With another secret under this name; the file stays as it is.
    pub(crate) fn with(&self, name: &str, secret: config::Secret) -> Self {
        let mut secrets = self.secrets.clone();
        secrets.secrets.insert(name.to_owned(), secret);
        Self { path: self.path.clone(), secrets }
    }

    /// The authority with its key.
    pub(crate) fn ca(&self, name: &str) -> Result<Ca> {
        let place = format!("{}: {name}", self.path.display());
        let secret = self.secrets.get(name);
        let certificate = secret.and_then(|secret| secret.certificate.as_deref());
        let key = secret.and_then(|secret| secret.key.as_ref());
        let (Some(certificate), Some(key)) = (certificate, key) else {
            let what = if certificate.is_some() { "the key of" } else { "the authority" };
            let remedy = "give the file that has it: gen secrets writes the rescue key to rescue.yaml, or where --rescue-out says";
            return Err(Failure::usage(format!("{} does not hold {what} {name}", self.path.display()), remedy));
        };
        Ca::load(certificate, key.as_str()).map_err(|error| Failure::usage(format!("{place}: {error}"), ""))
    }

    /// The certificate of an authority, PEM, with or without its key.
    pub(crate) fn certificate(&self, name: &str) -> Option<&str> {
        self.secrets.get(name)?.certificate.as_deref()
    }

    /// Whether it can sign as this authority.
    pub(crate) fn signs(&self, name: &str) -> bool {
        self.secrets.get(name).is_some_and(|secret| secret.certificate.is_some() && secret.key.is_some())
    }
}

/// New authorities.
pub(crate) fn make() -> Result<Secrets> {
    let mut secrets = Secrets::default();
    for (name, called) in [(API, "Stele API"), (RESCUE, "Stele rescue")] {
        secrets.secrets.insert(name.into(), of(&Ca::make(called).map_err(failed)?));
    }
    Ok(secrets)
}

/// An authority as the bundle keeps it.
pub(crate) fn of(ca: &Ca) -> config::Secret {
    let key = Private::from(ca.key().pem().as_str().to_owned());
    config::Secret { certificate: Some(ca.certificate().pem()), key: Some(key), ..config::Secret::default() }
}

/// The file's text.
pub(crate) fn text(secrets: &Secrets) -> String {
    let rescue_alone = secrets.secrets.keys().all(|name| name == RESCUE);
    format!("{}{}", if rescue_alone { RESCUE_HEAD } else { HEAD }, secrets.format())
}

/// Makes a key and signs a certificate for it; with the rescue's authority one that nodes take from it.
pub(crate) fn issue(ca: &Ca, client: &Client, rescue: bool) -> Result<Issued> {
    let key = Key::make().map_err(failed)?;
    let request = key.request(&client.common_name, &[]).map_err(failed)?;
    let signed = if rescue { ca.sign_rescue(&request, client) } else { ca.sign_client(&request, client) };
    Ok(Issued { certificate: signed.map_err(failed)?, key: Secret::from(key.pem().as_str().to_owned()) })
}

/// A certificate of an administrator, as `gen config` makes it.
pub(crate) fn administrator(ca: &Ca, ttl: std::time::Duration) -> Result<Issued> {
    issue(ca, &Client { common_name: person(), role: Role::Admin, ttl }, false)
}

/// Who sits here, for the certificate's name.
pub(crate) fn person() -> String {
    let named = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let right = |name: &String| !name.is_empty() && name.chars().count() <= 64 && !name.chars().any(char::is_control);
    named.filter(right).unwrap_or_else(|| "admin".into())
}

/// What cannot be made or signed.
pub(crate) fn failed(error: pki::Error) -> Failure {
    Failure::new(Code::Failed, error.to_string(), "")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_made_is_read_and_signs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.yaml");
        secret::create(&path, &text(&make().unwrap())).unwrap();
        let bundle = Bundle::load(&path).unwrap();
        let issued = administrator(&bundle.ca(API).unwrap(), Duration::from_secs(3600)).unwrap();
        assert_eq!(issued.certificate.roles(), [Role::Admin]);
        assert!(api::connect::Identity::from_pem(&issued.certificate.pem(), issued.key.reveal()).is_ok());
        let long = Client { common_name: "a".into(), role: Role::Admin, ttl: Duration::from_secs(90_000) };
        assert!(issue(&bundle.ca(RESCUE).unwrap(), &long, true).unwrap_err().message.contains("24 h"));
    }

    #[test]
    fn a_key_that_is_elsewhere_is_missed_by_name() {
        let mut secrets = make().unwrap();
        secrets.secrets.get_mut(RESCUE).unwrap().key = None;
        let bundle = Bundle { path: "s.yaml".into(), secrets };
        let missing = bundle.ca(RESCUE).unwrap_err();
        assert!(missing.message.contains("the key of rescue-ca"), "{}", missing.message);
        assert!(bundle.certificate(RESCUE).is_some() && !bundle.signs(RESCUE) && bundle.signs(API));
        assert!(!format!("{bundle:?}").contains("PRIVATE"));
    }
}
