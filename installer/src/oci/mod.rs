//! Installer images: OCI images in registries and in folders, signed as cosign signs with a key.
//!
//! ```text
//! index  (what is signed, and what an image is called for ever)
//!   └─ manifest for linux/amd64
//!        ├─ configuration: the Stele manifest (config::image::Manifest)
//!        └─ layers, not compressed: uki, recovery, loader, installer
//! sha256-<digest of the index>.sig  (a tag beside it: cosign's manifest, a layer for each signature)
//! ```
//! [`pull`] is the node's side: it trusts nothing that a registry, a mirror or a disk says, keeps little in memory, and ends in
//! time. Building, signing and pushing are [`imager`](crate::commands)'s, compiled with the feature `imager` alone.
//!
//! Written on hyper, not on a registry client (docs/decisions/0016-own-registry-client.md).

#[cfg(feature = "imager")]
pub mod build;
mod client;
mod endpoint;
mod failure;
mod fetch;
mod fits;
mod folder;
mod key;
mod layout;
mod payload;
pub mod pull;
#[cfg(feature = "imager")]
pub mod push;
mod registry;
mod report;
mod resolve;
#[cfg(feature = "imager")]
pub mod sign;
mod source;
pub mod spec;
#[cfg(feature = "imager")]
pub mod verify;

pub use failure::Failure;
#[cfg(feature = "imager")]
pub(crate) use key::{is_key, pem as public_pem};
pub use report::Report;
