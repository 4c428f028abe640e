//! `imager lock`: pins the current versions of everything that `image.yaml` names, and of the libraries they need.
//!
//! apt resolves, in a root of its own: the machine's apt state is neither used nor changed. Only the suite itself, not its
//! security archive, is used: it is on every mirror, and point releases bring the fixes into it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};

use crate::lock::{Lock, Package, Use};
use crate::spec::{Image, Kernel};
use crate::{base, fetch, host, mirror, spec};

const SUITE: &str = "trixie";
/// Debian's archive keys, in the package debian-archive-keyring.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Runs it.
///
/// # Errors
/// When the mirror cannot be asked or a package is not there.
pub fn run(source: &Path) -> anyhow::Result<()> {
    let image = spec::load(source)?;
    let apt = Apt::new(&mirror::find()?)?;
    eprintln!("asking the mirror for {SUITE}");
    apt.run("apt-get", &["update", "-q"])?;
    let mut found: BTreeMap<String, Package> = BTreeMap::new();
    let mut add = |stanza: &Stanza, used: Use| -> anyhow::Result<()> {
        let package = stanza.package()?;
        let entry = found.entry(package.name.clone()).or_insert(package);
        if !entry.uses.contains(&used) {
            entry.uses.push(used);
        }
        Ok(())
    };
    for stanza in closure(&apt, &image.packages)? {
        add(&stanza, Use::Image)?;
    }
    for stanza in closure(&apt, &image.tools)? {
        add(&stanza, Use::Tool)?;
    }
    for stanza in closure(&apt, &image.tests)? {
        add(&stanza, Use::Test)?;
    }
    for stanza in apt.show(std::slice::from_ref(&image.stub))? {
        add(&stanza, Use::Stub)?;
    }
    for kernel in [Kernel::Cloud, Kernel::Generic] {
        add(&kernel_package(&apt, &image, kernel)?, Use::kernel(kernel))?;
    }
    let mut lock = Lock { suite: SUITE.to_owned(), packages: found.into_values().collect() };
    prune(&mut lock, &image)?;
    lock.save(source)?;
    eprintln!("{} packages pinned in {}", lock.packages.len(), source.join("packages.lock").display());
    Ok(())
}

/// Leaves out packages for the image that would give no file: libraries of programs that are not taken.
fn prune(lock: &mut Lock, image: &Image) -> anyhow::Result<()> {
    fetch::ensure(&lock.packages)?;
    let mut used = BTreeSet::new();
    for kernel in [Kernel::Cloud, Kernel::Generic] {
        used.extend(base::build(image, lock, kernel)?.parts.packages.into_iter().map(|package| package.name));
    }
    for package in &mut lock.packages {
        package.uses.retain(|&one| one != Use::Image || used.contains(&package.name));
    }
    lock.packages.retain(|package| !package.uses.is_empty());
    Ok(())
}

/// The meta package of a kernel depends on the one that holds it.
fn kernel_package(apt: &Apt, image: &Image, kernel: Kernel) -> anyhow::Result<Stanza> {
    let meta = image.kernels.get(&kernel).with_context(|| format!("image.yaml names no {} kernel", kernel.name()))?;
    let stanza = apt.show(std::slice::from_ref(meta))?.into_iter().next().context("no such package")?;
    let real = stanza.depends().into_iter().find(|name| name.starts_with("linux-image-"));
    let real = real.ok_or_else(|| anyhow!("{meta} depends on no kernel package"))?;
    apt.show(&[real])?.into_iter().next().context("no such package")
}

/// Packages with the libraries they depend on: of dependencies only those that hold libraries, since the image takes
/// programs by name and never a package as a whole.
fn closure(apt: &Apt, seeds: &[String]) -> anyhow::Result<Vec<Stanza>> {
    let is_library = |name: &str| name.starts_with("lib") || name.starts_with("zlib") || name.starts_with("gcc-");
    let mut todo: VecDeque<String> = seeds.iter().cloned().collect();
    let mut seen: BTreeSet<String> = todo.iter().cloned().collect();
    let mut stanzas = Vec::new();
    while !todo.is_empty() {
        let names: Vec<String> = todo.drain(..).collect();
        for stanza in apt.show(&names)? {
            todo.extend(stanza.depends().into_iter().filter(|name| is_library(name) && seen.insert(name.clone())));
            stanzas.push(stanza);
        }
    }
    Ok(stanzas)
}

/// apt with a root of its own.
struct Apt {
    _root: tempfile::TempDir,
    config: PathBuf,
}

impl Apt {
    fn new(mirror: &str) -> anyhow::Result<Self> {
        if !Path::new(KEYRING).exists() {
            bail!("{KEYRING} is missing; install the package debian-archive-keyring");
        }
        let root = tempfile::tempdir()?;
        let path = root.path();
        for folder in ["lists/partial", "cache/archives/partial"] {
            std::fs::create_dir_all(path.join(folder))?;
        }
        std::fs::write(path.join("status"), "")?;
        std::fs::write(path.join("sources.list"), format!("deb [signed-by={KEYRING}] {mirror} {SUITE} main\n"))?;
        let mut text = String::new();
        for (option, value) in [
            ("Dir::State", "."),
            ("Dir::State::Lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
            ("Dir::Etc::sourcelist", "sources.list"),
        ] {
            writeln!(text, "{option} \"{}\";", path.join(value).display())?;
        }
        text.push_str(
            "Dir::Etc::sourceparts \"/dev/null\";\nDir::Etc::preferences \"/dev/null\";\n\
             Dir::Etc::preferencesparts \"/dev/null\";\nAPT::Architecture \"amd64\";\nAPT::Architectures \"amd64\";\n\
             APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n",
        );
        let config = path.join("apt.conf");
        std::fs::write(&config, text)?;
        Ok(Self { _root: root, config })
    }

    fn run(&self, program: &str, args: &[&str]) -> anyhow::Result<String> {
        let mut program = host::program(program, "apt").args(args);
        program.command.env("APT_CONFIG", &self.config).env("LC_ALL", "C");
        Ok(String::from_utf8_lossy(&program.run()?.stdout).into_owned())
    }

    /// What the archive says about packages; names that are only virtual are left out.
    fn show(&self, names: &[String]) -> anyhow::Result<Vec<Stanza>> {
        let mut args = vec!["show", "--no-all-versions"];
        args.extend(names.iter().map(String::as_str));
        let text = self.run("apt-cache", &args)?;
        Ok(text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()).map(Stanza::parse).collect())
    }
}

/// A paragraph of a Debian control file; continuation lines are dropped.
#[derive(Debug, PartialEq, Eq)]
struct Stanza(BTreeMap<String, String>);

impl Stanza {
    fn parse(text: &str) -> Self {
        let fields = text.lines().filter(|line| !line.starts_with(' ')).filter_map(|line| line.split_once(": "));
        Self(fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
    }

    fn field(&self, name: &str) -> anyhow::Result<String> {
        self.0.get(name).cloned().with_context(|| format!("the archive's entry has no field {name}: {:?}", self.0))
    }

    /// Names of what it depends on; of alternatives the first.
    fn depends(&self) -> Vec<String> {
        let lists = ["Pre-Depends", "Depends"].iter().filter_map(|field| self.0.get(*field));
        lists
            .flat_map(|list| list.split(','))
            .filter_map(|one| one.split([' ', '|', ':', '(']).find(|word| !word.is_empty()))
            .map(str::to_owned)
            .collect()
    }

    fn package(&self) -> anyhow::Result<Package> {
        let (name, version) = (self.field("Package")?, self.field("Version")?);
        // `Source: linux-signed-amd64 (6.12.1+1)`; absent when it is the same
        let source = self.field("Source").unwrap_or_else(|_| name.clone());
        let (source, source_version) = match source.split_once(" (") {
            Some((source, version)) => (source.to_owned(), version.trim_end_matches(')').to_owned()),
            None => (source, version.clone()),
        };
        Ok(Package {
            arch: self.field("Architecture")?,
            path: self.field("Filename")?,
            size: self.field("Size")?.parse()?,
            sha256: self.field("SHA256")?,
            uses: Vec::new(),
            name,
            version,
            source,
            source_version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_control_paragraph() {
        let stanza = Stanza::parse(
            "Package: a\nSource: s (1.0)\nVersion: 1.0+b1\nDepends: libc6 (>= 2.38), x | y, python3:any\nDescription: d\n more: text\n",
        );
        assert_eq!(stanza.depends(), ["libc6", "x", "python3"]);
        assert!(stanza.package().is_err());
        assert!(!stanza.0.contains_key(" more"));
    }

    fuzz::targets! {
        control_paragraph: |bytes| {
            let stanza = Stanza::parse(&String::from_utf8_lossy(bytes));
            let _ = (stanza.depends(), stanza.package());
        },
    }
}
