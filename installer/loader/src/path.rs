//! Device paths (UEFI 2.10, chapter 10) as bytes: which partitions are of one disk, and the name of a file on one.

use boot::Guid;

/// A node's length takes two bytes, after its two bytes of type.
const HEAD: usize = 4;
const MEDIA: u8 = 4;
const HARD_DRIVE: u8 = 1;
const OPTICAL: u8 = 2;
const FILE: u8 = 4;
const END: [u8; 4] = [0x7f, 0xff, 4, 0];
/// No device path that somebody made is longer; one that is has no end.
pub(crate) const LONGEST: usize = 4096;

/// The path at an address, with its end node; `None` when it has none.
///
/// # Safety
/// `start` points at a device path, valid for as long as the result is used.
pub(crate) unsafe fn bytes<'a>(start: *const u8) -> Option<&'a [u8]> {
    let mut len = 0;
    while len < LONGEST {
        // SAFETY: every node before this one said that another follows, and a node has four bytes at least.
        let head = unsafe { start.add(len).cast::<[u8; HEAD]>().read() };
        len += node_len(head)?;
        if head[..2] == END[..2] {
            // SAFETY: all of it is nodes that were just walked over.
            return Some(unsafe { core::slice::from_raw_parts(start, len) });
        }
    }
    None
}

fn node_len(head: [u8; HEAD]) -> Option<usize> {
    let len = usize::from(u16::from_le_bytes([head[2], head[3]]));
    (len >= HEAD).then_some(len)
}

/// The first node of a path and what follows it.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let head = *path.first_chunk::<HEAD>()?;
    path.split_at_checked(node_len(head)?)
}

fn is_media(node: &[u8], kinds: &[u8]) -> bool {
    node[0] == MEDIA && kinds.contains(&node[1])
}

fn without_end(path: &[u8]) -> &[u8] {
    path.strip_suffix(&END).unwrap_or(path)
}

/// The disk that a partition lies on: the path up to the partition's node. The path of a disk is its own.
pub(crate) fn disk(path: &[u8]) -> &[u8] {
    let mut rest = path;
    while let Some((node, next)) = split(rest) {
        if is_media(node, &[HARD_DRIVE, OPTICAL]) {
            return &path[..path.len() - rest.len()];
        }
        rest = next;
    }
    without_end(path)
}

/// Whether a path is that of a partition of the disk (as [`disk`] gives it).
pub(crate) fn is_partition_of(path: &[u8], disk: &[u8]) -> bool {
    let node = path.strip_prefix(disk).and_then(split);
    node.is_some_and(|(node, rest)| is_media(node, &[HARD_DRIVE]) && rest == END)
}

/// The GUID in its table of the partition that a path ends with.
pub(crate) fn partition_guid(path: &[u8]) -> Option<Guid> {
    // UEFI 2.10, table 10-49: the signature at 24, at 41 that it is a GUID.
    const BY_GUID: u8 = 2;
    let (node, _) = split(path.get(disk(path).len()..)?)?;
    let signature = node.get(24..40)?.try_into().ok()?;
    (is_media(node, &[HARD_DRIVE]) && node.get(41) == Some(&BY_GUID)).then_some(Guid(signature))
}

/// The path of a file on a device, into `into`; the bytes used, or `None` when there is no room. `file` is ASCII, from the
/// root, with `/` between its parts.
pub(crate) fn with_file(device: &[u8], file: &str, into: &mut [u8]) -> Option<usize> {
    let device = without_end(device);
    let node_len = HEAD + 2 * (file.len() + 1);
    let len = device.len() + node_len + END.len();
    let (start, rest) = into.get_mut(..len)?.split_at_mut(device.len());
    let (node, end) = rest.split_at_mut(node_len);
    start.copy_from_slice(device);
    node[..2].copy_from_slice(&[MEDIA, FILE]);
    node[2..HEAD].copy_from_slice(&u16::try_from(node_len).ok()?.to_le_bytes());
    for (place, letter) in node[HEAD..].chunks_exact_mut(2).zip(file.bytes().map(separator).chain([0])) {
        place.copy_from_slice(&u16::from(letter).to_le_bytes());
    }
    end.copy_from_slice(&END);
    Some(len)
}

/// A byte of a path as boot entries write it, as the firmware wants it.
pub(crate) const fn separator(byte: u8) -> u8 {
    if byte == b'/' { b'\\' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PCI device, a controller's port.
    const DISK: &[u8] = &[1, 1, 6, 0, 0, 3, 3, 18, 10, 0, 0, 0, 0, 0, 0, 0];

    fn partition(number: u8) -> Vec<u8> {
        let mut path = DISK.to_vec();
        let mut node = vec![MEDIA, HARD_DRIVE, 42, 0, number, 0, 0, 0];
        node.resize(24, 0);
        node.extend([number; 16]);
        node.extend([2, 2]);
        path.extend(node);
        path.extend(END);
        path
    }

    #[test]
    fn partitions_of_one_disk() {
        let (esp, meta) = (partition(1), partition(2));
        assert_eq!(disk(&esp), DISK);
        assert!(is_partition_of(&meta, disk(&esp)));
        let whole = [DISK, &END].concat();
        assert_eq!(disk(&whole), DISK);
        assert!(!is_partition_of(&whole, DISK));
        let mut other = meta.clone();
        other[4] ^= 1;
        assert!(!is_partition_of(&other, disk(&esp)));
        // a partition in a partition
        let inner = [&meta[..meta.len() - 4], &partition(1)[DISK.len()..]].concat();
        assert!(!is_partition_of(&inner, disk(&esp)));
        assert_eq!(disk(&inner), DISK);
    }

    #[test]
    fn a_disc_is_a_disk() {
        let mut path = DISK.to_vec();
        path.extend([MEDIA, OPTICAL, 24, 0]);
        path.resize(path.len() + 20, 0);
        path.extend(END);
        assert_eq!(disk(&path), DISK);
        assert!(!is_partition_of(&path, DISK));
        assert_eq!(partition_guid(&path), None);
    }

    #[test]
    fn which_partition() {
        assert_eq!(partition_guid(&partition(7)), Some(Guid([7; 16])));
        assert_eq!(partition_guid(&[DISK, &END].concat()), None);
        let mut by_number = partition(7);
        by_number[DISK.len() + 41] = 1;
        assert_eq!(partition_guid(&by_number), None);
    }

    #[test]
    fn a_file_on_a_partition() {
        let mut room = [0xee; 200];
        let len = with_file(&partition(1), "/A.efi", &mut room).unwrap();
        let path = &room[..len];
        assert_eq!(disk(path), DISK);
        assert!(path.ends_with(&[b'\\', 0, b'A', 0, b'.', 0, b'e', 0, b'f', 0, b'i', 0, 0, 0, 0x7f, 0xff, 4, 0]));
        // SAFETY: it has an end, as was just seen.
        assert_eq!(unsafe { bytes(room.as_ptr()) }, Some(path));
        assert_eq!(with_file(&partition(1), "/A.efi", &mut room[..len - 1]), None);
    }

    #[test]
    fn what_is_no_path_ends() {
        assert_eq!(disk(&[]), []);
        assert_eq!(disk(&[4, 1, 0, 0]), [4, 1, 0, 0]);
        assert_eq!(partition_guid(&[4, 1, 5, 0, 0]), None);
        let endless = [[1, 1, 4, 0]; LONGEST];
        // SAFETY: longer than anything it reads.
        assert_eq!(unsafe { bytes(endless.as_ptr().cast()) }, None);
        // SAFETY: it stops at the first node.
        assert_eq!(unsafe { bytes([1, 1, 3, 0].as_ptr()) }, None);
    }
}
