//! What lies on the partition, before anything of it is changed: what of that is whole, and whether what is to come could be written.
//! Called by `esp`.
//!
//! Invariant: nothing that anybody needs is written or removed; each file is read once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use boot::Digest;
use config::image::esp::{Done, Request, Room, Source};

use super::{Error, RESERVE, digest, files, stay};

/// Everything that can be said without a change.
pub(super) fn look(root: &Path, request: &Request) -> Result<Done, Error> {
    let mut known = BTreeMap::new();
    // One that cannot be read is as good as damaged.
    let mut whole =
        |digest: Digest| *known.entry(digest).or_insert_with(|| files::holds(root, digest).unwrap_or(false));
    let found = files::found(root, &mut whole)?;
    let damaged = request.keep.iter().filter(|kept| !whole(digest(kept))).cloned().collect();
    let missing: Vec<_> = request.add.iter().filter(|source| !whole(digest(&source.digest))).collect();
    let room = room(root, request, &missing)?;
    if !request.add.is_empty() {
        files::try_to_write(root)?;
    }
    Ok(Done { damaged, found, free: files::free(root)?, room: Some(room), ..Done::default() })
}

/// The room for what is missing, once everything of ours that may go has gone.
pub(super) fn room(root: &Path, request: &Request, missing: &[&Source]) -> Result<Room, Error> {
    let goes: BTreeSet<_> = missing.iter().map(|source| digest(&source.digest)).collect();
    let stays = stay(request, request.loader.as_ref()).difference(&goes).copied().collect();
    let free = files::free(root)? + files::disposable(root, &stays)?;
    let needed = missing.iter().map(|source| source.size).sum::<u64>() + RESERVE;
    Ok(Room { free, needed, foreign: files::foreign(root)? })
}
