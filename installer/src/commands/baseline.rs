//! `imager baseline`: an image that holds one static program and the modules it needs to reach the network, with the same
//! kernel, stub and command line as the product. The figures compare the product with it; nobody runs it.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::base::{self, Base};
use crate::lock::Lock;
use crate::spec::{self, Kernel};
use crate::system::CMDLINE;
use crate::{cache, disk, fetch, initramfs, keys, release, rootfs, sign, uki};

/// The network card of every virtual machine that the figures are taken in.
const MODULE: &str = "virtio_net";

/// Options of `imager baseline`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Which of Debian's kernels
    #[arg(long, value_enum, default_value = "cloud")]
    kernel: Kernel,
    /// The static program that is the whole of user space
    #[arg(long)]
    program: PathBuf,
    /// First part of the results' names, with their folder
    #[arg(long)]
    stem: PathBuf,
}

/// Runs it.
///
/// # Errors
/// The step that failed, and what to do.
pub fn run(source: &Path, args: &Args) -> anyhow::Result<()> {
    let image = spec::load(source)?;
    let lock = Lock::load(source)?;
    fetch::ensure(lock.needed(args.kernel))?;
    let base = base::build(&image, &lock, args.kernel)?;
    let release = release::find(source, &base.parts.release);
    let modules = modules(&base)?;
    let folder = args.program.parent().unwrap_or(Path::new("."));
    let name = args.program.file_name().unwrap_or_default().to_string_lossy();
    let init = rootfs::program(folder, &name)?;
    let initrd = initramfs::build(&initramfs::Content { init: &init, modules: &modules, rootfs: &[] })?;
    let unsigned = uki::assemble(
        &rootfs::boot_file(&base, base::STUB),
        &[
            (uki::OSREL, rootfs::os_release(&release).as_bytes()),
            (uki::CMDLINE, CMDLINE.as_bytes()),
            (uki::UNAME, release.kernel.as_bytes()),
            (uki::INITRD, &initrd),
            (uki::LINUX, &rootfs::boot_file(&base, base::VMLINUZ)),
        ],
    )?;
    let signed = sign::sign(&unsigned, &keys::development()?)?;
    let file = args.stem.with_extension("efi");
    cache::save(&file, &signed).with_context(|| format!("cannot write {}", file.display()))?;
    disk::write(&args.stem.with_extension("raw"), &disk::Content::Bare(&signed), 512)?;
    eprintln!("built the baseline {} ({} kernel)", file.display(), args.kernel.name());
    Ok(())
}

/// Name and file of [`MODULE`] and what it needs, in load order, as `modules.dep` has it: the nearest dependency first.
fn modules(base: &Base) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let folder = format!("/usr/lib/modules/{}", base.parts.release);
    let index = rootfs::boot_file(base, &format!("{folder}/modules.dep"));
    let index = String::from_utf8_lossy(&index).into_owned();
    let is_wanted = |line: &&str| line.split_once(':').is_some_and(|(path, _)| stem(path) == MODULE);
    let (path, needs) = index
        .lines()
        .find(is_wanted)
        .and_then(|line| line.split_once(':'))
        .with_context(|| format!("{MODULE} is not among the image's modules"))?;
    let order = needs.split_whitespace().rev().chain([path]);
    Ok(order.map(|path| (stem(path).to_owned(), rootfs::boot_file(base, &format!("{folder}/{path}")))).collect())
}

fn stem(path: &str) -> &str {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file)
}
