//! The settings file: contexts, each with its nodes and what makes them the right ones.
//!
//! `$XDG_CONFIG_HOME/apictl/config.yaml`. Invariant: only its owner can read it; a change holds a lock beside it and
//! replaces the file as a whole, so that two apictl at once lose nothing and a power cut leaves the old or the new one.

use std::{
    collections::BTreeMap,
    env, fs,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::exit::{Code, Failure, Result};

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
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    pub(crate) nodes: Vec<Node>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Node {
    pub(crate) endpoint: String,
    pub(crate) fingerprint: String,
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
    save(&settings, &path, folder).map_err(|error| failed("writing", &path, &error))?;
    Ok(result)
}

/// Held until dropped.
fn lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    file.and_then(|file| file.lock().map(|()| file)).map_err(|error| failed("locking", path, &error))
}

fn save(settings: &Settings, path: &Path, folder: &Path) -> io::Result<()> {
    let text = serde_saphyr::to_string(settings).map_err(io::Error::other)?;
    // tempfile makes it 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
    file.as_file().sync_all()?;
    // A settings file that is a link, to a folder under version control say, stays one.
    file.persist(fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

fn parse(text: &str, path: &Path) -> Result<Settings> {
    if text.trim().is_empty() {
        return Ok(Settings::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        Failure::usage(format!("{}: {error}", path.display()), "correct the file, or delete it and add contexts again")
    })
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::Failed, format!("{doing} {}: {error}", path.display()), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_round_trip() {
        let node = Node { endpoint: "[fe80::1%eth0]:1".into(), fingerprint: "0123".repeat(16) };
        let contexts = [("lab".to_owned(), Context { nodes: vec![node] })].into();
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
        save(&Settings::default(), &path, folder.path()).unwrap();
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
