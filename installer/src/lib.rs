//! `imager`: builds the image from pinned Debian packages and this workspace's programs.
//!
//! ```text
//! packages.lock --fetch--> .debs --base--> the files named in image.yaml, and what they need
//!   + our programs, services, generated files --rootfs--> tree --erofs--> rootfs.erofs
//!   + init, the root's modules --initramfs--> initrd --uki--> one EFI program, signed
//!   + partition table, EFI file system, META --disk--> a raw disk
//! ```
//! Invariant: the same lock file, programs, commit and signing key give the same bytes, wherever and by whomever they are
//! built. (The programs are the same bytes when rustc, gcc and glibc of the build machine are the same.)

pub mod base;
pub mod builtin;
pub mod cache;
pub mod commands;
pub mod deb;
pub mod disk;
pub mod efi_program;
pub mod elf;
pub mod erofs;
pub mod fat;
pub mod fetch;
pub mod host;
pub mod initramfs;
pub mod inspect;
pub mod keys;
pub mod linked;
pub mod lock;
pub mod mirror;
pub mod modules;
pub mod pe;
pub mod progress;
pub mod purl;
pub mod release;
pub mod reviewed;
pub mod rootfs;
pub mod services;
pub mod sign;
pub mod spdx;
pub mod spec;
pub mod sums;
pub mod tree;
pub mod uki;
