//! The order of stopping: who needs others goes first. Pure.

use std::collections::BTreeSet;

use config::service::Service;

/// Names in rounds; all of a round may stop at once, and nothing in it is needed by a later round. A circle, which never
/// starts either, ends up in the last round.
pub(super) fn stop<'a>(services: impl IntoIterator<Item = &'a Service>) -> Vec<Vec<String>> {
    let mut left: Vec<&Service> = services.into_iter().collect();
    let mut rounds = Vec::new();
    while !left.is_empty() {
        let needed: BTreeSet<&str> = left.iter().flat_map(|s| s.needs.iter().map(String::as_str)).collect();
        let (mut last, mut first): (Vec<&Service>, Vec<_>) =
            left.iter().partition(|s| needed.contains(s.name.as_str()));
        if first.is_empty() {
            std::mem::swap(&mut first, &mut last);
        }
        rounds.push(first.iter().map(|s| s.name.clone()).collect());
        left = last;
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str, needs: &str) -> Service {
        let text = format!("apiVersion: stele/v1\nkind: Service\nname: {name}\nrun: [/x]\nneeds: [{needs}]\n");
        config::service::parse(&text).unwrap()
    }

    #[test]
    fn who_needs_others_stops_first() {
        let all = [service("db", "network"), service("web", "db"), service("proxy", "web, db"), service("log", "")];
        assert_eq!(stop(&all), [vec!["proxy", "log"], vec!["web"], vec!["db"]]);
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(stop(&[service("a", "b"), service("b", "a")]), [["a", "b"]]);
    }
}
