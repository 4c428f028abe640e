//! Documents that nobody could mend any more, found before anything is kept: authorities that the gateway cannot use, and an
//! Api that does not let in again who brings it. (Whether its own certificate would still be accepted is checked by apictl:
//! the gateway does not tell machined which authority let a client in.)

use config::kinds::Api;
use config::{Document, Documents, Problem, Problems};

use super::handle::Way;
use crate::gateway::tls;

/// What is wrong; `way`: of who brings it, unless that ends by itself or is the rescue's.
pub(super) fn check(documents: &Documents, way: Option<&Way>) -> Result<(), Problems> {
    let Some((document, api)) = documents.of::<Api>().next() else { return Ok(()) };
    let mut problems = unusable(document, api);
    problems.extend(way.and_then(|way| shut_out(document, api, way)));
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

/// The gateway would refuse keys that it cannot use.
fn unusable(document: &Document, api: &Api) -> Vec<Problem> {
    let accepted = api.accept.iter().enumerate().map(|(n, one)| (format!("accept[{n}].certificate"), &one.certificate));
    let rescue = api.rescue.iter().map(|rescue| ("rescue".to_owned(), rescue));
    let check = |(path, text): (String, &String)| {
        let checked = pem::parse(text).map_err(|error| error.to_string());
        let why =
            checked.and_then(|pem| tls::check_authority(pem.contents()).map_err(|error| error.to_string())).err()?;
        Some(problem(document, &path, format!("clients cannot be checked against this authority: {why}")))
    };
    accepted.chain(rescue).filter_map(check).collect()
}

fn shut_out(document: &Document, api: &Api, way: &Way) -> Option<Problem> {
    const REMEDY: &str = "--mode trial tries it and comes back";
    let address = way.address.to_canonical();
    let allowed = api.allow.is_empty() || address.is_loopback() || api.allow.iter().any(|net| net.0.contains(&address));
    if !allowed {
        let message = format!("this would lock you out: you come from {address}, which is in none of them; {REMEDY}");
        return Some(problem(document, "allow", message));
    }
    let revoked = api.revoked().any(|text| text == way.fingerprint);
    revoked.then(|| problem(document, "revoked", format!("this would lock you out: it has your certificate; {REMEDY}")))
}

fn problem(document: &Document, path: &str, message: String) -> Problem {
    let at = &document.at;
    Problem { file: String::new(), document: at.document, path: path.into(), line: at.line, column: 0, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(more: &str) -> Documents {
        let ca = api::pki::Ca::make("test").unwrap().certificate().pem();
        let pem: String = ca.lines().map(|line| format!("    {line}\n")).collect();
        let text = format!("apiVersion: stele/v1\nkind: Api\naccept:\n- certificate: |\n{pem}{more}");
        config::parse(&text).unwrap().documents
    }

    #[test]
    fn who_brings_it_must_come_in_again() {
        let own = "ab".repeat(32);
        let way = |address: &str| Way { address: address.parse().unwrap(), fingerprint: own.clone() };
        let allow = "allow: [192.0.2.0/24, 2001:db8::/32]\n";
        let revoked = format!("revoked: [{own}]\n");
        for (more, address, path) in [
            ("", "198.51.100.1", None),
            (allow, "192.0.2.7", None),
            (allow, "::ffff:192.0.2.7", None),
            (allow, "2001:db8::1", None),
            (allow, "127.0.0.1", None),
            (allow, "198.51.100.1", Some("allow")),
            (&revoked, "192.0.2.7", Some("revoked")),
        ] {
            let found = check(&api(more), Some(&way(address))).err();
            assert_eq!(found.as_ref().map(|found| found.0[0].path.as_str()), path, "{more} {address}: {found:?}");
            assert!(check(&api(more), None).is_ok());
        }
    }
}
