//! The files of NoCloud, from wherever they are, to one configuration. Pure; any bytes are fine.

use config::kinds::Hostname;
use config::{Document, Problems};
use zeroize::Zeroizing;

use super::{Found, Input, decode, meta_data, network};

/// Problems that are told; the rest are counted. A console has 25 lines.
const TOLD: usize = 5;

/// The files, none where there is none.
#[derive(Clone, Default)]
pub(super) struct Seed {
    pub(super) user_data: Option<Zeroizing<Vec<u8>>>,
    pub(super) meta_data: Option<Zeroizing<Vec<u8>>>,
    pub(super) network_config: Option<Zeroizing<Vec<u8>>>,
    /// There is one, and nobody reads it.
    pub(super) vendor_data: bool,
}

/// Why they are no configuration: which file, where in it, what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct Error(pub(super) String);

impl Seed {
    /// What meta-data says.
    pub(super) fn meta_data(&self) -> Result<meta_data::MetaData, Error> {
        let text = text("meta-data", self.meta_data.as_ref())?;
        meta_data::parse(text).map_err(|problems| said("meta-data", &problems))
    }

    /// The names of the files that are there, as people know them.
    fn files(&self) -> String {
        let files = [
            ("user-data", self.user_data.is_some()),
            ("meta-data", self.meta_data.is_some()),
            ("network-config", self.network_config.is_some()),
            ("vendor-data is not read", self.vendor_data),
        ];
        files.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    }

    /// All files as one stream of documents; `place` is where they were. The user's own documents come first, so that
    /// their lines are those of user-data.
    pub(super) fn read(&self, place: &str, hostname: Option<String>) -> Result<Found, Error> {
        let Some(user_data) = &self.user_data else {
            return Err(Error("there is no file user-data: write Stele's documents into it".into()));
        };
        let mut own = decode::decode(user_data).map_err(|error| Error(format!("user-data: {error}")))?;
        let stream = config::parse(&own).map_err(|problems| said("user-data", &problems))?;
        let meta_data = self.meta_data()?;
        let network = text("network-config", self.network_config.as_ref())?;
        let mut others = network::documents(network).map_err(|problems| said("network-config", &problems))?;
        if let Some(hostname) = hostname.or(meta_data.hostname)
            && stream.documents.get("Hostname").is_none()
        {
            others.push(Document::of(None, Hostname { hostname }));
        }
        if !others.is_empty() {
            let made = others.iter().map(|document| document.whole().to_string()).collect::<Vec<_>>().join("\n---\n");
            // Read and written again: a person will see these documents.
            let made = config::parse(&made).map_err(|problems| said_of_made(&others, problems))?;
            own.push_str("\n---\n");
            own.push_str(&config::format(&made.documents));
        }
        let whole =
            config::parse(&own).map_err(|problems| said("user-data with network-config and meta-data", &problems))?;
        config::complete(&whole.documents).map_err(|problems| said("user-data", &problems))?;
        let input = Input { text: own, from: format!("{place} ({})", self.files()) };
        Ok(Found { input, instance_id: meta_data.instance_id.unwrap_or_default() })
    }
}

fn text<'a>(file: &str, bytes: Option<&'a Zeroizing<Vec<u8>>>) -> Result<&'a str, Error> {
    let bytes = bytes.map_or(&[][..], |bytes| bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| Error(format!("{file}: it is no UTF-8 text")))?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Without the source's own words, which may be secrets.
pub(super) fn said(file: &str, problems: &Problems) -> Error {
    let Problems(list) = problems;
    let mut text: Vec<String> = list.iter().take(TOLD).map(|problem| format!("{file}: {problem}")).collect();
    if list.len() > TOLD {
        text.push(format!("and {} problems more", list.len() - TOLD));
    }
    Error(text.join("; "))
}

/// A value that the types of network-config let through and documents do not: named by its document.
fn said_of_made(made: &[Document], Problems(mut list): Problems) -> Error {
    for problem in &mut list {
        let of = problem.document.checked_sub(1).and_then(|at| made.get(at)).map(Document::id).unwrap_or_default();
        problem.path = if problem.path.is_empty() { of } else { format!("{of}: {}", problem.path) };
        (problem.line, problem.column, problem.document) = (0, 0, 0);
    }
    said("network-config and meta-data, as documents", &Problems(list))
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: &str = include_str!("../../corpus/user_data/whole");

    fn seed(user: &str, meta: &str, network: &str) -> Seed {
        let bytes = |text: &str| (!text.is_empty()).then(|| Zeroizing::new(text.as_bytes().to_vec()));
        Seed { user_data: bytes(user), meta_data: bytes(meta), network_config: bytes(network), vendor_data: true }
    }

    #[test]
    fn all_files_are_one_stream() {
        let network = "version: 2\nethernets:\n  eth0: {dhcp4: true}\n";
        let read = seed(API, "instance-id: i\nlocal-hostname: node-7\n", network).read("/dev/vdb", None).unwrap();
        let stream = config::parse(&read.input.text).unwrap();
        let ids: Vec<_> = stream.documents.iter().map(Document::id).collect();
        assert_eq!(ids, ["Api", "Link/eth0", "Hostname"]);
        assert!(stream.secrets.is_some(), "the stream keeps the secrets");
        assert!(read.input.text.starts_with(API), "lines are the user's own");
        assert_eq!(read.input.from, "/dev/vdb (user-data, meta-data, network-config, vendor-data is not read)");
        assert_eq!(read.instance_id, "i");
        assert!(!format!("{read:?}").contains("BEGIN"), "nobody logs it");

        let named = format!("{API}---\napiVersion: stele/v1\nkind: Hostname\nhostname: mine\n");
        let read = seed(&named, "local-hostname: other\n", "").read("x", Some("third".into())).unwrap();
        assert!(!read.input.text.contains("other") && !read.input.text.contains("third"));
        let read = seed(API, "local-hostname: other\n", "").read("x", Some("third".into())).unwrap();
        assert!(read.input.text.contains("third"), "what the firmware says counts more");
    }

    #[test]
    fn each_refusal_names_the_file_and_the_place() {
        let twice = format!("{API}---\napiVersion: stele/v1\nkind: Link\nname: eth0\n");
        let ethernet = "version: 2\nethernets:\n  eth0: {}\n";
        for (user, meta, network, wanted) in [
            ("", "instance-id: i\n", "", "there is no file user-data"),
            ("#cloud-config\n", "", "", "user-data: it is a #cloud-config (for cloud-init)"),
            (
                "apiVersion: stele/v1\nkind: Hostnam\n",
                "",
                "",
                "user-data: line 2, column 7: kind: there is no such kind: did you mean Hostname?",
            ),
            (
                "apiVersion: stele/v1\nkind: Hostname\nhostname: a\n",
                "",
                "",
                "user-data: a document of kind Api is missing",
            ),
            (API, "local-hostname: [a]\n", "", "meta-data: line 1"),
            (API, "local-hostname: 'a b'\n", "", "as documents: Hostname: hostname: expected a host name"),
            (API, "", "version: 2\nethernets:\n  eth0: {dhcp5: true}\n", "network-config: line 3"),
            (API, "", "version: 2\nethernets:\n  a: {mtu: 3}\n", "as documents: Link/a: mtu: expected 68"),
            (&twice, "", ethernet, "Link/eth0 is there already"),
        ] {
            let said = seed(user, meta, network).read("x", None).unwrap_err().to_string();
            assert!(said.contains(wanted), "{said}\nwants\n{wanted}");
        }
        let many = "apiVersion: stele/v1\nkind: x\n---\n".repeat(9);
        assert!(seed(&many, "", "").read("x", None).unwrap_err().to_string().ends_with("and 4 problems more"));
        let binary = Seed { meta_data: Some(Zeroizing::new(vec![0xff])), ..seed(API, "", "") };
        assert_eq!(binary.read("x", None).unwrap_err().0, "meta-data: it is no UTF-8 text");
    }
}
