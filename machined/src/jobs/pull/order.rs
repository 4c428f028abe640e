//! What `installer pull` is told, out of the documents, their secrets, and what the machine is. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use config::image::pull::{Auth, Endpoint, Key, Limits, Login, Node, Proxy, Request, Verify};
use config::image::{Digest, Place, Reference};
use config::kinds::{self, ImagePolicy, Registry, TrustedRoots};
use config::{Documents, Secrets};
use semver::Version;

use crate::jobs::work::Failed;
use crate::resources::config_status::State;

/// What an image must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The highest version floor of what was blessed here.
    pub floor: Option<Version>,
    /// Go below it all the same.
    pub allow_downgrade: bool,
    /// Versions of the formats on the disk: `meta`, `bootState`, `state`, `esp`.
    pub formats: BTreeMap<String, u32>,
    /// Parts that are on the disk already.
    pub have: Vec<Digest>,
}

/// What it may take, and where it goes.
#[derive(Clone, Debug)]
pub(super) struct Room<'a> {
    pub(super) folder: &'a Path,
    pub(super) limits: Limits,
    pub(super) free: u64,
}

/// What runs.
#[derive(Clone, Debug)]
pub(super) struct Running<'a> {
    pub(super) architecture: &'a str,
    pub(super) version: Version,
    pub(super) state: State,
    pub(super) documents: &'a Documents,
    pub(super) secrets: &'a Secrets,
    /// Keys that the image brings.
    pub(super) keys: Vec<Key>,
}

/// The order.
pub(super) fn order(
    image: &Reference,
    running: Running<'_>,
    facts: &Facts,
    room: &Room<'_>,
) -> Result<Request, Failed> {
    let endpoints = match &image.place {
        Place::Layout { .. } => Vec::new(),
        Place::Registry { host, .. } => endpoints(host, running.documents, running.secrets)?,
    };
    let policy = running.documents.of::<ImagePolicy>().next().map(|(_, policy)| policy.clone()).unwrap_or_default();
    let keys = if policy.keys.is_empty() { running.keys } else { keys(&policy) };
    if keys.is_empty() && policy.verify == kinds::Verify::Require {
        return Err(Failed::refused(
            "signature: this machine has no key to check it with",
            "add the key that signs your images to a document ImagePolicy",
        ));
    }
    let configured = !matches!(running.state, State::Unconfigured);
    Ok(Request {
        image: image.clone(),
        endpoints,
        verify: match policy.verify {
            kinds::Verify::Require => Verify::Require,
            kinds::Verify::Warn => Verify::Warn,
        },
        keys,
        limits: room.limits,
        node: Node {
            architecture: running.architecture.to_owned(),
            version: running.version,
            floor: facts.floor.clone(),
            allow_downgrade: facts.allow_downgrade,
            schema: configured.then(|| config::API_VERSION.to_owned()),
            formats: facts.formats.clone(),
        },
        folder: room.folder.display().to_string(),
        free: room.free,
        have: facts.have.clone(),
    })
}

fn keys(policy: &ImagePolicy) -> Vec<Key> {
    let name = |i: usize| format!("ImagePolicy keys[{i}]");
    policy.keys.iter().enumerate().map(|(i, pem)| Key { name: name(i), pem: pem.clone() }).collect()
}

/// The mirrors in their order, then the registry itself.
fn endpoints(host: &str, documents: &Documents, secrets: &Secrets) -> Result<Vec<Endpoint>, Failed> {
    let all: BTreeMap<&str, &Registry> = documents
        .of::<Registry>()
        .filter_map(|(document, registry)| Some((document.name.as_deref()?, registry)))
        .collect();
    let roots: Vec<String> = documents.of::<TrustedRoots>().map(|(_, roots)| roots.certificates.clone()).collect();
    let mirrors = all.get(host).map(|registry| registry.mirrors.as_slice()).unwrap_or_default();
    let hosts = mirrors.iter().map(String::as_str).chain([host]);
    hosts.map(|host| endpoint(host, all.get(host).copied(), &roots, secrets)).collect()
}

fn endpoint(host: &str, registry: Option<&Registry>, roots: &[String], secrets: &Secrets) -> Result<Endpoint, Failed> {
    let nothing = Registry::default();
    let registry = registry.unwrap_or(&nothing);
    let auth = match &registry.secret {
        None => None,
        Some(name) => {
            let value = secrets.get(name).and_then(|secret| secret.value.clone()).ok_or_else(|| {
                let reason = format!("the secret {name}, which Registry/{host} names, has no value");
                Failed::refused(reason, "apictl apply-config -f FILE --secrets FILE, with a value for it")
            })?;
            Some(match &registry.user {
                Some(user) => Auth::Login(Login { user: user.clone(), password: value }),
                None => Auth::Token(value),
            })
        }
    };
    let scheme = if registry.plain_http { "http" } else { "https" };
    Ok(Endpoint {
        url: format!("{scheme}://{host}"),
        ca: registry.certificates.iter().chain(roots).cloned().collect(),
        auth,
        proxy: registry.proxy.as_ref().map(|url| Proxy { url: url.clone(), login: None }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: stele/v1\nkind: ";

    fn order_of(image: &str, documents: &str) -> Result<Request, Failed> {
        let documents = documents.split("---\n").filter(|text| !text.is_empty());
        let text: Vec<_> = documents.map(|text| format!("{HEAD}{text}")).collect();
        let stream = config::parse(&text.join("---\n")).unwrap_or_else(|problems| panic!("{problems}"));
        let running = Running {
            architecture: "amd64",
            version: Version::new(0, 1, 0),
            state: State::Reached,
            documents: &stream.documents,
            secrets: &stream.secrets.unwrap_or_default(),
            keys: vec![Key { name: "release.pub".into(), pem: "builtin".into() }],
        };
        let facts = Facts { floor: Some(Version::new(0, 1, 0)), ..Facts::default() };
        let limits = Limits { bytes: 1, seconds: 2, stall: 3 };
        order(&image.parse().unwrap(), running, &facts, &Room { folder: Path::new("/f"), limits, free: 7 })
    }

    #[test]
    fn without_documents_the_registry_is_asked_over_https_with_the_keys_of_the_image() {
        let order = order_of("r.example:5000/stele:1", "Hostname\nhostname: a\n").unwrap();
        let urls: Vec<_> = order.endpoints.iter().map(|endpoint| endpoint.url.as_str()).collect();
        assert_eq!(urls, ["https://r.example:5000"]);
        assert_eq!((order.verify, order.keys[0].pem.as_str()), (Verify::Require, "builtin"));
        assert_eq!((order.node.schema.as_deref(), order.folder.as_str(), order.free), (Some("stele/v1"), "/f", 7));
        assert!(order_of("oci:/var/stele:1", "Hostname\nhostname: a\n").unwrap().endpoints.is_empty());
    }

    #[test]
    fn mirrors_come_first_and_each_is_reached_as_its_document_says() {
        let documents = "Registry
name: r.example
mirrors: [m.example:5000, n.example]
user: node
secret: password
---
Registry
name: m.example:5000
plainHttp: true
---
Registry
name: n.example
secret: token
proxy: http://p.example:3128
---
Secrets
secrets:
  password: { value: hunter2 }
  token: { value: t }
---
ImagePolicy
verify: warn
";
        let order = order_of("r.example/stele:1", documents).unwrap();
        let urls: Vec<_> = order.endpoints.iter().map(|endpoint| endpoint.url.as_str()).collect();
        assert_eq!(urls, ["http://m.example:5000", "https://n.example", "https://r.example"]);
        let [m, n, r] = &order.endpoints[..] else { panic!("{urls:?}") };
        assert!(m.auth.is_none() && m.proxy.is_none());
        assert!(matches!(&n.auth, Some(Auth::Token(token)) if token.as_str() == "t"));
        assert_eq!(n.proxy.as_ref().map(|proxy| proxy.url.as_str()), Some("http://p.example:3128"));
        assert!(matches!(&r.auth, Some(Auth::Login(login)) if login.password.as_str() == "hunter2"));
        assert_eq!(order.verify, Verify::Warn);
        assert!(!format!("{order:?}").contains("hunter2"));
    }

    #[test]
    fn a_secret_without_a_value_is_named() {
        let documents = "Registry\nname: r.example\nsecret: token\n---\nSecrets\nsecrets: { token: {} }\n";
        let refused = order_of("r.example/stele:1", documents).unwrap_err();
        assert!(refused.reason.contains("the secret token, which Registry/r.example names"), "{refused:?}");
    }
}
