//! `installer`: what a machine does with installer images. Started by machined, as little privileged as each step allows; an
//! installer image brings its own.
//!
//! `installer pull`: see `config::image::pull`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match (words.next().as_deref(), words.next()) {
        (Some("pull"), None) => {
            if installer::oci::pull::run(std::io::stdin().lock(), std::io::stdout().lock()) {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            }
        }
        _ => {
            eprintln!("usage: installer pull < REQUEST");
            ExitCode::from(2)
        }
    }
}
