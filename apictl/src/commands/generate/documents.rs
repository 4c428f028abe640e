//! The first documents of a machine, with comments that say what is in them.

use api::endpoint::Endpoint;

use super::config::Args;
use crate::{
    bundle::{API, Bundle, RESCUE},
    exit::{Failure, Result},
    text,
};

/// File name and text of each.
pub(super) fn documents(bundle: &Bundle, args: &Args, endpoints: &[Endpoint]) -> Result<Vec<(&'static str, String)>> {
    let ca = bundle.certificate(API).unwrap_or_default();
    let mut all = vec![("api.yaml", api(ca, bundle.certificate(RESCUE), &names(endpoints)))];
    if !args.no_authority {
        all.push(("authority.yaml", authority(ca)));
    }
    if let Some(hostname) = &args.hostname {
        if text::plain(hostname) != *hostname {
            return Err(Failure::usage(format!("{hostname:?} is no host name"), ""));
        }
        all.push(("hostname.yaml", format!("{}hostname: {hostname}\n", head("Hostname", HOSTNAME))));
    }
    Ok(all)
}

/// Names by which the machine is reached and that it may not know itself.
fn names(endpoints: &[Endpoint]) -> Vec<String> {
    let near = |host: &str| host == "localhost" || host.starts_with("127.") || host == "::1" || host.contains('%');
    let hosts = endpoints.iter().map(Endpoint::host).filter(|host| !near(host) && !host.contains('_'));
    hosts.map(str::to_owned).collect()
}

const HOSTNAME: &str = "# What the machine calls itself.\n";

fn head(kind: &str, comment: &str) -> String {
    format!("{comment}apiVersion: stele/v1\nkind: {kind}\n")
}

fn api(ca: &str, rescue: Option<&str>, names: &[String]) -> String {
    let mut text = head("Api", "# Who may use the machine's API, and by which names it is reached.\n");
    text.push_str("# Clients whose certificate one of these authorities signed are let in, with the role it names.\n");
    text.push_str(&format!("accept:\n- name: api-ca\n  certificate: |\n{}", indented(ca, 4)));
    if let Some(rescue) = rescue {
        text.push_str("# What this one signs is let in whatever the documents say, for 24 hours at most. Its key stays offline.\n");
        text.push_str(&format!("rescue: |\n{}", indented(rescue, 2)));
    }
    if !names.is_empty() {
        text.push_str(
            "# Names and addresses by which it is reached, beside those that it has itself.\nsubjectNames:\n",
        );
        names.iter().for_each(|name| text.push_str(&format!("- \"{name}\"\n")));
    }
    text
}

fn authority(ca: &str) -> String {
    let mut text = head(
        "Authority",
        "# The machine signs certificates: its own, and those of nodes and clients that renew theirs.\n",
    );
    text.push_str(&format!("certificate: |\n{}", indented(ca, 2)));
    text.push_str("# The name of its key in the secrets bundle.\nsecret: api-ca\n");
    text
}

fn indented(pem: &str, by: usize) -> String {
    pem.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bundle;

    #[test]
    fn the_documents_are_right_and_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.yaml");
        crate::secret::create(&path, &bundle::text(&bundle::make().unwrap())).unwrap();
        let bundle = Bundle::load(&path).unwrap();
        let args = Args {
            secrets: path,
            hostname: Some("web-1".into()),
            no_authority: false,
            no_context: true,
            ttl: Duration::from_secs(60),
            replace: false,
            user_data: false,
        };
        let endpoints = ["10.0.0.1", "127.0.0.1", "fe80::1%eth0", "web.example"].map(|text| text.parse().unwrap());
        let all = documents(&bundle, &args, &endpoints).unwrap();
        let whole = all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("---\n");
        let stream = config::parse(&whole).unwrap();
        config::complete(&stream.documents).unwrap();
        assert_eq!(stream.documents.secrets().into_iter().collect::<Vec<_>>(), [API]);
        let (_, api) = stream.documents.of::<config::kinds::Api>().next().unwrap();
        assert_eq!(api.subject_names, ["10.0.0.1", "web.example"]);
        assert!(!whole.contains("PRIVATE") && whole.contains("# "), "{whole}");
    }
}
