//! One system as a UKI: the root file system with what belongs into it, the initramfs, and both in front of the kernel. There
//! are two of them in an image: the one that runs, and recovery. Not signed here.

use std::path::{Path, PathBuf};

use crate::base::{self, Base};
use crate::lock::{Lock, Package, Use};
use crate::release::{self, Release};
use crate::spec::{Image, Kernel};
use crate::tree::{Origin, Tree};
use crate::{builtin, elf, erofs, initramfs, linked, reviewed, rootfs, services, spdx, uki};

/// What every command line of ours starts with. `rootfstype=ramfs`: a file on tmpfs cannot back an EROFS. `panic=-1`: a
/// kernel that panics restarts at once, so that the next try can start. `cryptomgr.notests`: the kernel's tests of ciphers
/// nobody uses took a quarter of the boot (docs/decisions/0009). `sysctl.kernel.sysrq=0`: a console takes no input, neither
/// Alt-SysRq-B at its keyboard nor a break on its line. `sysctl.net.ipv4.tcp_fastopen=0`: sending data is no way to connect,
/// which filters of system calls and Landlock would not see.
pub const CMDLINE: &str = "rootfstype=ramfs panic=-1 console=tty0 console=ttyS0,115200 quiet loglevel=4 \
     printk.devkmsg=on cryptomgr.notests sysctl.kernel.sysrq=0 sysctl.net.ipv4.tcp_fastopen=0";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// The one that runs.
    Full,
    /// What is started when nothing else can be: smaller, with nothing but what mends the machine.
    Recovery,
}

/// What it is made of, beside the packages.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The installer folder of the checkout.
    pub source: &'a Path,
    /// Folder with our static programs.
    pub binaries: &'a Path,
    /// Which kernel.
    pub kernel: Kernel,
    /// Folder whose content is laid over everything.
    pub overlay: Option<&'a Path>,
    /// Documents that are built in.
    pub config: Option<&'a Path>,
    /// Certificate of the rescue authority that is built in.
    pub rescue: Option<&'a Path>,
    /// Public keys whose installer images it takes.
    pub image_keys: &'a [PathBuf],
    /// More words for the command line.
    pub cmdline: &'a str,
}

/// A system.
#[derive(Debug)]
pub struct System {
    /// Which build.
    pub release: Release,
    /// The root file system.
    pub tree: Tree,
    /// The same as it is mounted.
    pub rootfs: Vec<u8>,
    /// The UKI, not signed.
    pub uki: Vec<u8>,
    init: Vec<u8>,
    modules: Vec<(String, Vec<u8>)>,
    linux: Vec<u8>,
    stub: Vec<u8>,
    packages: Vec<Package>,
    kernel: Kernel,
}

/// Builds one.
///
/// # Errors
/// What is missing or wrong.
pub fn build(image: &Image, lock: &Lock, parts: &Parts<'_>, edition: Edition) -> anyhow::Result<System> {
    let recovery = edition == Edition::Recovery;
    let base = if recovery {
        base::build(&image.recovery(), lock, parts.kernel)
    } else {
        base::build(image, lock, parts.kernel)
    }?;
    let release = Release {
        recovery,
        floor: Some(image.upgrades.floor.clone()),
        ..release::find(parts.source, &base.parts.release)
    };
    let overlay = parts.overlay.filter(|_| !recovery);
    let stub = rootfs::boot_file(&base, base::STUB);
    let linux = rootfs::boot_file(&base, base::VMLINUZ);
    let modules = modules(&base);
    let packages = base.parts.packages.clone();
    let inputs = rootfs::Inputs { source: parts.source, binaries: parts.binaries, overlay, release: &release };
    let mut tree = rootfs::build(base, &inputs)?;
    builtin::put(&mut tree, parts.config.filter(|_| !recovery), parts.rescue)?;
    builtin::put_keys(&mut tree, parts.image_keys)?;
    services::check(&tree)?;
    if overlay.is_none() {
        reviewed::check(&tree, parts.source, edition)?;
    }
    let rootfs = erofs::build(&tree, lock, release.built_unix)?;
    let init = rootfs::program(parts.binaries, "init")?;
    let initrd = initramfs::build(&initramfs::Content { init: &init, modules: &modules, rootfs: &rootfs })?;
    let cmdline = format!("{CMDLINE} {}", parts.cmdline);
    // the kernel last: older stubs decompress it in place and need the room behind it
    let sections = [
        (uki::OSREL, rootfs::os_release(&release).into_bytes()),
        (uki::CMDLINE, cmdline.trim_end().as_bytes().to_vec()),
        (uki::UNAME, release.kernel.clone().into_bytes()),
        (uki::INITRD, initrd),
        (uki::LINUX, linux.clone()),
    ];
    let sections: Vec<_> = sections.iter().map(|(name, bytes)| (*name, &**bytes)).collect();
    let uki = uki::assemble(&stub, &sections)?;
    Ok(System { release, tree, rootfs, uki, init, modules, linux, stub, packages, kernel: parts.kernel })
}

fn modules(base: &Base) -> Vec<(String, Vec<u8>)> {
    let parts = &base.parts;
    let files = parts.root_modules.iter().zip(&parts.root_module_files);
    files.map(|(name, path)| (name.clone(), rootfs::boot_file(base, path))).collect()
}

/// How much is in it, for people.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Files.
    pub files: usize,
    /// Debian packages.
    pub packages: usize,
    /// Crates and libraries in our programs.
    pub linked: usize,
}

impl System {
    /// The SBOM of the signed UKI with this digest.
    ///
    /// # Errors
    /// When cargo cannot be asked, or a package's licence is not known.
    pub fn sbom(
        &self,
        name: &str,
        digest: &str,
        image: &Image,
        manifest: &Path,
    ) -> anyhow::Result<(serde_json::Value, Counts)> {
        let mut files: Vec<spdx::File<'_>> = self
            .tree
            .files()
            .map(|(path, bytes, _, origin)| spdx::File {
                name: format!("rootfs{path}"),
                bytes,
                origin: origin.unwrap_or(&Origin::Stele),
            })
            .collect();
        let kernel = self.origin_of(Use::kernel(self.kernel));
        let stub = self.origin_of(Use::Stub);
        files.push(spdx::File { name: "initramfs/init".to_owned(), bytes: &self.init, origin: &Origin::Stele });
        files.extend(self.modules.iter().map(|(name, bytes)| spdx::File {
            name: format!("initramfs/modules/{name}.ko.xz"),
            bytes,
            origin: &kernel,
        }));
        files.push(spdx::File { name: "uki/linux".to_owned(), bytes: &self.linux, origin: &kernel });
        files.push(spdx::File { name: "uki/stub".to_owned(), bytes: &self.stub, origin: &stub });
        let mut linked = linked::crates::list(manifest)?;
        let programs = files.iter().filter(|file| *file.origin == Origin::Stele && elf::is_elf(file.bytes));
        linked.extend(linked::toolchain::list(&programs.map(|file| file.bytes).collect::<Vec<_>>()));
        let counts = Counts { files: files.len(), packages: self.packages.len(), linked: linked.len() };
        let document = spdx::document(&spdx::Inside {
            name,
            release: &self.release,
            digest,
            files: &files,
            packages: &self.packages,
            licences: &image.licences,
            linked: &linked,
        })?;
        Ok((document, counts))
    }

    fn origin_of(&self, wanted: Use) -> Origin {
        let package = self.packages.iter().find(|package| package.uses.contains(&wanted));
        package.map_or(Origin::Stele, |package| Origin::Package(package.name.clone()))
    }
}
