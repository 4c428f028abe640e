//! Where Debian packages come from. No mirror is named in this repository: it is found on the machine.

use crate::host;

/// Environment variable that overrides everything: the URL above `pool/` and `dists/`.
pub const VARIABLE: &str = "STELE_DEBIAN_MIRROR";

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
    given.or_else(of_apt).or_else(of_debootstrap).map(|url| url.trim_end_matches('/').to_owned()).ok_or(Unknown)
}

fn of_apt() -> Option<String> {
    let targets = host::program("apt-get", "apt")
        .args(["indextargets", "--format", "$(SITE)", "Created-By: Packages"])
        .run()
        .ok()?;
    choose(&String::from_utf8_lossy(&targets.stdout))
}

/// A site whose path is a whole Debian archive, not the security archive or another vendor's.
fn choose(sites: &str) -> Option<String> {
    sites
        .lines()
        .map(|site| site.trim().trim_end_matches('/'))
        .find(|site| site.ends_with("/debian"))
        .map(str::to_owned)
}

fn of_debootstrap() -> Option<String> {
    let script = std::fs::read_to_string("/usr/share/debootstrap/scripts/sid").ok()?;
    let words = script.lines().find_map(|line| line.trim().strip_prefix("default_mirror "))?;
    Some(words.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_a_whole_debian_archive() {
        let sites = "http://a.example/debian-security\nhttp://b.example/ubuntu/\nhttp://c.example/debian/\n";
        assert_eq!(choose(sites).as_deref(), Some("http://c.example/debian"));
        assert_eq!(choose("http://b.example/ubuntu\n"), None);
    }
}
