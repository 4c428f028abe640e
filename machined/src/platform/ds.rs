//! `ds=nocloud;s=URL`, as the firmware's serial number or the kernel's command line have it. Pure; any text is fine.

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ds {
    /// Where the files are.
    pub(super) url: String,
    /// What the machine is to be called.
    pub(super) hostname: Option<String>,
}

/// From a serial number, which is about something else on most machines.
pub(super) fn of_serial(text: &str) -> Option<Result<Ds, String>> {
    parse(text.trim())
}

/// From a command line: the last that is there counts, as the kernel has it.
pub(super) fn of_command_line(text: &str) -> Option<Result<Ds, String>> {
    words(text).filter_map(|word| parse(&word)).last()
}

/// Words as the kernel splits them: quotes keep blanks. A boot loader may have left a backslash before a semicolon.
fn words(text: &str) -> impl Iterator<Item = String> {
    let mut quoted = false;
    let split = text.split(move |c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    });
    split.map(|word| word.replace('"', "").replace("\\;", ";")).collect::<Vec<_>>().into_iter()
}

/// None: it names no source of ours. An address is wanted: without one cloud-init would look for a disk, as we do anyway.
fn parse(word: &str) -> Option<Result<Ds, String>> {
    let said = word.strip_prefix("ds=")?;
    let mut parts = said.split(';');
    if !matches!(parts.next()?, "nocloud" | "nocloud-net") {
        return None;
    }
    let mut found = Ds::default();
    for part in parts.filter(|part| !part.is_empty()) {
        let value = |value: &str| Some(value.to_owned()).filter(|value| !value.is_empty());
        match part.split_once('=') {
            Some(("s" | "seedfrom", url)) => url.clone_into(&mut found.url),
            Some(("h" | "local-hostname", name)) => found.hostname = value(name),
            Some(("i" | "instance-id", _)) => {}
            _ => return Some(Err("expected ds=nocloud;s=URL, and h=NAME or i=ID after a semicolon".into())),
        }
    }
    (!found.url.is_empty()).then_some(Ok(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_and_command_lines() {
        let ds = |url: &str, name: Option<&str>| Some(Ok(Ds { url: url.into(), hostname: name.map(Into::into) }));
        let url = "http://192.0.2.1/a/";
        assert_eq!(of_serial("ds=nocloud;s=http://192.0.2.1/a/\n"), ds(url, None));
        assert_eq!(of_serial("ds=nocloud-net;h=node;seedfrom=http://192.0.2.1/a/;i=7;"), ds(url, Some("node")));
        for other in ["", "PF3ABCDE", "ds=nocloud", "ds=nocloud;h=a", "ds=ec2;s=http://x/", "xds=nocloud;s=http://x/"] {
            assert_eq!(of_serial(other), None, "{other}");
        }
        assert!(matches!(of_serial("ds=nocloud;s=http://x/;q"), Some(Err(_))));
        assert_eq!(of_command_line("quiet ds=nocloud;s=http://192.0.2.1/a/ panic=-1"), ds(url, None));
        assert_eq!(of_command_line("\"ds=nocloud;s=http://192.0.2.1/a/\""), ds(url, None));
        assert_eq!(of_command_line("ds=\"nocloud;s=http://192.0.2.1/a/\" x=\"a b\""), ds(url, None));
        assert_eq!(of_command_line("ds=nocloud\\;s=http://192.0.2.1/a/"), ds(url, None));
        assert_eq!(of_command_line("ds=nocloud;s=http://x/ ds=nocloud;s=http://192.0.2.1/a/"), ds(url, None));
        assert_eq!(of_command_line("root=/dev/vda quiet"), None);
    }

    fuzz::targets! {
        ds: |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let _ = (of_serial(&text), of_command_line(&text));
        },
    }
}
