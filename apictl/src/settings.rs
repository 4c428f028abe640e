//! The settings file: contexts, each with its nodes, what makes them the right ones, and the client's own certificate.
//!
//! `$XDG_CONFIG_HOME/apictl/config.yaml`. Invariant: only its owner can read it; a change holds a lock beside it and
//! replaces the file as a whole, so that two apictl at once lose nothing and a power cut leaves the old or the new one.

use std::{
    collections::BTreeMap,
    env, fs,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub(crate) use crate::secret::Secret;
use crate::{
    exit::{Code, Failure, Result},
    secret,
};

/// The whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The context that is used when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// Some nodes under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Context {
    #[serde(default)]
    pub(crate) nodes: Vec<Node>,
    /// The authorities that sign the nodes' certificates, PEM; for nodes without a fingerprint of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
    /// The client's certificate, PEM, and where its issuers follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
    /// Its key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Secret>,
    /// Where its key is, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Node {
    pub(crate) endpoint: String,
    /// The one certificate it must show; without it, one that the context's authorities signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fingerprint: Option<String>,
    /// The name or address that its certificate is for, when it is not the endpoint's host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<String>,
}

/// Where the file is.
pub(crate) fn path() -> Result<PathBuf> {
    // The XDG specification ignores relative paths.
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|folder| folder.join("apictl/config.yaml"))
        .ok_or_else(|| Failure::usage("no place for settings", "set HOME or XDG_CONFIG_HOME to an absolute path"))
}

/// Reads the settings; a missing file is an empty one.
pub(crate) fn load() -> Result<Settings> {
    let path = path()?;
    match fs::read_to_string(&path) {
        Ok(text) => parse(&text, &path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Settings::default()),
        Err(error) => Err(failed("reading", &path, &error)),
    }
}

/// Changes the settings, one apictl at a time.
pub(crate) fn change<T>(edit: impl FnOnce(&mut Settings) -> Result<T>) -> Result<T> {
    let path = path()?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(|error| failed("making", folder, &error))?;
    let _lock = lock(&path.with_extension("lock"))?;
    let mut settings = load()?;
    let result = edit(&mut settings)?;
    save(&settings, &path)?;
    Ok(result)
}

/// Held until dropped.
fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    file.and_then(|file| file.lock().map(|()| file)).map_err(|error| failed("locking", path, &error))
}

fn save(settings: &Settings, path: &Path) -> Result {
    let text = serde_saphyr::to_string(settings);
    let text =
        text.map_err(|error| Failure::new(Code::Failed, format!("the settings cannot be written: {error}"), ""))?;
    secret::replace(path, &text)
}

fn parse(text: &str, path: &Path) -> Result<Settings> {
    if text.trim().is_empty() {
        return Ok(Settings::default());
    }
    // The file holds keys: an error quotes none of its lines.
    let mut options = serde_saphyr::Options::default();
    options.with_snippet = false;
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()), "correct the file, or delete it and add contexts again")
    })
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Failed, format!("{doing} {}: {error}", path.display()), "")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn settings_round_trip() {
        let pinned = Some("0123".repeat(16));
        let node = Node { endpoint: "[fe80::1%eth0]:1".into(), fingerprint: pinned, ..Node::default() };
        let named = Node { endpoint: "a".into(), server_name: Some("b".into()), ..Node::default() };
        let pem = || "-----BEGIN X-----\nab+/=\n-----END X-----\n".to_owned();
        let mut context = Context { nodes: vec![node, named], ca: Some(pem() + &pem()), ..Context::default() };
        (context.certificate, context.key) = (Some(pem()), Some(Secret::from(pem())));
        assert!(!format!("{context:?}").contains("ab+/=\\n-----END X-----\\n\"), key_file"), "{context:?}");
        let contexts = [("lab".to_owned(), context)].into();
        let settings = Settings { current: Some("lab".into()), contexts };
        let text = serde_saphyr::to_string(&settings).unwrap();
        assert_eq!(parse(&text, Path::new("x")).unwrap(), settings, "{text}");
        assert_eq!(parse("", Path::new("x")).unwrap(), Settings::default());
        assert!(parse("contexts: {}\nendpoint: a\n", Path::new("x")).is_err());
    }

    #[test]
    fn a_saved_file_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        save(&Settings::default(), &path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    fuzz::targets! {
        settings: |bytes| {
            let Ok(settings) = parse(&String::from_utf8_lossy(bytes), Path::new("x")) else { return };
            let text = serde_saphyr::to_string(&settings).unwrap();
            assert_eq!(parse(&text, Path::new("x")).unwrap(), settings, "{text}");
        },
    }
}
