//! `imager oci`: the installer image, as an OCI layout in a folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use config::image::{FORMAT, Manifest};
use semver::Version;

use crate::oci::build::{self, Content};
use crate::progress::size;
use crate::{pe, release, spec, uki, whole};

/// Versions of the formats that this tree's programs read and write: those that no crate of the workspace has a constant for.
const STATE: u32 = 1;
const ESP: u32 = 1;

/// Options of `imager oci`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The UKI; version, commit and kernel are read from it
    #[arg(long, default_value = "_out/stele-amd64.efi")]
    uki: PathBuf,
    /// The recovery UKI
    #[arg(long)]
    recovery: Option<PathBuf>,
    /// The loader
    #[arg(long)]
    loader: Option<PathBuf>,
    /// The program `installer`
    #[arg(long)]
    installer: Option<PathBuf>,
    /// Layout with an image for another architecture, to be joined
    #[arg(long = "join", value_name = "LAYOUT")]
    others: Vec<PathBuf>,
    /// The product's name [default: the UKI's file name]
    #[arg(long)]
    name: Option<String>,
    /// Version instead of the UKI's (for tests)
    #[arg(long)]
    version: Option<Version>,
    /// Instead of that in image.yaml (for tests)
    #[arg(long)]
    floor: Option<Version>,
    /// Instead of that in image.yaml (for tests)
    #[arg(long)]
    minimum: Option<Version>,
    /// Where to write it [default: beside the UKI]
    #[arg(short, long)]
    output: Option<PathBuf>,
}

impl Args {
    /// Every part that there may be, in the order of the layers.
    fn parts(&self) -> [(&'static str, Option<&Path>); 4] {
        [
            ("uki", Some(&self.uki)),
            ("recovery", self.recovery.as_deref()),
            ("loader", self.loader.as_deref()),
            ("installer", self.installer.as_deref()),
        ]
    }
}

/// Runs it.
///
/// # Errors
/// When a part cannot be read or is not whole, or the layout cannot be written.
pub fn run(source: &Path, args: &Args) -> anyhow::Result<()> {
    let image = spec::load(source)?;
    let mut parts = Vec::new();
    for (name, path) in args.parts() {
        let Some(path) = path else { continue };
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        whole::check(name, path).with_context(|| format!("{} cannot be the part {name}", path.display()))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        parts.push(Content { name: name.to_owned(), file, bytes });
    }
    let says = Uki::read(&parts[0].bytes).with_context(|| format!("{} is not a UKI of ours", args.uki.display()))?;
    let release = release::find(source, &says.kernel);
    let stem = args.uki.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let has_loader = args.loader.is_some();
    let stele = Manifest {
        format: FORMAT,
        name: args.name.clone().unwrap_or(stem),
        version: args.version.clone().unwrap_or(says.version),
        commit: says.commit,
        built: release.built,
        arch: release.arch,
        kernel: says.kernel,
        floor: args.floor.clone().unwrap_or(image.upgrades.floor),
        minimum: args.minimum.clone().unwrap_or(image.upgrades.minimum),
        schema: vec![config::API_VERSION.to_owned()],
        formats: BTreeMap::from([
            ("meta".to_owned(), boot::meta::VERSION),
            ("bootState".to_owned(), u32::from(boot::state::VERSION)),
            ("state".to_owned(), STATE),
            ("esp".to_owned(), ESP),
        ]),
        // the loader is of the same workspace
        loader: has_loader.then(|| env!("CARGO_PKG_VERSION").parse()).transpose()?,
        parts: parts.iter().map(Content::part).collect(),
    };
    let output = args.output.clone().unwrap_or_else(|| args.uki.with_extension("oci"));
    let (digest, new) = build::write(&output, &stele.version.to_string(), &stele, &parts, &args.others)?;
    let bytes = usize::try_from(stele.size()).unwrap_or(usize::MAX);
    let state = if new { "" } else { ", is up to date" };
    println!("{} {digest} ({} parts, {}{state})", output.display(), parts.len(), size(bytes));
    Ok(())
}

/// What a UKI says about itself.
struct Uki {
    version: Version,
    commit: String,
    kernel: String,
}

impl Uki {
    fn read(pe: &[u8]) -> anyhow::Result<Self> {
        let text = |name| anyhow::Ok(String::from_utf8_lossy(pe::section(pe, name)?).trim_end_matches('\0').to_owned());
        let release = text(uki::OSREL)?;
        let field = |name: &str| {
            let found = release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
            found
                .map(|value| value.trim_matches('"').to_owned())
                .with_context(|| format!("its os-release has no {name}"))
        };
        let version = field("IMAGE_VERSION")?;
        let version = version.parse().with_context(|| format!("its version {version} is no Semantic Version"))?;
        Ok(Self { version, commit: field("BUILD_ID")?, kernel: text(uki::UNAME)? })
    }
}
