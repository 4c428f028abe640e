//! The part of generations in the start: what runs is found out, and what was proven takes its place on the EFI partition.

use std::path::Path;
use std::sync::Arc;

use reconcile::{ClaimError, Store};

use crate::events::Events;
use crate::generations::{Follow, Handle, Partition, Settle, Slots};
use crate::image::Image;
use crate::link::Link;
use crate::meta;
use crate::program::Programs;
use crate::tasks::Tasks;

/// What it stands on.
pub(super) struct Ground<'a> {
    pub(super) store: &'a Store,
    pub(super) events: &'a Events,
    pub(super) meta: &'a meta::Handle,
    pub(super) link: &'a Link,
    pub(super) image: &'a Image,
    pub(super) programs: &'a Programs,
    pub(super) run: &'a Path,
}

/// Starts its tasks; what others ask, and what an upgrade changes.
pub(super) fn start(tasks: &mut Tasks, ground: &Ground<'_>) -> Result<(Handle, Arc<Slots>), ClaimError> {
    let Ground { store, events, meta, link, image, programs, run } = *ground;
    let handle = Handle::new(meta.clone());
    let follow = Follow {
        handle: handle.clone(),
        meta: meta.clone(),
        link: link.clone(),
        events: events.clone(),
        image: image.clone(),
        sys: "/sys".into(),
    };
    tasks.start("generations", follow.run());
    let partition = Arc::new(Partition::new(store, programs.clone(), run)?);
    let (meta, events) = (meta.clone(), events.clone());
    let settle = Settle { handle: handle.clone(), meta: meta.clone(), partition: partition.clone(), events };
    tasks.start("efi partition", settle.run());
    Ok((handle.clone(), Arc::new(Slots::new(handle, meta, partition))))
}
