//! The archive: tar, gzip.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use tar::{Builder, Header};
use tempfile::NamedTempFile;

use super::parts::Parts;

/// All nodes below one folder.
pub(super) fn build(top: &str, nodes: &[(String, Parts)]) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for (name, parts) in nodes {
        // An address has colons, a zone more: as a folder it has none.
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || "-.".contains(c) { c } else { '_' }).collect();
        let missing = parts.missing.iter().map(|line| format!("{line}\n")).collect::<String>();
        let more = (!missing.is_empty()).then(|| ("missing.txt".to_owned(), missing));
        for (path, text) in parts.files.iter().chain(&more) {
            let mut header = Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(jiff::Timestamp::now().as_second().try_into().unwrap_or(0));
            tar.append_data(&mut header, format!("{top}/{name}/{path}"), text.as_bytes())?;
        }
    }
    tar.into_inner()?.finish()
}

/// Whole or not at all; only its owner can read it.
pub(super) fn save(place: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.persist(place).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_stock_reader_finds_every_file_of_every_node() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("deep/a.tar.gz");
        let parts = Parts {
            files: vec![("resources/link.json".into(), "[]".into()), ("dmesg.log".into(), "x".repeat(70_000))],
            missing: vec!["audit-head.json: not permitted".into()],
        };
        let bytes = build("a", &[("[fe80::1%eth0]:50000".into(), parts), ("b".into(), Parts::default())]).unwrap();
        save(&place, &bytes).unwrap();
        let mut found = Vec::new();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(fs::File::open(&place).unwrap()));
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((entry.path().unwrap().display().to_string(), text.len()));
        }
        let at = |file: &str| format!("a/_fe80__1_eth0__50000/{file}");
        assert_eq!(found, [(at("resources/link.json"), 2), (at("dmesg.log"), 70_000), (at("missing.txt"), 31)]);
    }
}
