//! imager.
fn main() {}
