//! What the first blocks of a device say that it holds. Pure; any bytes are fine.

use boot::meta::Header;
use uuid::Uuid;

use crate::resources::partition::Content;

/// How much of a device is looked at: swap of 64 KiB pages has its magic at the end of the first page.
pub(super) const HEAD: usize = 64 * 1024;

/// Tells by magic numbers; the first that fits counts. LUKS before file systems: an old one may show through.
pub(super) fn probe(head: &[u8]) -> Option<Content> {
    let known = [meta, luks, xfs, squashfs, ext, erofs, swap, iso9660, vfat];
    known.into_iter().find_map(|probe| probe(head))
}

fn content(format: &str, uuid: String, label: String) -> Option<Content> {
    Some(Content { format: format.into(), uuid, label })
}

fn meta(head: &[u8]) -> Option<Content> {
    Header::decode_either(head).ok()?;
    content("meta", String::new(), String::new())
}

fn luks(head: &[u8]) -> Option<Content> {
    let version = u16::from_be_bytes(head.strip_prefix(b"LUKS\xba\xbe")?.first_chunk().copied()?);
    // Version 1 has the cipher's name where 2 has the label.
    let label = if version >= 2 { text(head, 24, 48) } else { String::new() };
    content("luks", text(head, 168, 40), label)
}

fn xfs(head: &[u8]) -> Option<Content> {
    head.starts_with(b"XFSB").then_some(())?;
    content("xfs", uuid(head, 32), text(head, 108, 12))
}

fn squashfs(head: &[u8]) -> Option<Content> {
    head.starts_with(b"hsqs").then_some(())?;
    content("squashfs", String::new(), String::new())
}

fn ext(head: &[u8]) -> Option<Content> {
    const BASE: usize = 1024;
    const HAS_JOURNAL: u32 = 4;
    // extents, 64-bit, flexible groups: any of them needs ext4.
    const EXT4: u32 = 0x40 | 0x80 | 0x200;
    (bytes::<2>(head, BASE + 56)? == [0x53, 0xef]).then_some(())?;
    let features = |at| bytes(head, BASE + at).map(u32::from_le_bytes);
    let format = match (features(92)?, features(96)?) {
        (_, incompatible) if incompatible & EXT4 != 0 => "ext4",
        (compatible, _) if compatible & HAS_JOURNAL != 0 => "ext3",
        _ => "ext2",
    };
    content(format, uuid(head, BASE + 104), text(head, BASE + 120, 16))
}

fn erofs(head: &[u8]) -> Option<Content> {
    (bytes::<4>(head, 1024)? == [0xe2, 0xe1, 0xf5, 0xe0]).then_some(())?;
    content("erofs", uuid(head, 1024 + 48), text(head, 1024 + 64, 16))
}

fn swap(head: &[u8]) -> Option<Content> {
    let ends = (12..=16).map(|shift| 1usize << shift);
    ends.into_iter().find(|end| head.get(end - 10..*end) == Some(b"SWAPSPACE2"))?;
    content("swap", uuid(head, 1036), text(head, 1052, 16))
}

fn iso9660(head: &[u8]) -> Option<Content> {
    const BASE: usize = 32768;
    (head.get(BASE + 1..BASE + 6)? == b"CD001").then_some(())?;
    let made = text(head, BASE + 813, 16);
    // 2026010100000000: as the date it is, which is what other tools call its UUID.
    let uuid = if made.len() == 16 && made.bytes().all(|digit| digit.is_ascii_digit()) {
        let pairs = [&made[..4], &made[4..6], &made[6..8], &made[8..10], &made[10..12], &made[12..14], &made[14..]];
        pairs.join("-")
    } else {
        String::new()
    };
    content("iso9660", uuid, text(head, BASE + 40, 32))
}

fn vfat(head: &[u8]) -> Option<Content> {
    let jump = matches!(head.first()?, 0xeb | 0xe9);
    let sector = bytes(head, 11).map(u16::from_le_bytes)?;
    let cluster = *head.get(13)?;
    let sane = jump && (512..=4096).contains(&sector) && sector.is_power_of_two() && cluster.is_power_of_two();
    (sane && head.get(510..512)? == [0x55, 0xaa]).then_some(())?;
    let (serial, label) = match (head.get(82..90)?, head.get(54..62)?) {
        (b"FAT32   ", _) => (67, 71),
        (_, b"FAT16   " | b"FAT12   " | b"FAT     ") => (39, 43),
        _ => return None,
    };
    let [low, high] = [bytes(head, serial), bytes(head, serial + 2)].map(|half| half.map_or(0, u16::from_le_bytes));
    let label = text(head, label, 11);
    let label = if label == "NO NAME" { String::new() } else { label };
    content("vfat", format!("{high:04X}-{low:04X}"), label)
}

fn bytes<const N: usize>(head: &[u8], at: usize) -> Option<[u8; N]> {
    head.get(at..at + N)?.try_into().ok()
}

/// A UUID in the order in which it is written; empty when it is all zero or missing.
fn uuid(head: &[u8], at: usize) -> String {
    let uuid = bytes(head, at).map(Uuid::from_bytes).unwrap_or_default();
    if uuid.is_nil() { String::new() } else { uuid.to_string() }
}

/// Text of at most `len` bytes up to the first zero, without blanks around it and without control characters.
pub(super) fn text(head: &[u8], at: usize, len: usize) -> String {
    let field = head.get(at..at + len).unwrap_or_default();
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    text.trim().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UUID: [u8; 16] = [0x12; 16];
    const TEXT: &str = "12121212-1212-1212-1212-121212121212";

    /// Where, and which bytes.
    type Piece<'a> = (usize, &'a [u8]);

    fn head(pieces: &[Piece<'_>]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        for (at, piece) in pieces {
            head[*at..at + piece.len()].copy_from_slice(piece);
        }
        head
    }

    fn meta_header() -> Vec<u8> {
        Header::new(boot::Guid(UUID)).encode().to_vec()
    }

    #[test]
    fn knows_each_format() {
        let fat: &[Piece<'_>] = &[
            (0, &[0xeb, 0x58, 0x90]),
            (11, &[0, 2, 8]),
            (67, &[1, 2, 3, 4]),
            (71, b"EFI        "),
            (82, b"FAT32   "),
            (510, &[0x55, 0xaa]),
        ];
        let cases: &[(&str, &[Piece<'_>], &str, &str)] = &[
            ("vfat", fat, "0403-0201", "EFI"),
            ("meta", &[(4096, &meta_header())], "", ""),
            ("luks", &[(0, b"LUKS\xba\xbe\0\x02"), (24, b"state"), (168, TEXT.as_bytes())], TEXT, "state"),
            ("luks", &[(0, b"LUKS\xba\xbe\0\x01"), (24, b"aes"), (168, TEXT.as_bytes())], TEXT, ""),
            ("xfs", &[(0, b"XFSB"), (32, &UUID), (108, b"EPHEMERAL")], TEXT, "EPHEMERAL"),
            ("ext4", &[(1080, &[0x53, 0xef]), (1120, &[0x40]), (1128, &UUID), (1144, b"root\n")], TEXT, "root"),
            ("ext3", &[(1080, &[0x53, 0xef]), (1116, &[4])], "", ""),
            ("ext2", &[(1080, &[0x53, 0xef])], "", ""),
            ("erofs", &[(1024, &[0xe2, 0xe1, 0xf5, 0xe0]), (1072, &UUID), (1088, b"x")], TEXT, "x"),
            ("squashfs", &[(0, b"hsqs")], "", ""),
            ("swap", &[(4086, b"SWAPSPACE2"), (1036, &UUID), (1052, b"sw")], TEXT, "sw"),
            ("swap", &[(65526, b"SWAPSPACE2")], "", ""),
            (
                "iso9660",
                &[(32769, b"CD001"), (32808, b"CIDATA  "), (33581, b"2026010203040506")],
                "2026-01-02-03-04-05-06",
                "CIDATA",
            ),
        ];
        for (format, pieces, uuid, label) in cases {
            let found = probe(&head(pieces)).unwrap_or_default();
            assert_eq!((&*found.format, &*found.uuid, &*found.label), (*format, *uuid, *label), "{format}");
        }
        assert_eq!(probe(&head(&[])), None);
        assert_eq!(probe(&[]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_fine(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            probe(&bytes);
        }

        /// A magic number with noise around it, also cut short.
        #[test]
        fn noise_after_a_magic_is_fine(which in 0..8usize, noise: [u8; 32], at in 0..HEAD - 32, cut in 0..HEAD) {
            let magics: [Piece<'_>; 8] = [
                (0, b"LUKS\xba\xbe\0\x02"), (0, b"XFSB"), (0, b"hsqs"), (1080, &[0x53, 0xef]),
                (1024, &[0xe2, 0xe1, 0xf5, 0xe0]), (4086, b"SWAPSPACE2"), (32769, b"CD001"), (0, b"STELEMETA"),
            ];
            let head = head(&[(at, &noise), magics[which]]);
            probe(&head[..cut]);
            if let Some(found) = probe(&head) {
                prop_assert!(!found.label.chars().any(char::is_control));
            }
        }
    }

    fuzz::targets! {
        // A few bytes reach magic numbers far apart: each chunk is a place (two bytes, in units of two) and what is there.
        disk_content: |bytes| {
            let _ = probe(bytes);
            let mut head = vec![0; HEAD];
            for chunk in bytes.chunks(34) {
                let [low, high, rest @ ..] = chunk else { continue };
                let at = 2 * usize::from(u16::from_le_bytes([*low, *high]));
                let length = rest.len().min(HEAD.saturating_sub(at));
                head[at.min(HEAD)..][..length].copy_from_slice(&rest[..length]);
            }
            if let Some(content) = probe(&head) {
                assert!(!content.label.contains(char::is_control) && !content.uuid.contains(char::is_control));
            }
        },
    }
}
