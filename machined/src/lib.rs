//! What runs on a node: `machined` (the brain) and `gateway` (the only listener). Two thin programs use this library:
//! `main.rs` and `bin/gateway.rs`. Read `boot.rs` first: it is the whole start from top to bottom.
//!
//! Who may import whom: `controllers` never import `server` or one another, `server` never imports `controllers`; they
//! meet in the store, by the types in `resources`.

pub mod answered;
pub mod audit;
pub mod blocking;
pub mod boot;
pub mod cgroup;
pub mod clock;
pub mod configuration;
pub mod controllers;
pub mod documents;
pub mod drivers;
pub mod efi;
pub mod entropy;
pub mod etc;
pub mod events;
pub mod file;
pub mod gateway;
pub mod generations;
pub mod identity;
pub mod image;
pub mod jobs;
pub mod limits;
pub mod link;
pub mod logs;
pub mod maintenance;
pub mod meta;
pub mod meter;
pub mod mounts;
pub mod offer;
pub mod pki;
pub mod platform;
pub mod poll;
pub mod program;
pub mod resources;
pub mod served;
pub mod server;
pub mod services;
pub mod shutdown;
pub mod state;
pub mod stop;
pub mod tasks;
pub mod trace;
pub mod uevent;
pub mod uptime;
