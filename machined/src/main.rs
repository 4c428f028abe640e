//! machined.
fn main() {}
