//! How the program is linked: a static position-independent ELF file without anything of the system in it, which imager
//! turns into an EFI program.

const ARGUMENTS: &[&str] = &[
    "-nostartfiles",
    "-nostdlib",
    "-static-pie",
    "-Wl,-e,efi_main,--no-dynamic-linker,--gc-sections,--build-id=none,--no-undefined",
    // A relocation in code would need pages that can be written and executed.
    "-Wl,-z,text",
    // Code in segments of its own, so that each becomes a section with the rights of one kind.
    "-Wl,-z,separate-code",
    "-Wl,-z,norelro",
    "-Wl,-z,noexecstack",
    "-Wl,-z,max-page-size=4096",
];

fn main() {
    for argument in ARGUMENTS {
        println!("cargo::rustc-link-arg-bin=loader={argument}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
