//! The harness of the stories: a real machine in QEMU (firmware, TPM, disks, network, console) and the real `apictl`.
//!
//! Invariant: nothing here talks to anything but loopback and the guests it started, and whatever it starts ends with the
//! value that owns it. Everything blocks; each wait has a deadline and says what it waited for.

pub mod apictl;
pub mod artifacts;
pub mod chaos;
pub mod child;
pub mod cuts;
pub mod machine;
pub mod nocloud;
pub mod operator;
pub mod registry;
pub mod runner;
pub mod scratch;
pub mod vm;
pub mod wait;
