//! How the volumes are told to the rest of the machine: the handle of STATE, resources, conditions, the wait, events.

use std::path::Path;

use boot::part::{EPHEMERAL, STATE};
use reconcile::{Cycle, CycleError};

use super::{Powers, Stand, System, Volumes};
use crate::blocking;
use crate::resources::condition::Condition;
use crate::resources::volume::{Phase, Volume};
use crate::resources::wait::{For, Wait};
use crate::state::State;

/// Steps in which use is shown, so that a watch is not woken by every block.
const STEP: u64 = 1 << 20;
/// The format of each.
pub(super) const EXT4: &str = "ext4";
pub(super) const XFS: &str = "xfs";

impl<P: Powers> Volumes<P> {
    /// What others may do with STATE.
    pub(super) fn tell_state(&self, system: &System) {
        self.handle.put(match (&self.state, system) {
            (Stand::Mounted { .. }, System::None(why)) => State::Unusable(gone(why)),
            (Stand::Mounted { .. }, _) => State::Mounted { root: self.places.state.clone() },
            (Stand::Waiting(_), _) => State::Waiting,
            (Stand::Absent(why) | Stand::Half(why), _) => State::None(why.clone()),
            (Stand::Unusable(why) | Stand::Left(why), _) => State::Unusable(why.clone()),
        });
    }

    /// Puts all outputs.
    pub(super) async fn show(&mut self, cx: &mut Cycle<'_>, system: &System) -> Result<(), CycleError> {
        let volumes = [
            (STATE.name, "state", EXT4, self.state.clone(), self.places.state.clone()),
            (EPHEMERAL.name, "ephemeral", XFS, self.ephemeral.clone(), self.places.var.clone()),
        ];
        for (name, condition, format, stand, on) in volumes {
            let mut volume = volume(&stand, format, &on);
            if volume.phase == Phase::Mounted {
                (volume.size, volume.used, volume.read_only) = blocking::run(move || fill(&on)).await;
                if let System::None(why) = system {
                    (volume.phase, volume.reason) = (Phase::Unusable, gone(why));
                }
            }
            let met = volume.phase == Phase::Mounted && !volume.read_only;
            let reason = if volume.phase == Phase::Mounted && volume.read_only {
                "the kernel has made it read-only after an error of its disk: see the kernel's log, and reboot to have it \
                 checked"
            } else {
                &volume.reason
            };
            let reason = format!("{name}: {reason}");
            let left = matches!(stand, Stand::Left(_));
            if matches!(volume.phase, Phase::Unusable) && !left || volume.read_only {
                self.complain(name, &reason);
            }
            let told = if met { Condition::met(reason) } else { Condition::unmet(reason) };
            cx.put::<Condition>(condition, told.optional())?;
            cx.put::<Volume>(name, volume)?;
        }
        if let (Some(since), Stand::Waiting(why) | Stand::Absent(why) | Stand::Half(why)) = (self.wished, &self.state) {
            cx.put::<Wait>(For::State.id(), For::State.wait(why, since))?;
        }
        Ok(())
    }

    /// Shows what is being done, in the middle of a cycle.
    pub(super) fn show_phase(
        &self,
        cx: &mut Cycle<'_>,
        name: &'static str,
        phase: Phase,
        what: &str,
    ) -> Result<(), CycleError> {
        let (format, on) = if name == STATE.name { (EXT4, &self.places.state) } else { (XFS, &self.places.var) };
        let mount_point = on.display().to_string();
        let volume = Volume { phase, format: format.into(), mount_point, reason: what.into(), ..Volume::default() };
        cx.put::<Volume>(name, volume)?;
        if let (true, Some(since)) = (name == STATE.name, self.wished) {
            self.handle.waits_for(what);
            cx.put::<Wait>(For::State.id(), For::State.wait(what, since))?;
        }
        Ok(())
    }

    /// One event for each new trouble of a volume.
    pub(super) fn complain(&mut self, name: &'static str, text: &str) {
        if self.told.get(name).map(String::as_str) != Some(text) {
            self.events.error("disk", text);
            self.told.insert(name, text.into());
        }
    }
}

fn gone(why: &str) -> String {
    format!("its disk is gone ({why}): what is written now is lost; plug it in and reboot")
}

fn volume(stand: &Stand, format: &str, on: &Path) -> Volume {
    let (phase, device, reason) = match stand {
        Stand::Waiting(why) => (Phase::Waiting, "", why.clone()),
        Stand::Absent(why) => (Phase::Absent, "", why.clone()),
        Stand::Half(why) => (Phase::HalfMade, "", why.clone()),
        Stand::Unusable(why) | Stand::Left(why) => (Phase::Unusable, "", why.clone()),
        Stand::Mounted { device, .. } => (Phase::Mounted, device.as_str(), format!("it is on {device}")),
    };
    let mount_point = on.display().to_string();
    Volume { phase, device: device.into(), format: format.into(), mount_point, reason, ..Volume::default() }
}

/// Size, use, and whether the kernel refuses writes. Blocks no longer than the kernel takes to look into its memory.
fn fill(on: &Path) -> (u64, u64, bool) {
    let Ok(now) = rustix::fs::statvfs(on) else { return (0, 0, false) };
    let bytes = |blocks: u64| blocks.saturating_mul(now.f_frsize);
    let used = bytes(now.f_blocks.saturating_sub(now.f_bfree)).next_multiple_of(STEP);
    (bytes(now.f_blocks), used, now.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}
