//! machined, the brain of the machine. Everything is in the library; see `machined::boot`.

fn main() {}
