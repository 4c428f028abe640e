//! Which build this is: version, commit and time. The time is the commit's, never the clock's.

use std::path::Path;

use crate::host;

/// Names one build; everything that differs between two commits comes from here.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Release {
    /// The workspace's version.
    pub version: String,
    /// Commit, 12 digits, or `unknown`.
    pub commit: String,
    /// Commit time, RFC 3339.
    pub built: String,
    /// Commit time, seconds since 1970.
    pub built_unix: u64,
    /// Architecture as Debian names it.
    pub arch: String,
    /// The kernel's `uname -r`.
    pub kernel: String,
    /// A machine that blessed this version takes none below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<semver::Version>,
    /// It is the recovery system.
    pub recovery: bool,
}

/// `$STELE_COMMIT` and `$SOURCE_DATE_EPOCH` when they are set, else what git says about the checkout, else `unknown` and 0.
#[must_use]
pub fn find(source: &Path, kernel: &str) -> Release {
    let commit = variable("STELE_COMMIT").or_else(|| git(source, &["rev-parse", "--short=12", "HEAD"]));
    let time = variable("SOURCE_DATE_EPOCH").or_else(|| git(source, &["log", "-1", "--format=%ct"]));
    let built_unix = time.and_then(|text| text.parse().ok()).unwrap_or(0);
    Release {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: commit.unwrap_or_else(|| "unknown".to_owned()),
        built: rfc3339(built_unix),
        built_unix,
        arch: "amd64".to_owned(),
        kernel: kernel.to_owned(),
        floor: None,
        recovery: false,
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn git(source: &Path, args: &[&str]) -> Option<String> {
    let output = host::program("git", "git").args(["-C".as_ref(), source.as_os_str()]).args(args).run().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned()).filter(|text| !text.is_empty())
}

/// Seconds since 1970 as `2026-01-31T12:00:00Z`.
#[must_use]
pub fn rfc3339(unix: u64) -> String {
    let seconds = i64::try_from(unix).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_image_says_its_floor_if_it_has_one() {
        let release = super::Release { floor: Some(semver::Version::new(0, 1, 0)), ..super::find("/".as_ref(), "k") };
        assert_eq!(serde_json::to_value(&release).unwrap()["floor"], "0.1.0");
        let none = serde_json::to_value(super::Release { floor: None, ..release }).unwrap();
        assert_eq!(none.get("floor"), None);
    }

    #[test]
    fn times() {
        assert_eq!(super::rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(super::rfc3339(1_709_210_096), "2024-02-29T12:34:56Z");
        assert_eq!(super::rfc3339(4_102_444_799), "2099-12-31T23:59:59Z");
    }
}
