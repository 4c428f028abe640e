//! Where Debian packages come from. No mirror is named in this repository: it is found on the machine.

use std::path::{Path, PathBuf};

/// Environment variable that overrides everything: the URL above `pool/` and `dists/`.
pub const VARIABLE: &str = "STELE_DEBIAN_MIRROR";
/// Where apt keeps what its user configured.
const APT: &str = "/etc/apt";
/// A shell script that knows a mirror of Debian on every distribution that has it.
const DEBOOTSTRAP: &str = "/usr/sbin/debootstrap";

/// No mirror is known.
#[derive(Debug, thiserror::Error)]
#[error(
    "no Debian mirror is known on this machine; set {VARIABLE} to one (the URL above pool/ and dists/), or install debootstrap"
)]
pub struct Unknown;

/// The URL of a Debian mirror without a slash at its end: `$STELE_DEBIAN_MIRROR`, else one that this machine's apt uses for
/// Debian, else the default of debootstrap (on machines that are not Debian).
///
/// # Errors
/// When there is none.
pub fn find() -> Result<String, Unknown> {
    let given = std::env::var(VARIABLE).ok().filter(|url| !url.is_empty());
    given
        .or_else(|| of_apt(Path::new(APT)))
        .or_else(|| of_debootstrap(Path::new(DEBOOTSTRAP)))
        .map(|url| url.trim_end_matches('/').to_owned())
        .ok_or(Unknown)
}

/// One archive of apt's sources.
#[derive(Debug, Default)]
struct Source {
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    signed_by: Option<String>,
}

impl Source {
    /// Debian's whole archive, not its security archive or another vendor's, which is often below a path `/debian` too.
    fn is_debian(&self, uri: &str) -> bool {
        let is_main = self.components.iter().any(|component| component == "main");
        let is_whole = self.suites.iter().any(|suite| !suite.contains("security"));
        let is_theirs = match &self.signed_by {
            Some(keyring) => keyring.contains("debian-archive"),
            None => uri.trim_end_matches('/').ends_with("/debian"),
        };
        is_main && is_whole && is_theirs
    }
}

/// Read from the sources themselves: `apt-get indextargets` knows only what was updated before, and says of a list of
/// mirrors (`mirror+file:`, in Debian's images for clouds) no more than where it is.
fn of_apt(apt: &Path) -> Option<String> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(apt.join("sources.list.d"))
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.sort();
    files.insert(0, apt.join("sources.list"));
    for file in files {
        let extension = file.extension().unwrap_or_default();
        let parse = if extension == "list" {
            one_line
        } else if extension == "sources" {
            deb822
        } else {
            continue;
        };
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        for source in parse(&text) {
            let urls = source.uris.iter().flat_map(|uri| followed(uri));
            if let Some(url) = urls.into_iter().find(|url| source.is_debian(url)) {
                return Some(url);
            }
        }
    }
    None
}

/// The URLs behind a URI: of a list of mirrors each, best first; else itself, when it is one that we can fetch from.
fn followed(uri: &str) -> Vec<String> {
    let is_web = |url: &&str| url.starts_with("http://") || url.starts_with("https://");
    if let Some(path) = uri.strip_prefix("mirror+file:") {
        let list = std::fs::read_to_string(path).unwrap_or_default();
        let first_words = list.lines().filter_map(|line| line.split_whitespace().next());
        return first_words.filter(is_web).map(str::to_owned).collect();
    }
    Some(uri).filter(is_web).map(str::to_owned).into_iter().collect()
}

/// `deb [option=value …] URI suite component …`, see sources.list(5).
fn one_line(text: &str) -> Vec<Source> {
    let parse = |line: &str| {
        let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
        let rest = rest.strip_prefix([' ', '\t'])?.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => ("", rest),
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        let (uri, suite) = (words.next()?, words.next()?);
        let signed_by = options.split_whitespace().find_map(|option| option.strip_prefix("signed-by="));
        let signed_by = signed_by.map(str::to_owned);
        Some(Source { uris: vec![uri], suites: vec![suite], components: words.collect(), signed_by })
    };
    text.lines().filter_map(parse).collect()
}

/// Paragraphs of `Field: value`, continued by lines that start with a space.
fn deb822(text: &str) -> Vec<Source> {
    let mut all = Vec::new();
    for paragraph in text.split("\n\n") {
        let mut source = Source::default();
        let (mut is_used, mut field) = (true, String::new());
        for line in paragraph.lines().filter(|line| !line.starts_with('#')) {
            let value = match line.split_once(':') {
                Some((name, value)) if !line.starts_with([' ', '\t']) => {
                    field = name.to_ascii_lowercase();
                    value
                }
                _ => line,
            };
            let words = value.split_whitespace().map(str::to_owned);
            match field.as_str() {
                "types" => is_used &= value.split_whitespace().any(|kind| kind == "deb"),
                "enabled" => is_used &= !["no", "false", "off", "0"].contains(&value.trim()),
                "uris" => source.uris.extend(words),
                "suites" => source.suites.extend(words),
                "components" => source.components.extend(words),
                "signed-by" => source.signed_by.get_or_insert_default().push_str(value),
                _ => {}
            }
        }
        if is_used {
            all.push(source);
        }
    }
    all
}

/// What debootstrap takes when it is told no mirror: a line `DEF_MIRROR="URL"` of the program.
fn of_debootstrap(program: &Path) -> Option<String> {
    let script = std::fs::read_to_string(program).ok()?;
    let value = script.lines().find_map(|line| line.trim().strip_prefix("DEF_MIRROR="))?.trim_matches('"');
    value.starts_with("http").then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VENDOR: &str = "deb [arch=amd64 signed-by=/etc/apt/keyrings/v.asc] https://v.example/debian trixie main\n";

    /// What is found with these files below /etc/apt; `@` is that folder.
    fn found(files: &[(&str, &str)]) -> Option<String> {
        let apt = tempfile::tempdir().unwrap();
        std::fs::create_dir(apt.path().join("sources.list.d")).unwrap();
        for (name, text) in files {
            std::fs::write(apt.path().join(name), text.replace('@', apt.path().to_str().unwrap())).unwrap();
        }
        of_apt(apt.path())
    }

    #[test]
    fn one_line_sources() {
        let security = "deb http://s.example/debian-security trixie-security main\n";
        let debian = "# deb http://old.example/debian trixie main\ndeb http://c.example/debian/ trixie main # ours\n";
        let all = format!("{VENDOR}{security}deb-src http://n.example/debian trixie main\n{debian}");
        assert_eq!(found(&[("sources.list", &all)]).as_deref(), Some("http://c.example/debian/"));
        assert_eq!(found(&[("sources.list", VENDOR)]), None);
        assert_eq!(found(&[("sources.list", "deb http://u.example/ubuntu noble main\n")]), None);
        assert_eq!(found(&[]), None);
    }

    #[test]
    fn the_default_of_debootstrap() {
        // installed by `make setup`
        assert!(of_debootstrap(Path::new(DEBOOTSTRAP)).unwrap().ends_with("/debian"));
        let other = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(other.path(), "DEF_MIRROR=\"$1\"\n").unwrap();
        assert_eq!(of_debootstrap(other.path()), None);
        assert_eq!(of_debootstrap(Path::new("/nonexistent")), None);
    }

    #[test]
    fn deb822_sources_and_lists_of_mirrors() {
        let sources = "Types: deb deb-src\nURIs: mirror+file:@/mirrors.list\nSuites: trixie trixie-updates\n\
            Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n";
        let mirrors = "http://m.example/anything\tpriority:1\nhttp://n.example/debian\n";
        let files = [("sources.list.d/debian.sources", sources), ("mirrors.list", mirrors)];
        assert_eq!(found(&files).as_deref(), Some("http://m.example/anything"));
        let off = format!("Enabled: no\n{sources}");
        assert_eq!(found(&[("sources.list.d/debian.sources", &off), ("mirrors.list", mirrors)]), None);
        let inline = "Types: deb\nURIs: http://k.example/debian\nSuites: trixie\nComponents: main\n\
            Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n x\n";
        assert_eq!(found(&[("sources.list.d/v.sources", inline)]), None);
    }
}
