//! Link options for the static program of the image: fewer and denser pages, because PID 1's memory is mostly its own file.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|feature| feature == "crt-static") {
        // 42 KB of relocations become 2; no pages are lost to alignment. PSS 1230 -> 994 KiB together with `sys::entry!`.
        for option in ["-z,pack-relative-relocs", "-z,noseparate-code"] {
            println!("cargo:rustc-link-arg-bins=-Wl,{option}");
        }
    }
}
