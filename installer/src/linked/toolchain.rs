//! What compilers link into every static program: Rust's standard library, the C library, and gcc's runtime.
//!
//! The compiler's version is read from the programs themselves, in which it leaves its name (section `.comment`). The two
//! C libraries leave none: the build machine's dpkg is asked whose files the linker takes. Where there is no dpkg, or the
//! files are nobody's, they are named without a version rather than guessed.

use std::collections::BTreeSet;
use std::path::Path;

use super::Part;
use crate::{elf, host, purl};

/// The C libraries: what to call it when nobody owns it, the file that is linked, and the licence.
const LIBRARIES: [(&str, &str, &str); 2] =
    [("glibc", "libc.a", "LGPL-2.1-or-later"), ("libgcc", "libgcc.a", "GPL-3.0-or-later WITH GCC-exception-3.1")];

/// Distributions whose packages have a package URL of their own, by the ID in os-release(5).
const VENDORS: [(&str, &str); 2] = [("debian", "Debian"), ("ubuntu", "Ubuntu")];

/// What is in these programs, sorted.
#[must_use]
pub fn list(programs: &[&[u8]]) -> Vec<Part> {
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut parts: BTreeSet<Part> = programs.iter().map(|program| standard_library(program)).collect();
    parts.extend(LIBRARIES.map(|(name, file, licence)| library(name, file, licence, &system)));
    parts.into_iter().collect()
}

/// Rust's standard library has the version of the compiler.
fn standard_library(program: &[u8]) -> Part {
    let comment = elf::section(program, ".comment").ok().flatten().unwrap_or_default();
    let compiler = comment.split(|&byte| byte == 0).find_map(|line| {
        let line = String::from_utf8_lossy(line);
        line.strip_prefix("rustc version ").map(str::to_owned)
    });
    let version = compiler.as_deref().and_then(|text| text.split(' ').next()).map(str::to_owned);
    Part {
        name: "rust-std".to_owned(),
        licence: "MIT OR Apache-2.0".to_owned(),
        supplier: Some("Organization: The Rust Project".to_owned()),
        made: compiler.map(|text| format!("Rust's standard library, of rustc {text}")),
        purl: version.as_deref().map(|version| format!("pkg:github/rust-lang/rust@{version}")),
        version,
    }
}

/// A static library of the build machine, by the package that owns it.
fn library(name: &str, file: &str, licence: &str, system: &str) -> Part {
    owner(file).and_then(|package| packaged(&package, licence, system)).unwrap_or_else(|| Part {
        name: name.to_owned(),
        version: None,
        licence: licence.to_owned(),
        supplier: None,
        made: None,
        purl: None,
    })
}

/// What dpkg says of the package with the file that the linker takes: five words.
fn owner(file: &str) -> Option<String> {
    let place = host::program("cc", "gcc").args([format!("-print-file-name={file}")]).run().ok()?;
    let place = std::fs::canonicalize(Path::new(String::from_utf8_lossy(&place.stdout).trim_end())).ok()?;
    let found = host::program("dpkg-query", "dpkg").args(["-S".as_ref(), place.as_os_str()]).run().ok()?;
    let found = String::from_utf8_lossy(&found.stdout).into_owned();
    let (package, _) = found.split_once(": ")?;
    let format = "${Package} ${Version} ${Architecture} ${source:Package} ${source:Version}";
    let said = host::program("dpkg-query", "dpkg").args(["-W", "-f", format, package]).run().ok()?;
    Some(String::from_utf8_lossy(&said.stdout).into_owned())
}

fn packaged(said: &str, licence: &str, system: &str) -> Option<Part> {
    let mut words = said.split_whitespace().map(str::to_owned);
    let (name, version, arch) = (words.next()?, words.next()?, words.next()?);
    let (source, source_version) = (words.next()?, words.next()?);
    let id = system.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or_default().trim_matches('"');
    let vendor = VENDORS.iter().find(|(known, _)| *known == id);
    Some(Part {
        purl: vendor.map(|(id, _)| purl::deb(id, &name, &version, &arch)),
        supplier: vendor.map(|(_, vendor)| format!("Organization: {vendor}")),
        made: Some(format!("of the machine the programs were built on; from source package {source} {source_version}")),
        licence: licence.to_owned(),
        name,
        version: Some(version),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_is_read_from_the_program() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let part = standard_library(&own);
        let release = host::program("rustc", "rustc").args(["--version"]).run().unwrap();
        let release = String::from_utf8_lossy(&release.stdout).into_owned();
        assert_eq!(part.version.as_deref(), release.split(' ').nth(1));
        assert_eq!(standard_library(b"\x7fELF").version, None);
    }

    #[test]
    fn a_package_says_who_it_is_from() {
        let said = "libc6-dev 2.39-0ubuntu8.6 amd64 glibc 2.39-0ubuntu8.6";
        let part = packaged(said, "LGPL-2.1-or-later", "NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n").unwrap();
        assert_eq!(part.purl.as_deref(), Some("pkg:deb/ubuntu/libc6-dev@2.39-0ubuntu8.6?arch=amd64"));
        assert_eq!(part.supplier.as_deref(), Some("Organization: Ubuntu"));
        let elsewhere = packaged(said, "LGPL-2.1-or-later", "ID=mint\nID_LIKE=ubuntu\n").unwrap();
        assert_eq!((elsewhere.purl, elsewhere.supplier), (None, None));
        assert_eq!(packaged("", "LGPL-2.1-or-later", ""), None);
    }

    #[test]
    fn what_nobody_owns_has_no_version() {
        let part = library("glibc", "there-is-no-such-file.a", "LGPL-2.1-or-later", "ID=debian");
        assert_eq!((part.name.as_str(), part.version), ("glibc", None));
    }
}
