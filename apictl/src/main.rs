//! apictl.
fn main() {}
