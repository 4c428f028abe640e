//! `imager`: builds the image from pinned Debian packages and this workspace's programs.
//!
//! ```text
//! packages.lock --fetch--> .debs --base--> the files named in image.yaml, and what they need
//!   + our programs, services, generated files --rootfs--> tree --erofs--> rootfs.erofs
//!   + init, the root's modules --initramfs--> initrd --uki--> one EFI program, signed (and a smaller one for recovery)
//!   + the loader, partition table, EFI file system, META --disk--> a raw disk
//!   + recovery, loader and the node's program `installer` --oci--> an image for registries, signed
//! ```
//! And `installer`, the node's own side of it: fetches such an image ([`oci`]). Compiled without the feature `imager` it
//! links nothing of the builder.
//!
//! Invariant: the same lock file, programs, commit and signing key give the same bytes, wherever and by whomever they are
//! built. (The programs are the same bytes when rustc, gcc and glibc of the build machine are the same.)

#[cfg(feature = "imager")]
pub mod base;
#[cfg(feature = "imager")]
pub mod builtin;
#[cfg(feature = "imager")]
pub mod cache;
#[cfg(feature = "imager")]
pub mod commands;
#[cfg(feature = "imager")]
pub mod deb;
pub mod disk;
pub mod documents;
#[cfg(feature = "imager")]
pub mod efi_program;
#[cfg(feature = "imager")]
pub mod elf;
#[cfg(feature = "imager")]
pub mod erofs;
pub mod esp;
pub mod fat;
#[cfg(feature = "imager")]
pub mod fetch;
#[cfg(feature = "imager")]
pub mod host;
#[cfg(feature = "imager")]
pub mod initramfs;
#[cfg(feature = "imager")]
pub mod inspect;
pub mod install;
#[cfg(feature = "imager")]
pub mod iso;
#[cfg(feature = "imager")]
pub mod keys;
#[cfg(feature = "imager")]
pub mod linked;
#[cfg(feature = "imager")]
pub mod lock;
#[cfg(feature = "imager")]
pub mod mirror;
#[cfg(feature = "imager")]
pub mod modules;
pub mod oci;
pub mod pe;
#[cfg(feature = "imager")]
pub mod progress;
#[cfg(feature = "imager")]
pub mod purl;
#[cfg(feature = "imager")]
pub mod release;
#[cfg(feature = "imager")]
pub mod reviewed;
#[cfg(feature = "imager")]
pub mod rootfs;
#[cfg(feature = "imager")]
pub mod services;
#[cfg(feature = "imager")]
pub mod sign;
#[cfg(feature = "imager")]
pub mod spdx;
#[cfg(feature = "imager")]
pub mod spec;
#[cfg(feature = "imager")]
pub mod sums;
#[cfg(feature = "imager")]
pub mod system;
#[cfg(feature = "imager")]
pub mod tools;
#[cfg(feature = "imager")]
pub mod tree;
pub mod uki;
pub mod whole;

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    sys::Chain(error).to_string()
}
