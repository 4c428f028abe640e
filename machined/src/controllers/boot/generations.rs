//! Shows the generations: those in the slots, as the boot state has them, and those that failed before, as machined remembers.

use boot::state::Phase;
use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use tokio::sync::watch;

use crate::generations::{Handle, View};
use crate::meta;
use crate::resources::generation::{Generation, State};

/// `boot/generations`.
#[derive(Debug)]
pub(super) struct Generations {
    handle: Handle,
    view: watch::Receiver<std::sync::Arc<View>>,
    meta: meta::Handle,
    state: watch::Receiver<meta::State>,
}

impl Generations {
    pub(super) fn new(handle: Handle, meta: meta::Handle) -> Self {
        let (view, state) = (handle.watch(), meta.watch());
        Self { handle, view, meta, state }
    }
}

/// What there is, by number.
fn list(view: &View, record: &meta::Record) -> Vec<(u32, Generation)> {
    let Some(state) = &view.state else { return Vec::new() };
    let running = view.generation().map(|generation| generation.number);
    let failed = |number| record.failed.iter().find(|failed| failed.generation == number);
    let mut found = Vec::new();
    for (slot, generation) in ["a", "b"].into_iter().zip(&state.slots) {
        let Some(generation) = generation else { continue };
        let digest = generation.uki.digest.to_string();
        let marks = [("running", running == Some(generation.number)), ("current", state.current == generation.number)];
        let (phase, tries) = match generation.phase {
            Phase::Blessed => (State::Blessed, None),
            Phase::Trial { tries } => (State::Trial, Some(tries)),
            Phase::Failed(_) => (State::Failed, None),
        };
        let shown = Generation {
            state: phase,
            marks: marks.into_iter().filter(|(_, is)| *is).map(|(mark, _)| mark.to_owned()).collect(),
            version: record.versions.get(&digest).cloned().unwrap_or_default(),
            digest,
            size: generation.uki.size,
            slot: slot.to_owned(),
            tries,
            revision: (generation.revision > 0).then_some(generation.revision),
            ..Generation::default()
        };
        found.push((generation.number, tell(shown, failed(generation.number).filter(|_| phase == State::Failed))));
    }
    let gone = record.failed.iter().filter(|failed| state.generation(failed.generation).is_none());
    found.extend(gone.map(|failed| {
        let shown = Generation {
            state: State::Failed,
            version: failed.version.clone(),
            digest: failed.digest.clone(),
            ..Generation::default()
        };
        (failed.generation, tell(shown, Some(failed)))
    }));
    found
}

fn tell(generation: Generation, failed: Option<&meta::Failed>) -> Generation {
    let Some(failed) = failed else { return generation };
    Generation {
        reason: failed.why.clone(),
        reached: failed.phase.clone(),
        starts: Some(failed.starts),
        failed_unix: Some(failed.time_unix),
        ..generation
    }
}

impl Controller for Generations {
    const NAME: &'static str = "boot/generations";
    type Error = CycleError;

    fn declare(ports: &mut Ports) {
        ports.own::<Generation>();
    }

    async fn reconcile(&mut self, cx: &mut Cycle<'_>) -> Result<Next, CycleError> {
        for (number, generation) in list(&self.handle.view(), &self.meta.record()) {
            cx.put(number.to_string(), generation)?;
        }
        Ok(Next::OnChange)
    }

    async fn wake(&mut self) {
        // A sender that is gone changes nothing any more.
        tokio::select! {
            Ok(()) = self.view.changed() => {}
            Ok(()) = self.state.changed() => {}
            else => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generations::Running;
    use boot::state::{Failure, State as Boot};
    use boot::uki::{Digest, Uki};

    #[test]
    fn what_is_in_the_slots_and_what_failed_before() {
        let uki = |number| Uki { digest: Digest([number; 32]), size: 10 };
        let (state, trial) = Boot::first(uki(1), None).stage(1, uki(5)).unwrap();
        let state = state.fail(trial, Failure::Gate).unwrap();
        let view = View { running: Running::Generation(1), state: Some(state), problem: String::new() };
        let failed = |generation, why: &str| meta::Failed { generation, why: why.into(), ..meta::Failed::default() };
        let record = meta::Record {
            failed: vec![failed(9, "long gone"), failed(2, "the gate web")],
            versions: [("01".repeat(32), "1.0.0".to_owned())].into(),
            ..meta::Record::default()
        };
        let found = list(&view, &record);
        let told: Vec<_> = found.iter().map(|(number, one)| (*number, one.state, one.reason.as_str())).collect();
        let expected = [(1, State::Blessed, ""), (2, State::Failed, "the gate web"), (9, State::Failed, "long gone")];
        assert_eq!(told, expected);
        assert_eq!((&*found[0].1.version, &*found[0].1.marks.join(" ")), ("1.0.0", "running current"));
    }
}
