//! Installer images with the real registry server, and with stock skopeo and cosign (pinned Debian packages): pushed, signed,
//! verified, pulled; and what becomes of a pull when a registry cuts, lies, or wants to know who asks.
#![expect(clippy::unwrap_used, reason = "a failure is the test's failure")]

mod fixture;
mod proxy;
mod pulls;
mod refusals;
mod server;
mod stock;
