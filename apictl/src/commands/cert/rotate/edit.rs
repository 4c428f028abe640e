//! The documents of a node, changed from one authority to another. Pure: text in, text out, comments kept.

use api::pki::Certificate;
use config::kinds::{Accepted, Api, Authority};
use serde_json::json;

use crate::exit::{Failure, Result};

/// What a node's documents say of the two authorities.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stand {
    pub(super) accepts_old: bool,
    pub(super) accepts_new: bool,
    /// The secret of its Authority, and whether that is the new one already.
    pub(super) authority: Option<(String, bool)>,
}

pub(super) fn stand(documents: &str, old: &Certificate, new: &Certificate) -> Result<Stand> {
    let stream = parse(documents)?;
    let accepted: Vec<_> = stream.of::<Api>().flat_map(|(_, api)| &api.accept).collect();
    let accepts = |ca: &Certificate| accepted.iter().any(|accepted| is(&accepted.certificate, ca));
    let authority = stream.of::<Authority>().next();
    Ok(Stand {
        accepts_old: accepts(old),
        accepts_new: accepts(new),
        authority: authority.map(|(_, authority)| (authority.secret.clone(), is(&authority.certificate, new))),
    })
}

/// With the new authority among those accepted.
pub(super) fn accept(documents: &str, new: &Certificate) -> Result<String> {
    let mut accepted = accepted(documents)?;
    accepted.push(Accepted { name: Some(new.common_name.clone()), certificate: new.pem() });
    set_accepted(documents, &accepted)
}

/// Without the old one.
pub(super) fn drop_old(documents: &str, old: &Certificate) -> Result<String> {
    let mut accepted = accepted(documents)?;
    accepted.retain(|accepted| !is(&accepted.certificate, old));
    set_accepted(documents, &accepted)
}

/// With the new one as the node's own Authority.
pub(super) fn authority(documents: &str, new: &Certificate) -> Result<String> {
    let operations = json!([{ "op": "replace", "path": "/certificate", "value": new.pem() }]);
    config::patch::json(documents, "Authority", &operations.to_string()).map_err(failed)
}

fn accepted(documents: &str) -> Result<Vec<Accepted>> {
    Ok(parse(documents)?.of::<Api>().flat_map(|(_, api)| api.accept.clone()).collect())
}

fn set_accepted(documents: &str, accepted: &[Accepted]) -> Result<String> {
    let operations = json!([{ "op": "replace", "path": "/accept", "value": accepted }]);
    config::patch::json(documents, "Api", &operations.to_string()).map_err(failed)
}

fn parse(documents: &str) -> Result<config::Documents> {
    let stream = config::parse(documents);
    stream.map(|stream| stream.documents).map_err(|problems| Failure::usage(problems.to_string(), ""))
}

fn is(pem: &str, ca: &Certificate) -> bool {
    Certificate::parse(pem).is_ok_and(|found| found == *ca)
}

fn failed(error: config::patch::Error) -> Failure {
    Failure::usage(error.to_string(), "")
}

#[cfg(test)]
mod tests {
    use api::pki::Ca;

    use super::*;

    #[test]
    fn from_the_old_one_over_both_to_the_new_one() {
        let (old, new) = (Ca::make("old").unwrap(), Ca::make("new").unwrap());
        let (old, new) = (old.certificate(), new.certificate());
        let pem = old.pem().replace('\n', "\n    ");
        let text = format!(
            "# who\napiVersion: stele/v1\nkind: Api\naccept:\n- certificate: |\n    {pem}\nallow: [10.0.0.0/8] # ours\n---\n\
             apiVersion: stele/v1\nkind: Authority\ncertificate: |\n    {pem}\nsecret: key # there\n"
        );
        let at = |text: &str| {
            let stand = stand(text, old, new).unwrap();
            (stand.accepts_old, stand.accepts_new, stand.authority.unwrap())
        };
        assert_eq!(at(&text), (true, false, ("key".into(), false)));
        let both = accept(&text, new).unwrap();
        assert_eq!(at(&both), (true, true, ("key".into(), false)));
        let signs = authority(&both, new).unwrap();
        assert_eq!(at(&signs), (true, true, ("key".into(), true)));
        let done = drop_old(&signs, old).unwrap();
        assert_eq!(at(&done), (false, true, ("key".into(), true)));
        assert!(done.starts_with("# who\n") && done.contains("# ours") && done.contains("# there"), "{done}");
    }
}
