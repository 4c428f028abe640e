//! Which disk this system runs from: one decision from what is known. Pure.
//!
//! Invariant: two disks that fit are never guessed between, whatever the order in which they appeared; only a choice that
//! was already committed in this boot stands when a copy is plugged in later.

use boot::part;

use crate::resources::disk::Disk;
use crate::resources::partition::Partition;

/// What is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// GUID of the partition the firmware booted from; none when it did not say.
    pub(super) booted_from: Option<&'a str>,
    /// A loader of ours says that it was started, and no partition has a part in it: the medium is a disc.
    pub(super) disc: bool,
    /// The committed choice: the kernel's number of the medium, and why it was chosen.
    pub(super) committed: Option<(u64, &'a str)>,
    /// The drivers of all disks that were there from the start are loaded, and what they brought is listed.
    pub(super) all_there: bool,
    /// The wait for a disk that does not show up is over.
    pub(super) late: bool,
    /// By name.
    pub(super) disks: &'a [(String, Disk)],
    /// By name.
    pub(super) parts: &'a [(String, Partition)],
}

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may still come; for this reason.
    Wait(String),
    /// This one, for this reason.
    Found { disk: String, meta: Option<String>, reason: String },
    /// There is none, for this reason.
    None(String),
    /// These; for this reason.
    Ambiguous { disks: Vec<String>, reason: String },
}

/// Decides.
pub(super) fn choose(facts: Facts<'_>) -> Verdict {
    if let Some((sequence, reason)) = facts.committed {
        return match facts.disks.iter().find(|(_, disk)| disk.sequence == sequence) {
            Some((name, _)) => found(&facts, name, reason.into()),
            None => Verdict::None("the system disk of this boot was removed".into()),
        };
    }
    let verdict = match facts.booted_from {
        Some(guid) => by_partition(&facts, guid),
        // An installed disk beside it has no part in this.
        None if facts.disc => return Verdict::None("the machine was started from a disc: it runs from memory".into()),
        None => by_meta(&facts),
    };
    match verdict {
        // The firmware's word is enough to read that disk's META; nothing is written before all disks are there.
        Verdict::Found { meta: Some(_), .. } if facts.booted_from.is_some() => verdict,
        _ if !facts.all_there => Verdict::Wait("drivers of disks are being loaded".into()),
        _ => verdict,
    }
}

fn by_partition(facts: &Facts<'_>, guid: &str) -> Verdict {
    let fits = facts.parts.iter().filter(|(_, part)| part.uuid.eq_ignore_ascii_case(guid));
    let disks = distinct(fits.map(|(_, part)| &part.disk));
    match &disks[..] {
        [] if facts.late => Verdict::None(format!(
            "the firmware booted from partition {guid}, which no disk has; a network or removable medium has none"
        )),
        [] => Verdict::Wait(format!("no disk has partition {guid}, from which the firmware booted")),
        [disk] => found(facts, disk, format!("the firmware booted from its partition {guid}")),
        _ => ambiguous(disks, format!("have partition {guid}, from which the firmware booted")),
    }
}

fn by_meta(facts: &Facts<'_>) -> Verdict {
    let of = |fits: fn(&Partition) -> bool| distinct(facts.parts.iter().filter(|(_, p)| fits(p)).map(|(_, p)| &p.disk));
    let disks = Some(of(is_meta)).filter(|disks| !disks.is_empty()).unwrap_or_else(|| of(is_named_meta));
    match &disks[..] {
        [] => Verdict::None("the firmware did not say from which disk, and no disk has a META partition".into()),
        [disk] => found(facts, disk, "the only disk with a META partition".into()),
        _ => ambiguous(disks, "have a META partition, and the firmware did not say from which it booted".into()),
    }
}

fn ambiguous(disks: Vec<String>, why: String) -> Verdict {
    let reason = format!("the disks {} {why}: unplug all but one, or give one other GUIDs", disks.join(" and "));
    Verdict::Ambiguous { disks, reason }
}

fn found(facts: &Facts<'_>, disk: &str, reason: String) -> Verdict {
    let of = |fits: fn(&Partition) -> bool| {
        facts.parts.iter().filter(move |(_, part)| part.disk == disk && fits(part)).map(|(name, _)| name)
    };
    let (mut metas, damaged) = (of(is_meta), of(is_named_meta).next());
    match (metas.next(), metas.next()) {
        (Some(_), Some(_)) => Verdict::Ambiguous {
            disks: vec![disk.into()],
            reason: format!("the disk {disk} has more than one META partition: delete all but one"),
        },
        // One that lost its magic is shown as damaged, not as missing.
        (meta, _) => Verdict::Found { disk: disk.into(), meta: meta.or(damaged).cloned(), reason },
    }
}

/// The right type and the magic: a type alone is only a promise.
fn is_meta(part: &Partition) -> bool {
    is_named_meta(part) && part.content.as_ref().is_some_and(|content| content.format == "meta")
}

fn is_named_meta(part: &Partition) -> bool {
    part.kind.eq_ignore_ascii_case(&part::META.guid.to_string())
}

fn distinct<'d>(disks: impl Iterator<Item = &'d String>) -> Vec<String> {
    let mut disks: Vec<String> = disks.cloned().collect();
    disks.sort();
    disks.dedup();
    disks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::partition::Content;

    type Machine = (Vec<(String, Disk)>, Vec<(String, Partition)>);

    /// Disks with the GUID of their first partition and whether they have META.
    fn machine(disks: &[(&str, &str, bool)]) -> Machine {
        let (mut all, mut parts) = (Vec::new(), Vec::new());
        for (sequence, (name, esp, meta)) in (1..).zip(disks) {
            all.push(((*name).to_owned(), Disk { sequence, ..Disk::default() }));
            let part = Partition { disk: (*name).into(), uuid: (*esp).into(), ..Partition::default() };
            parts.push((format!("{name}1"), part.clone()));
            if *meta {
                let content = Some(Content { format: "meta".into(), ..Content::default() });
                let kind = part::META.guid.to_string();
                parts.push((format!("{name}2"), Partition { kind, content, uuid: format!("{esp}m"), ..part }));
            }
        }
        (all, parts)
    }

    fn verdict(disks: &[(&str, &str, bool)], booted_from: Option<&str>, all_there: bool, late: bool) -> Verdict {
        let (disks, parts) = machine(disks);
        choose(Facts { booted_from, disc: false, committed: None, all_there, late, disks: &disks, parts: &parts })
    }

    fn name(verdict: &Verdict) -> String {
        match verdict {
            Verdict::Wait(_) => "wait".into(),
            Verdict::None(_) => "none".into(),
            Verdict::Found { disk, meta, .. } => format!("{disk} {}", meta.as_deref().unwrap_or("-")),
            Verdict::Ambiguous { disks, .. } => format!("? {}", disks.join(" ")),
        }
    }

    #[test]
    fn one_fits_or_nothing_is_guessed() {
        let one: &[_] = &[("vda", "a", true), ("vdb", "b", true)];
        let clones: &[_] = &[("vda", "a", true), ("vdb", "a", true)];
        for (disks, booted_from, all_there, late, wanted) in [
            (one, Some("A"), true, false, "vda vda2"),
            (one, Some("a"), false, false, "vda vda2"),
            (one, Some("c"), false, false, "wait"),
            (&[("vda", "a", false)], Some("a"), false, false, "wait"),
            (&[("vda", "a", true)], None, false, false, "wait"),
            (clones, Some("a"), false, false, "wait"),
            (one, Some("c"), true, false, "wait"),
            (one, Some("c"), true, true, "none"),
            (one, None, true, false, "? vda vdb"),
            (clones, Some("a"), true, false, "? vda vdb"),
            (clones, None, true, true, "? vda vdb"),
            (&[("vda", "a", false)], Some("a"), true, false, "vda -"),
            (&[("vda", "a", false)], None, true, false, "none"),
            (&[("vda", "a", false), ("vdb", "b", true)], None, true, false, "vdb vdb2"),
            (&[], None, true, false, "none"),
            (&[], None, false, false, "wait"),
            (one, Some("a"), false, true, "vda vda2"),
            // However late it is, a driver that is still being loaded may bring a second one.
            (&[("vda", "a", true)], None, false, true, "wait"),
            (clones, Some("a"), false, true, "wait"),
            (one, Some("c"), false, true, "wait"),
        ] {
            let verdict = verdict(disks, booted_from, all_there, late);
            assert_eq!(name(&verdict), wanted, "{disks:?} {booted_from:?} {verdict:?}");
        }
        let Verdict::Ambiguous { reason, .. } = verdict(clones, Some("a"), true, false) else { panic!() };
        assert!(reason.contains("vda and vdb") && reason.contains("unplug"), "{reason}");
    }

    #[test]
    fn a_meta_without_its_magic_is_named_so_that_it_can_be_called_damaged() {
        let (disks, mut parts) = machine(&[("vda", "a", true), ("vdb", "b", true)]);
        parts[1].1.content = None;
        let facts = Facts {
            booted_from: Some("a"),
            disc: false,
            committed: None,
            all_there: true,
            late: false,
            disks: &disks,
            parts: &parts,
        };
        assert_eq!(name(&choose(facts)), "vda vda2");
        assert_eq!(name(&choose(Facts { booted_from: None, ..facts })), "vdb vdb2");
        // Where no disk has one, the type has to do.
        let facts = Facts { booted_from: None, parts: &parts[..3], ..facts };
        assert_eq!(name(&choose(facts)), "vda vda2");
    }

    #[test]
    fn a_machine_that_was_started_from_a_disc_has_none() {
        let (disks, parts) = machine(&[("vda", "a", true)]);
        let facts = Facts {
            booted_from: None,
            disc: true,
            committed: None,
            all_there: false,
            late: false,
            disks: &disks,
            parts: &parts,
        };
        assert_eq!(name(&choose(facts)), "none");
        assert_eq!(name(&choose(Facts { booted_from: Some("a"), ..facts })), "vda vda2");
    }

    #[test]
    fn a_committed_choice_stands_until_the_disk_goes() {
        let (disks, parts) = machine(&[("vda", "a", true), ("vdb", "a", true)]);
        let facts = Facts {
            booted_from: Some("a"),
            disc: false,
            committed: Some((2, "why")),
            all_there: true,
            late: true,
            disks: &disks,
            parts: &parts,
        };
        assert_eq!(name(&choose(facts)), "vdb vdb2");
        assert_eq!(name(&choose(Facts { committed: Some((9, "why")), ..facts })), "none");
    }
}
