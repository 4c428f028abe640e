//! `imager build`: everything for one kernel into one folder.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::lock::{Lock, Package, Use};
use crate::progress::{Progress, size};
use crate::sign::{self, Key};
use crate::spec::{self, Kernel};
use crate::tree::Origin;
use crate::{
    base, builtin, cache, disk, elf, erofs, fetch, initramfs, keys, linked, release, reviewed, rootfs, services, spdx,
    sums, uki,
};

/// What every command line of ours starts with. `rootfstype=ramfs`: a file on tmpfs cannot back an EROFS. `panic=-1`: a
/// kernel that panics restarts at once, so that the next try can start. `cryptomgr.notests`: the kernel's tests of ciphers
/// nobody uses took a quarter of the boot (docs/decisions/0009). `sysctl.kernel.sysrq=0`: a console takes no input, neither
/// Alt-SysRq-B at its keyboard nor a break on its line. `sysctl.net.ipv4.tcp_fastopen=0`: sending data is no way to connect,
/// which filters of system calls and Landlock would not see.
pub(super) const CMDLINE: &str = "rootfstype=ramfs panic=-1 console=tty0 console=ttyS0,115200 quiet loglevel=4 \
     printk.devkmsg=on cryptomgr.notests sysctl.kernel.sysrq=0 sysctl.net.ipv4.tcp_fastopen=0";

/// Options of `imager build`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which of Debian's kernels
    #[arg(long, value_enum, default_value = "cloud")]
    kernel: Kernel,
    /// Folder with the static programs init, machined and gateway
    #[arg(long)]
    binaries: PathBuf,
    /// Folder whose files are laid over the root filesystem (for test images)
    #[arg(long, requires = "name")]
    overlay: Option<PathBuf>,
    /// Documents that a machine takes as its first configuration, with nobody at it; everybody who has the image can read
    /// them
    #[arg(long, value_name = "FILE", requires = "name")]
    config: Option<PathBuf>,
    /// Certificate of the rescue authority (PEM): short-lived certificates of it are let in when a machine cannot read its
    /// configuration
    #[arg(long, value_name = "FILE", requires = "name")]
    rescue: Option<PathBuf>,
    /// Public key whose installer images a machine takes, instead of the development key (PEM); its name is the file's
    #[arg(long, value_name = "FILE")]
    image_key: Vec<PathBuf>,
    /// More words for the kernel's command line
    #[arg(long, default_value = "")]
    cmdline: String,
    /// Where the results go
    #[arg(long, default_value = "_out")]
    out: PathBuf,
    /// First part of the results' names [default: stele-amd64, or stele-metal-amd64 with the generic kernel]
    #[arg(long)]
    name: Option<String>,
    /// Key to sign with instead of the development key (PEM)
    #[arg(long, requires = "cert")]
    key: Option<PathBuf>,
    /// Cargo.toml of the workspace that the programs are from, asked for the SBOM's crates [default: the checkout's]
    #[arg(long)]
    manifest: Option<PathBuf>,
    /// Certificate of --key (PEM)
    #[arg(long, requires = "key")]
    cert: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// The step that failed, and what to do.
pub fn run(source: &Path, args: &Args) -> anyhow::Result<()> {
    let name = args.name.as_deref().unwrap_or(args.kernel.product());
    let own = args.overlay.is_some() || args.config.is_some() || args.rescue.is_some();
    if own && [Kernel::Cloud, Kernel::Generic].iter().any(|kernel| kernel.product() == name) {
        anyhow::bail!(
            "an image with an overlay, --config or --rescue is not the product: give it a name other than {name}"
        );
    }
    let mut progress = Progress::new(9);
    let image = spec::load(source)?;
    let lock = Lock::load(source)?;
    let fetched = fetch::ensure(lock.needed(args.kernel))?;
    progress.step("packages", &format!("{} pinned, {fetched} fetched", lock.needed(args.kernel).count()));

    let base = base::build(&image, &lock, args.kernel)?;
    let release = release::find(source, &base.parts.release);
    progress.step("base", &format!("kernel {}", base.parts.release));

    let inputs =
        rootfs::Inputs { source, binaries: &args.binaries, overlay: args.overlay.as_deref(), release: &release };
    let stub = rootfs::boot_file(&base, base::STUB);
    let linux = rootfs::boot_file(&base, base::VMLINUZ);
    let modules: Vec<_> = base
        .parts
        .root_modules
        .iter()
        .zip(&base.parts.root_module_files)
        .map(|(name, path)| (name.clone(), rootfs::boot_file(&base, path)))
        .collect();
    let packages = base.parts.packages.clone();
    let mut tree = rootfs::build(base, &inputs)?;
    builtin::put(&mut tree, args.config.as_deref(), args.rescue.as_deref())?;
    let image_keys =
        if args.image_key.is_empty() { vec![keys::image_development()?.public] } else { args.image_key.clone() };
    builtin::put_keys(&mut tree, &image_keys)?;
    services::check(&tree)?;
    if args.overlay.is_none() {
        reviewed::check(&tree, source)?;
    }
    let bytes: usize = tree.files().map(|(_, bytes, ..)| bytes.len()).sum();
    progress.step("files", &format!("{} files, {}", tree.files().count(), size(bytes)));

    let rootfs = erofs::build(&tree, &lock, release.built_unix)?;
    progress.step("rootfs.erofs", &size(rootfs.len()));

    let init = rootfs::program(&args.binaries, "init")?;
    let initrd = initramfs::build(&initramfs::Content { init: &init, modules: &modules, rootfs: &rootfs })?;
    progress.step("initramfs", &size(initrd.len()));

    let cmdline = format!("{CMDLINE} {}", args.cmdline);
    let key = match (&args.key, &args.cert) {
        (Some(key), Some(cert)) => Key { key: key.clone(), cert: cert.clone() },
        _ => keys::development()?,
    };
    // the kernel last: older stubs decompress it in place and need the room behind it
    let unsigned = uki::assemble(
        &stub,
        &[
            (uki::OSREL, rootfs::os_release(&release).as_bytes()),
            (uki::CMDLINE, cmdline.trim_end().as_bytes()),
            (uki::UNAME, release.kernel.as_bytes()),
            (uki::INITRD, &initrd),
            (uki::LINUX, &linux),
        ],
    )?;
    let signed = sign::sign(&unsigned, &key)?;
    let digest = cache::sha256(&signed);
    let names = ["efi", "raw", "spdx.json"].map(|extension| format!("{name}.{extension}"));
    // everything else is made of the UKI: nothing to do when it is the one that is there
    if sums::says(&args.out, &names[0], &digest, &names) {
        progress.end(&format!("{name} is up to date in {}", args.out.display()));
        return Ok(());
    }
    let file = args.out.join(&names[0]);
    cache::save(&file, &signed).with_context(|| format!("cannot write {}", file.display()))?;
    progress.step(&format!("{name}.efi"), &size(signed.len()));

    let raw = args.out.join(format!("{name}.raw"));
    disk::write(&raw, &signed, 512)?;
    progress.step(&format!("{name}.raw"), &size(usize::try_from(std::fs::metadata(&raw)?.len())?));
    let mut files: Vec<spdx::File<'_>> = tree
        .files()
        .map(|(path, bytes, _, origin)| spdx::File {
            name: format!("rootfs{path}"),
            bytes,
            origin: origin.unwrap_or(&Origin::Stele),
        })
        .collect();
    let kernel_origin = origin_of(&packages, Use::kernel(args.kernel));
    let stub_origin = origin_of(&packages, Use::Stub);
    files.push(spdx::File { name: "initramfs/init".to_owned(), bytes: &init, origin: &Origin::Stele });
    files.extend(modules.iter().map(|(name, bytes)| spdx::File {
        name: format!("initramfs/modules/{name}.ko.xz"),
        bytes,
        origin: &kernel_origin,
    }));
    files.push(spdx::File { name: "uki/linux".to_owned(), bytes: &linux, origin: &kernel_origin });
    files.push(spdx::File { name: "uki/stub".to_owned(), bytes: &stub, origin: &stub_origin });
    let mut linked = linked::crates::list(&args.manifest.clone().unwrap_or_else(|| source.join("../Cargo.toml")))?;
    let programs = files.iter().filter(|file| *file.origin == Origin::Stele && elf::is_elf(file.bytes));
    linked.extend(linked::toolchain::list(&programs.map(|file| file.bytes).collect::<Vec<_>>()));
    let sbom = spdx::document(&spdx::Inside {
        name,
        release: &release,
        digest: &digest,
        files: &files,
        packages: &packages,
        licences: &image.licences,
        linked: &linked,
    })?;
    let file = args.out.join(format!("{name}.spdx.json"));
    cache::save(&file, &serde_json::to_vec_pretty(&sbom)?)
        .with_context(|| format!("cannot write {}", file.display()))?;
    progress.step(
        &format!("{name}.spdx.json"),
        &format!("{} files, {} packages, {} linked", files.len(), packages.len(), linked.len()),
    );
    sums::update(&args.out, &names).context("cannot write SHA256SUMS")?;
    progress.step("SHA256SUMS", "");
    progress.end(&format!("built {name} ({}, commit {}) in {}", release.version, release.commit, args.out.display()));
    Ok(())
}

fn origin_of(packages: &[Package], wanted: Use) -> Origin {
    let package = packages.iter().find(|package| package.uses.contains(&wanted));
    package.map_or(Origin::Stele, |package| Origin::Package(package.name.clone()))
}
