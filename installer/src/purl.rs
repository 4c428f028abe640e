//! Package URLs (the purl specification of ECMA-427), as SBOMs name packages.

/// A binary package of Debian or Ubuntu; `vendor` is the ID of os-release(5).
#[must_use]
pub fn deb(vendor: &str, name: &str, version: &str, arch: &str) -> String {
    format!("pkg:deb/{vendor}/{name}@{}?arch={arch}", escape(version))
}

/// A crate.
#[must_use]
pub fn cargo(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{}", escape(version))
}

/// Percent-encoding of what a package URL reserves in versions.
fn escape(version: &str) -> String {
    version.replace('%', "%25").replace('+', "%2B").replace(':', "%3A").replace('~', "%7E")
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_escaped() {
        let url = super::deb("debian", "libc6", "1:2.41-12+deb13u4~x", "amd64");
        assert_eq!(url, "pkg:deb/debian/libc6@1%3A2.41-12%2Bdeb13u4%7Ex?arch=amd64");
        assert_eq!(super::cargo("a", "1.0.0+b"), "pkg:cargo/a@1.0.0%2Bb");
    }
}
