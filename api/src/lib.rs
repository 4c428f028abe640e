//! The contract between a node and its clients: generated messages and services, and how a client connects.
//!
//! Invariant: knows nothing of what runs on a node; both `machined` and `apictl` are built on it.

/// Messages, clients and servers of the package `stele.v1`, generated from `api/proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used)]
pub mod v1 {
    tonic::include_proto!("stele.v1");

    /// The encoded `FileDescriptorSet` of the package, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}

pub mod audit;
pub mod client;
pub mod connect;
pub mod endpoint;
pub mod error;
pub mod facts;
pub mod fingerprint;
pub mod follow;
pub mod log;
mod pin;
pub mod pki;
mod preface;
pub mod roles;
pub mod watch;

/// TCP port on which a node serves its API.
pub const PORT: u16 = 50000;
