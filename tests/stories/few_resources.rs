//! Small machines and larger ones.

use anyhow::Result;
use tests::{artifacts, machine, runner::Story, vm::Spec};

pub(crate) fn stories() -> Vec<Story> {
    vec![
        Story::new("boots_with_384_mib_of_memory", || story(384, 1)),
        Story::new("boots_with_four_processors", || story(1024, 4)),
    ]
}

fn story(memory: u32, cpus: u32) -> Result<()> {
    let spec = Spec { memory, cpus, ..Spec::kernel(&artifacts::test_image()) };
    machine::with(&spec, |machine| {
        machine.apictl.wait_maintenance()?;
        machine.apictl.ok(&["get", "processes"]).map(drop)
    })
}
