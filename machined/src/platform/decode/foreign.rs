//! What user-data is when it is not ours, so that a refusal can name it. Pure.

/// Whether this looks like a stream of Stele's documents: somewhere a line says so.
pub(in crate::platform) fn ours(text: &str) -> bool {
    text.lines().any(|line| line.trim_start_matches(['"', '\'']).starts_with("apiVersion") && line.contains("stele/"))
}

/// Other ways to pack, by their first bytes.
pub(super) fn packing(bytes: &[u8]) -> Option<&'static str> {
    const MAGICS: [(&[u8], &str); 7] = [
        (b"\xfd7zXZ\0", "packed by xz"),
        (b"BZh", "packed by bzip2"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x04\x22\x4d\x18", "packed by lz4"),
        (b"7z\xbc\xaf", "a 7z archive"),
        (b"\xff\xfe", "UTF-16 text"),
        (b"\xfe\xff", "UTF-16 text"),
    ];
    MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name)
}

/// Of another system, by its first line or by what only that system has.
pub(super) fn name(text: &str) -> Option<&'static str> {
    const FIRST: [(&str, &str); 14] = [
        ("#cloud-config-archive", "a cloud-config archive (for cloud-init)"),
        ("#cloud-config", "a #cloud-config (for cloud-init)"),
        ("#cloud-boothook", "a boot hook (for cloud-init)"),
        ("#include", "a list of URLs to include (for cloud-init)"),
        ("#part-handler", "a part handler (for cloud-init)"),
        ("#upstart-job", "an Upstart job (for cloud-init)"),
        ("## template:", "a template (for cloud-init)"),
        ("#ps1", "a PowerShell script"),
        ("<powershell>", "a PowerShell script"),
        ("<script>", "a Windows script"),
        ("#!", "a script, and Stele runs none"),
        ("<?xml", "XML"),
        ("<", "HTML or XML"),
        ("-----BEGIN ", "a PEM file (keys or certificates alone)"),
    ];
    let text = text.trim_start();
    let found = FIRST.iter().find(|(first, _)| text.starts_with(first)).map(|(_, name)| *name);
    if found.is_some() || ours(text) {
        return found;
    }
    let has = |line: &str| text.lines().any(|found| found.trim_end() == line || found.starts_with(&format!("{line} ")));
    if text.starts_with('{') {
        let named = if text.contains("\"ignition\"") {
            "Ignition (for Flatcar or Fedora CoreOS)"
        } else {
            "JSON without documents of Stele"
        };
        return Some(named);
    }
    match () {
        () if has("variant: flatcar") || has("variant: fcos") => Some("Butane (for Flatcar or Fedora CoreOS)"),
        () if has("machine:") && has("version: v1alpha1") => Some("a machine configuration of Talos"),
        () if text.lines().any(|line| line.starts_with("[settings")) => Some("TOML (settings of Bottlerocket)"),
        () if has("instance-id:") => Some("meta-data, which belongs into the file meta-data"),
        () if has("network:") || has("ethernets:") => {
            Some("a network configuration, which belongs into network-config")
        }
        () => None,
    }
}
