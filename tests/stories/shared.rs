//! The machine that stories share when they leave it as they found it.

use anyhow::Result;
use tests::{
    artifacts,
    machine::Shared,
    vm::{Disk, Spec},
};

pub(crate) static MACHINE: Shared = Shared::new(spec);

/// Started without firmware, which is quicker, and with a system disk, so that META is there.
pub(crate) fn spec() -> Result<Spec> {
    let image = artifacts::test_image();
    Ok(Spec { disks: vec![Disk::of(image.raw()?)], ..Spec::kernel(&image) })
}
