//! Which disk is meant, and whether it may be written: one decision from what is known of all disks. Pure.
//!
//! Invariant: of two that are meant neither is chosen, whatever they hold; what holds anything is chosen only by who said that it
//! goes.

use config::kinds::{DiskFacts, DiskSelector};

use crate::resources::disk::Disk;
use crate::resources::partition::Partition;

/// What is known of a disk.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The kernel's name.
    pub(super) id: String,
    pub(super) disk: Disk,
    /// By their names.
    pub(super) parts: Vec<(String, Partition)>,
    /// Whether its ends hold nothing but zeros; asked only where table and content say nothing.
    pub(super) blank: Option<Result<bool, String>>,
}

/// What became of a disk in the choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The kernel's name.
    pub id: String,
    /// What it is, in words.
    pub what: String,
    /// What it holds, in words; empty: nothing.
    pub holds: String,
    /// Why it is not the one; none: it is meant.
    pub why_not: Option<String>,
}

/// The choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// All disks there are.
    pub disks: Vec<Judged>,
    /// The name of the one that is written, or why none is and what to do.
    pub chosen: Result<String, (String, String)>,
}

/// Why a disk is none of those meant.
pub(super) fn why_not(known: &Known, selector: &DiskSelector, booted: Option<&str>) -> Option<String> {
    let disk = &known.disk;
    if booted == Some(&known.id) {
        return Some("the machine was started from it".into());
    }
    let facts = DiskFacts {
        size: disk.size,
        model: &disk.model,
        serial: &disk.serial,
        wwid: &disk.wwid,
        bus_path: &disk.bus_path,
        transport: &disk.transport,
        removable: disk.removable,
    };
    if let Some(why) = selector.why_not(&facts) {
        return Some(why);
    }
    if disk.read_only {
        return Some("it cannot be written".into());
    }
    (!disk.error.is_empty()).then(|| format!("it cannot be read: {}", disk.error))
}

/// What a disk holds, in words.
pub(super) fn holds(known: &Known) -> String {
    let content = |format: &str, label: &str| match (format, label) {
        (format, "") => format.to_owned(),
        (format, label) => format!("{format} {label}"),
    };
    let mut all = Vec::new();
    if let Some(found) = &known.disk.content {
        all.push(content(&found.format, &found.label));
    }
    for (name, part) in &known.parts {
        let found = part.content.as_ref().map(|found| content(&found.format, &found.label));
        let what = found.unwrap_or_else(|| if part.label.is_empty() { "unknown".into() } else { part.label.clone() });
        all.push(format!("{name} ({what})"));
    }
    if !all.is_empty() {
        return all.join(", ");
    }
    match (&*known.disk.table, &known.blank) {
        ("", None | Some(Ok(true))) => String::new(),
        ("", Some(Ok(false))) => "data of a kind that is not known here".into(),
        ("", Some(Err(why))) => format!("something that cannot be read: {why}"),
        (table, _) => format!("an empty partition table ({table})"),
    }
}

/// Decides.
pub(super) fn choose(disks: &[Known], selector: &DiskSelector, wipe: bool, booted: Option<&str>) -> Choice {
    let judged: Vec<Judged> = disks.iter().map(|known| judge(known, selector, booted)).collect();
    let meant: Vec<&Judged> = judged.iter().filter(|disk| disk.why_not.is_none()).collect();
    let names = |disks: &[&Judged]| disks.iter().map(|disk| disk.id.as_str()).collect::<Vec<_>>().join(" and ");
    let chosen = match meant.as_slice() {
        [] => {
            let why: Vec<_> =
                judged.iter().filter_map(|one| Some(format!("{}: {}", one.id, one.why_not.as_ref()?))).collect();
            let why = if why.is_empty() { "there is none".to_owned() } else { why.join("; ") };
            Err((format!("no disk is {selector}: {why}"), "apictl get disks -o wide".to_owned()))
        }
        [one] if !one.holds.is_empty() && !wipe => {
            let reason = format!("{} ({}) holds {}", one.id, one.what, one.holds);
            Err((reason, "give --wipe when all of that may go, or choose another disk".to_owned()))
        }
        [one] => Ok(one.id.clone()),
        more => {
            let reason = format!("{} are all {selector}: neither is touched", names(more));
            Err((reason, "choose one alone, by its serial or wwid: apictl get disks -o wide".to_owned()))
        }
    };
    Choice { disks: judged, chosen }
}

fn judge(known: &Known, selector: &DiskSelector, booted: Option<&str>) -> Judged {
    let Disk { size, model, serial, transport, .. } = &known.disk;
    let words = [transport.clone(), model.clone(), serial.clone(), config::Bytes(size >> 20 << 20).to_string()];
    let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
    Judged {
        id: known.id.clone(),
        what: words.join(" "),
        holds: holds(known),
        why_not: why_not(known, selector, booted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::partition::Content;

    fn disk(id: &str, serial: &str) -> Known {
        let disk = Disk { size: 8 << 30, serial: serial.into(), transport: "virtio".into(), ..Disk::default() };
        Known { id: id.into(), disk, parts: Vec::new(), blank: Some(Ok(true)) }
    }

    fn content(format: &str, label: &str) -> Option<Content> {
        Some(Content { format: format.into(), uuid: String::new(), label: label.into() })
    }

    fn chosen(disks: &[Known], selector: &str, wipe: bool) -> Result<String, String> {
        let choice = choose(disks, &selector.parse().unwrap(), wipe, Some("sda"));
        choice.chosen.map_err(|(reason, _)| reason)
    }

    #[test]
    fn one_alone_that_holds_nothing_is_chosen() {
        let disks = [disk("sda", "stick"), disk("vda", "a"), disk("vdb", "b")];
        assert_eq!(chosen(&disks, "serial=b", false), Ok("vdb".into()));
        assert_eq!(
            chosen(&disks, "size>=1G", true).unwrap_err(),
            "vda and vdb are all size=1GiB..: neither is touched"
        );
        assert_eq!(chosen(&disks[..2], "size>=1G", false), Ok("vda".into()), "not the one it was started from");
        let none = chosen(&disks, "serial=stick", false).unwrap_err();
        assert!(
            none.contains("sda: the machine was started from it") && none.contains("vda: serial is not stick"),
            "{none}"
        );
        assert!(chosen(&[], "serial=a", true).unwrap_err().contains("there is none"));
    }

    #[test]
    fn what_holds_anything_goes_only_by_order() {
        let part = |content| ("vda1".to_owned(), Partition { label: "data".into(), content, ..Partition::default() });
        type Change<'a> = &'a dyn Fn(&mut Known);
        let cases: [(Change<'_>, &str); 7] = [
            (&|known| known.disk.content = content("luks", ""), "holds luks"),
            (&|known| known.disk.content = content("xfs", "home"), "holds xfs home"),
            (&|known| known.parts = vec![part(content("ext4", "root"))], "holds vda1 (ext4 root)"),
            (&|known| known.parts = vec![part(None)], "holds vda1 (data)"),
            (&|known| known.disk.table = "gpt".into(), "an empty partition table (gpt)"),
            (&|known| known.blank = Some(Ok(false)), "data of a kind that is not known"),
            (&|known| known.blank = Some(Err("it is dead".into())), "cannot be read: it is dead"),
        ];
        for (change, what) in cases {
            let mut known = disk("vda", "a");
            change(&mut known);
            let told = chosen(std::slice::from_ref(&known), "serial=a", false).unwrap_err();
            assert!(told.contains(what), "{told}");
            assert_eq!(chosen(&[known], "serial=a", true), Ok("vda".into()));
        }
    }

    #[test]
    fn what_cannot_be_used_is_never_chosen() {
        for (change, why) in [
            (&(|disk: &mut Disk| disk.read_only = true) as &dyn Fn(&mut Disk), "cannot be written"),
            (&|disk| disk.error = "does not answer".into(), "does not answer"),
            (&|disk| disk.removable = true, "removable"),
        ] {
            let mut known = disk("vda", "a");
            change(&mut known.disk);
            let told = chosen(&[known], "serial=a", true).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
