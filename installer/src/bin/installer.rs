//! `installer`: what a machine does with installer images. Started by machined, as little privileged as each step allows; an
//! installer image brings its own.
//!
//! `installer pull`: see `config::image::pull`. `installer esp`: see `config::image::esp`. `installer install`: see
//! `config::image::install`. `installer check`: whether documents on standard input can be used by this version.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match (words.next().as_deref(), words.next()) {
        (Some("pull"), None) => code(installer::oci::pull::run(std::io::stdin().lock(), std::io::stdout().lock())),
        (Some("check"), None) => code(installer::documents::check(std::io::stdin().lock(), std::io::stdout().lock())),
        (Some("esp"), None) => code(installer::esp::run(std::io::stdin().lock(), std::io::stdout().lock())),
        (Some("install"), None) => code(installer::install::run(std::io::stdin().lock(), std::io::stdout().lock())),
        _ => {
            eprintln!("usage: installer pull|esp|install < REQUEST, installer check < DOCUMENTS");
            ExitCode::from(2)
        }
    }
}

fn code(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
