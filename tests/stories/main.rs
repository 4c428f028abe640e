//! The stories: what an operator sees, told with real machines. One file each, named as sentences.

mod boots;

use std::process::ExitCode;

fn main() -> ExitCode {
    let stories = [boots::stories()].into_iter().flatten().collect();
    tests::runner::run(stories, || {})
}
