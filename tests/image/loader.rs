//! The loader's program in the eyes of objdump: what it may not hold, since there is no operating system below it.

use tests::artifacts;

use crate::{command, ok};

#[test]
fn the_loader_leaves_the_stack_below_it_alone_and_knows_no_threads() {
    let code = ok(command("objdump").args(["-d", "--no-show-raw-insn"]).arg(artifacts::binaries().join("loader")));
    let uses = |what: &str| code.lines().filter(|line| line.contains(what)).map(str::to_owned).collect::<Vec<_>>();
    // It was disassembled at all, and hashes with the processor's instructions where there are any.
    assert!(uses("(%rsp)").len() > 100, "{code}");
    assert!(!uses("sha256rnds2").is_empty(), "no SHA instructions: hashing would be slow");
    // The firmware's interrupts use the stack from its pointer downwards; there is nothing behind these segments.
    let red_zone = |line: &String| {
        let operand = line.split_once("(%rsp").map(|(before, _)| before.rsplit([' ', ',', '\t']).next());
        operand.flatten().is_some_and(|offset| offset.starts_with("-0x"))
    };
    let below: Vec<_> = uses("(%rsp").into_iter().filter(red_zone).collect();
    assert_eq!(below, Vec::<String>::new(), "the red zone is used");
    for segment in ["%fs:", "%gs:"] {
        assert_eq!(uses(segment), Vec::<String>::new(), "thread-local memory is used");
    }
}

#[test]
fn the_loader_is_an_efi_program_that_can_be_moved_and_protected() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("loader.efi");
    ok(command(artifacts::imager())
        .args(["loader", "--binaries"])
        .arg(artifacts::binaries())
        .arg("--output")
        .arg(&file));
    let head = ok(command("objdump").arg("-p").arg(&file));
    for word in ["EFI application", "SectionAlignment\t00001000", "DYNAMIC_BASE", "NX_COMPAT"] {
        assert!(head.contains(word), "no '{word}' in:\n{head}");
    }
    assert!(!head.contains("Entry 5 0000000000000000"), "no relocations:\n{head}");
    let said = ok(command("sbverify").arg("--cert").arg(artifacts::certificate()).arg(&file));
    assert!(said.contains("Signature verification OK"), "{said}");
    let size = std::fs::metadata(&file).expect("the file").len();
    assert!(size < 128 << 10, "{size} bytes: what of a whole library came in?");
}
