//! What a volume's partition is by what the table and its first bytes say. Pure.
//!
//! ```text
//! none in the table           Missing   made when there is no configuration that it should hold
//! zeros, or cut off           Half      as Missing: nobody has ever written to it
//! our format and label        Ours      checked and mounted; what is in it decides the rest
//! cannot be read, now         Unread    looked at again after a while
//! anything else               Bad       left as it is, and named
//! ```
//! Invariant: `Missing` and `Half` are the only answers after which something is made, and neither is given for a partition
//! that holds what somebody may want back.

use boot::part::{BEING_MADE, Kind};

use super::super::table::Entry;
use crate::resources::partition::Content;

/// What lies in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Zeros, as far as was looked.
    Nothing,
    /// Something that no probe knows.
    Unknown,
    /// This.
    Known(Content),
    /// It cannot be read, for this reason.
    Unread(String),
}

/// A partition of a volume's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) entry: Entry,
    pub(super) holds: Holds,
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    Missing,
    /// For this reason.
    Half(Entry, String),
    Ours(Entry),
    /// For this reason.
    Unread(String),
    /// For this reason, with the remedy.
    Bad(String),
}

/// Judges the partitions of one type on the disk.
pub(super) fn judge(kind: &Kind, format: &str, disk: &str, found: Vec<Found>) -> Finding {
    let name = kind.name;
    let [one] = &found[..] else {
        let numbers: Vec<_> = found.iter().map(|found| found.entry.number.to_string()).collect();
        return match numbers[..] {
            [] => Finding::Missing,
            _ => Finding::Bad(format!(
                "{disk} has {} {name} partitions (numbers {}), and none is used: delete all but the right one",
                numbers.len(),
                numbers.join(" and ")
            )),
        };
    };
    let entry = one.entry.clone();
    let place = format!("partition {} of {disk}, which is to be {name},", entry.number);
    let left = "and is left as it is: move what is wanted of it elsewhere and delete the partition, or install anew";
    match &one.holds {
        Holds::Unread(why) => {
            Finding::Unread(format!("{place} cannot be read ({why}): replace the disk if this stays, and install anew"))
        }
        Holds::Known(content) if content.format == format && content.label == name => Finding::Ours(entry),
        Holds::Known(content) => Finding::Bad(format!("{place} holds {}, {left}", called(content))),
        Holds::Nothing => Finding::Half(entry, format!("{place} holds no file system")),
        Holds::Unknown if entry.attributes & BEING_MADE != 0 => {
            Finding::Half(entry, format!("making the file system on {place} was cut off"))
        }
        Holds::Unknown => {
            Finding::Bad(format!("{place} holds bytes of no file system that this release knows, {left}"))
        }
    }
}

/// `an xfs file system labelled "data"`.
pub(super) fn called(content: &Content) -> String {
    let label = if content.label.is_empty() { String::new() } else { format!(" labelled {:?}", content.label) };
    match content.format.as_str() {
        "luks" | "swap" | "meta" => format!("{}{label}", content.format),
        format => format!("a file system ({format}){label}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use boot::Guid;
    use boot::part::STATE;

    fn found(number: u32, holds: Holds, attributes: u64) -> Found {
        let entry = Entry {
            number,
            kind: STATE.guid,
            guid: Guid([1; 16]),
            first: 1,
            last: 2,
            attributes,
            name: "STATE".into(),
        };
        Found { entry, holds }
    }

    fn known(format: &str, label: &str) -> Holds {
        Holds::Known(Content { format: format.into(), uuid: String::new(), label: label.into() })
    }

    #[test]
    fn only_what_holds_nothing_of_anybodys_is_made() {
        let one = |holds, attributes| vec![found(3, holds, attributes)];
        for (partitions, wanted) in [
            (vec![], "missing"),
            (one(known("ext4", "STATE"), 0), "ours"),
            (one(known("ext4", "STATE"), BEING_MADE), "ours"),
            (one(Holds::Nothing, 0), "half: holds no file system"),
            (one(Holds::Nothing, BEING_MADE), "half: holds no file system"),
            (one(Holds::Unknown, BEING_MADE), "half: cut off"),
            (one(Holds::Unknown, 0), "bad: no file system that this release knows"),
            (one(known("ext4", "data"), 0), "bad: (ext4) labelled \"data\""),
            (one(known("ext4", "data"), BEING_MADE), "bad: (ext4) labelled \"data\""),
            (one(known("xfs", "STATE"), 0), "bad: (xfs) labelled"),
            (one(known("luks", ""), 0), "bad: holds luks"),
            (one(known("vfat", ""), BEING_MADE), "bad: (vfat)"),
            (one(Holds::Unread("I/O error".into()), BEING_MADE), "unread: I/O error"),
            (vec![found(3, Holds::Nothing, 0), found(5, Holds::Nothing, 0)], "bad: numbers 3 and 5"),
        ] {
            let finding = judge(&STATE, "ext4", "vda", partitions.clone());
            let (kind, text) = match &finding {
                Finding::Missing => ("missing", ""),
                Finding::Half(_, why) => ("half", why.as_str()),
                Finding::Ours(_) => ("ours", ""),
                Finding::Unread(why) => ("unread", why.as_str()),
                Finding::Bad(why) => ("bad", why.as_str()),
            };
            let (wanted, part) = wanted.split_once(": ").unwrap_or((wanted, ""));
            assert!(kind == wanted && text.contains(part), "{partitions:?}: {finding:?}");
        }
    }
}
