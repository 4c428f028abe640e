//! Other versions of the test image's UKI: the same program with a few bytes changed, so that its digest is another.

use std::{fs, ops::Range};

use anyhow::{Context, Result};
use tests::artifacts;

/// One that is as good, of version 0.1.TAG as far as its os-release says.
pub(crate) fn another(tag: u8) -> Result<Vec<u8>> {
    let mut uki = uki()?;
    let text = section(&uki, ".osrel")?;
    let text = &mut uki[text];
    let line = find(text, b"VERSION_ID=")?;
    let end = find(&text[line..], b"\n")?;
    text[line + end - 1] = b'0' + tag;
    Ok(uki)
}

/// One whose kernel finds no init: its initramfs is no archive any more.
pub(crate) fn without_init(tag: u8) -> Result<Vec<u8>> {
    let mut uki = uki()?;
    let initramfs = section(&uki, ".initrd")?;
    uki[initramfs][..6].fill(tag);
    Ok(uki)
}

/// One whose kernel never asks the firmware for anything: its variables can neither be read nor written.
pub(crate) fn without_variables() -> Result<Vec<u8>> {
    const GIVEN_UP: &[u8] = b"sysctl.net.ipv4.tcp_fastopen=0";
    let mut uki = uki()?;
    let cmdline = section(&uki, ".cmdline")?;
    let at = cmdline.start + find(&uki[cmdline], GIVEN_UP)?;
    let word = &mut uki[at..at + GIVEN_UP.len()];
    word.fill(b' ');
    word[..13].copy_from_slice(b"efi=noruntime");
    Ok(uki)
}

fn uki() -> Result<Vec<u8>> {
    let path = artifacts::test_image().uki()?;
    fs::read(&path).with_context(|| path.display().to_string())
}

/// Where a section lies (Microsoft's PE format: headers, section table).
fn section(pe: &[u8], name: &str) -> Result<Range<usize>> {
    let u32_at = |at: usize| -> Result<usize> {
        let bytes = pe.get(at..at + 4).context("cut short")?;
        Ok(u32::from_le_bytes(bytes.try_into()?).try_into()?)
    };
    let headers = u32_at(60)?;
    let (count, optional) = (u32_at(headers + 6)? & 0xffff, u32_at(headers + 20)? & 0xffff);
    let table = headers + 24 + optional;
    for at in (0..count).map(|index| table + 40 * index) {
        if pe.get(at..at + 8).context("cut short")?.starts_with(name.as_bytes()) {
            let (len, start) = (u32_at(at + 8)?, u32_at(at + 20)?);
            return Ok(start..start + len);
        }
    }
    anyhow::bail!("no section {name}")
}

fn find(bytes: &[u8], text: &[u8]) -> Result<usize> {
    let found = bytes.windows(text.len()).position(|window| window == text);
    found.with_context(|| format!("no '{}'", String::from_utf8_lossy(text)))
}
