//! What is to be done about the certificate that the API shows. Pure.
//!
//! Who signs, the first that can: an `Authority` of this machine at once and by itself; machines that `renewFrom` names, which
//! ask for the present certificate; else whoever applied the configuration, and `apictl cert renew --node`.

use std::time::{Duration, SystemTime};

use api::pki::Certificate;

const HOUR: Duration = Duration::from_secs(3600);

/// While nobody has set the clock, nobody knows when a day ends: what is signed then is good for long enough to outlast a
/// clock that is behind, and made anew as soon as the clock is set.
pub(super) const UNSURE: Duration = Duration::from_secs(365 * 24 * 3600);

/// How far back a validity begins, and room for seconds.
const SLACK: Duration = Duration::from_secs(2 * 3600);

/// Longest pause between two looks: the clock may be set, too.
const LOOK: Duration = Duration::from_secs(600);

/// What bears on it.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) now: SystemTime,
    pub(super) clock_sure: bool,
    /// What is shown: own certificate.
    pub(super) held: Option<&'a Certificate>,
    /// Names and addresses that it should have.
    pub(super) names: &'a [String],
    /// This machine's own authority.
    pub(super) authority: Option<&'a Certificate>,
    /// How long a certificate is meant to be good.
    pub(super) lifetime: Duration,
    /// Whether other machines sign.
    pub(super) ask: bool,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, for so long at most.
    Wait(Duration),
    /// Sign it, good for so long.
    Sign(Duration),
    /// Ask the others.
    Ask,
}

/// What is to be done now.
pub(super) fn plan(facts: &Facts<'_>) -> Step {
    let Facts { now, clock_sure, held, names, authority, lifetime, ask } = *facts;
    if let Some(authority) = authority.filter(|authority| !authority.left(now).is_zero() || !clock_sure) {
        let ttl = if clock_sure { lifetime } else { UNSURE };
        // Nothing outlives its authority, so near its end a fresh one is shorter than it is meant to be.
        let half = lifetime.min(authority.left(now)) / 2;
        let good = |held: &&Certificate| {
            held.is_signed_by(authority)
                && names.iter().all(|name| held.names.contains(name))
                && !held.is_early(now)
                && held.left(now) > half
                // Made for longer, while the clock was not sure or the lifetime another one.
                && (!clock_sure || held.left(now) <= lifetime + SLACK)
        };
        return match held.filter(good) {
            Some(held) => Step::Wait(pause(held.left(now).saturating_sub(half))),
            None => Step::Sign(ttl),
        };
    }
    match held {
        Some(held) if ask => {
            let half = (held.lifetime() / 2).min(lifetime / 2);
            let long = held.left(now) > lifetime + SLACK;
            if long || held.left(now) <= half {
                Step::Ask
            } else {
                Step::Wait(pause(held.left(now).saturating_sub(half)))
            }
        }
        _ => Step::Wait(LOOK),
    }
}

fn pause(until: Duration) -> Duration {
    // A second more, so that the next look finds it due.
    (until + Duration::from_secs(1)).min(LOOK)
}

/// From when on a certificate's end is something to look at: in the last sixth of its time, of one that renews itself in
/// the last quarter. At least an hour, at most sixty days.
pub(super) fn soon(certificate: &Certificate, by_itself: bool) -> Duration {
    let part = if by_itself { 4 } else { 6 };
    (certificate.lifetime() / part).clamp(HOUR, 60 * 24 * HOUR)
}

#[cfg(test)]
mod tests {
    use api::pki::{Ca, Key, Node};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    #[test]
    fn what_is_due_is_done_and_nothing_else() {
        let now = SystemTime::now();
        let (ca, other) = (Ca::make("ca").unwrap(), Ca::make("ca").unwrap());
        let made = |ca: &Ca, ttl, at| {
            let request = Key::make().unwrap().request("x", &[]).unwrap();
            ca.sign_node_at(&request, &Node { names: vec!["a".into(), "192.0.2.1".into()], ttl }, at).unwrap()
        };
        let (fresh, half) = (made(&ca, DAY, now), made(&ca, DAY, now - 13 * HOUR));
        let (long, foreign) = (made(&ca, 365 * DAY, now), made(&other, DAY, now));
        let (early, over) = (made(&ca, DAY, now + 2 * DAY), made(&ca, DAY, now - 3 * DAY));
        let (a, more) = (["a".to_owned()], ["a".to_owned(), "192.0.2.2".to_owned()]);
        let own = Some(ca.certificate());
        let wait = Step::Wait(LOOK);
        let sign = Step::Sign(DAY);
        // held, names, authority, clock sure, others sign
        type Case<'a> = (&'a str, Option<&'a Certificate>, &'a [String], Option<&'a Certificate>, bool, bool, &'a Step);
        let cases: [Case<'_>; 17] = [
            ("none yet", None, &a, own, true, false, &sign),
            ("fresh", Some(&fresh), &a, own, true, false, &wait),
            ("at half its life", Some(&half), &a, own, true, false, &sign),
            ("a new address", Some(&fresh), &more, own, true, false, &sign),
            ("an address less", Some(&fresh), &[], own, true, false, &wait),
            ("another authority", Some(&foreign), &a, own, true, false, &sign),
            ("signed for a year by apictl", Some(&long), &a, own, true, false, &sign),
            ("the clock went back", Some(&early), &a, own, true, false, &sign),
            ("the clock is not sure", None, &a, own, false, false, &Step::Sign(UNSURE)),
            ("the clock is not sure, and it is there", Some(&long), &a, own, false, false, &wait),
            ("nobody signs", None, &a, None, true, true, &wait),
            ("nobody signs, and it is there", Some(&half), &a, None, true, false, &wait),
            ("others sign, fresh", Some(&fresh), &a, None, true, true, &wait),
            ("others sign, half", Some(&half), &a, None, true, true, &Step::Ask),
            ("others sign, a year", Some(&long), &a, None, true, true, &Step::Ask),
            ("others sign, over", Some(&over), &a, None, true, true, &Step::Ask),
            ("both", Some(&half), &a, own, true, true, &sign),
        ];
        for (name, held, names, authority, clock_sure, ask, expected) in cases {
            let facts = Facts { now, clock_sure, held, names, authority, lifetime: DAY, ask };
            assert_eq!(plan(&facts), *expected, "{name}");
        }
        // Just before it is due.
        let almost = made(&ca, DAY, now - 12 * HOUR + Duration::from_secs(60));
        let facts =
            Facts { now, clock_sure: true, held: Some(&almost), names: &a, authority: own, lifetime: DAY, ask: false };
        let Step::Wait(pause) = plan(&facts) else { panic!("not due") };
        assert!(pause < Duration::from_secs(70), "{pause:?}");
        // An authority that ends sooner than what it signs is meant to.
        let ending = Ca::make_at("ca", now - 3653 * DAY + 6 * HOUR).unwrap();
        for (age, expected) in [(Duration::ZERO, wait), (5 * HOUR, Step::Wait(LOOK))] {
            let held = made(&ending, DAY, now - age);
            let authority = Some(ending.certificate());
            let facts =
                Facts { held: Some(&held), authority, now, clock_sure: true, names: &a, lifetime: DAY, ask: false };
            assert_eq!(plan(&facts), expected, "{age:?}");
        }
    }

    #[test]
    fn a_year_is_told_of_two_months_before() {
        let request = Key::make().unwrap().request("x", &[]).unwrap();
        let sign = |ttl| Ca::make("ca").unwrap().sign_node(&request, &Node { names: vec!["a".into()], ttl }).unwrap();
        assert_eq!(soon(&sign(365 * DAY), false), 60 * DAY);
        assert!(soon(&sign(DAY), true) < 7 * HOUR);
        assert_eq!(soon(&sign(HOUR), true), HOUR);
    }
}
