//! Installer images: what they are named ([`Reference`]), what their manifest says ([`Manifest`]), and what machined and the
//! program `installer` say to each other when one is fetched ([`pull`]) and put on a disk ([`esp`], [`install`]). Pure: nothing is opened here.
//!
//! An installer image is an OCI image index with a manifest for each architecture. The configuration blob of such a manifest
//! is the [`Manifest`] here, its layers are the parts that it names, not compressed. The signature is cosign's, with a key,
//! over the digest of the index.

pub mod esp;
pub mod install;
mod manifest;
pub mod pull;
mod reference;
#[cfg(test)]
mod tests;

pub use manifest::{FORMAT, Manifest, Part};
pub use reference::{Digest, Place, Reference};
