//! The gateway, the only program that listens to the network. Everything is in `machined::gateway`.

fn main() {}
