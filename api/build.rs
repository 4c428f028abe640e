//! Compiles the contract in `proto/` with protox (no protoc needed) and keeps its descriptors for reflection.
use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 8] = [
    "stele/v1/machine.proto",
    "stele/v1/resource.proto",
    "stele/v1/log.proto",
    "stele/v1/diagnostics.proto",
    "stele/v1/errors.proto",
    "stele/v1/config.proto",
    "stele/v1/enrolment.proto",
    "stele/v1/audit.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // tonic's builder does not write this itself when it is given descriptors.
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
