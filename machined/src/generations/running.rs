//! What runs: the word of the loader, held against the boot state of the disk. Pure but for the firmware's variables.

use ::boot::entry::Which;
use ::boot::state::{Phase, State, TRIAL_VARIABLE};

use super::Running;
use crate::efi::{LOADER, Variables};

/// What the loader left in the firmware's volatile variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// The machine was started by UEFI firmware.
    pub(super) efi: bool,
    /// The entry that was chosen.
    pub(super) entry: Option<String>,
    /// GUID of the partition that the loader was started from.
    pub(super) loader_from: Option<String>,
    /// GUID of the partition that the UKI was read from, as its stub says.
    pub(super) stub_from: Option<String>,
    /// What was chosen is on trial.
    pub(super) trial: bool,
}

/// What machined knows already, of this boot and the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The start that was counted last when machined last looked.
    pub(super) boots: Option<u32>,
    /// What a machined before this one found to run in this boot.
    pub(super) which: Option<Which>,
}

impl Told {
    /// Asks the firmware. Blocking.
    pub(super) fn read(variables: &Variables) -> std::io::Result<Self> {
        if !variables.is_efi() {
            return Ok(Self::default());
        }
        if !variables.is_mounted() {
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "efivarfs is not mounted"));
        }
        let guid = |text: Option<String>| text.map(|guid| guid.trim().to_ascii_lowercase());
        Ok(Self {
            efi: true,
            entry: variables.text("LoaderEntrySelected", LOADER)?,
            loader_from: guid(variables.text("LoaderDevicePartUUID", LOADER)?),
            stub_from: variables.booted_from()?,
            trial: variables.text(TRIAL_VARIABLE, LOADER)?.is_some(),
        })
    }
}

/// Decides. `told` is none when the firmware's variables cannot be read.
pub(super) fn decide(told: Option<&Told>, state: Option<&State>, known: Known) -> Running {
    // A firmware that keeps no variables took none of the stub either.
    let told = told.filter(|told| !told.efi || told.entry.is_some() || told.stub_from.is_some());
    let foreign = |why: &str| Running::Foreign(why.into());
    let chosen = state.and_then(|state| state.chosen);
    let which = match told {
        None if known.which.is_some() => known.which,
        // A start that was counted since machined last looked can only be this one.
        None if state.is_some_and(|state| Some(state.boots) != known.boots) => chosen.map(|chosen| chosen.which),
        None => return foreign("the firmware's variables cannot be read, and the loader could not count this start"),
        Some(told) if !told.efi => return foreign("it was started by a kernel and an initramfs, without the loader"),
        Some(Told { entry: None, .. }) => return foreign("it was started without the loader of an installed disk"),
        Some(told) if told.loader_from.is_none() || told.loader_from != told.stub_from => {
            return foreign("it was started from a medium that is no disk of an installed machine");
        }
        Some(told) => told.entry.as_deref().and_then(Which::of_file),
    };
    let Some(which) = which else { return foreign("what the loader says it chose is no entry of this release") };
    match (which, state) {
        (Which::Recovery, _) => Running::Recovery,
        // Without a state the loader starts what has an entry.
        (Which::Generation(number), None) => Running::Generation(number),
        (Which::Generation(number), Some(state)) => match state.generation(number) {
            // What is blessed may be started without a count.
            Some(generation) if generation.phase == Phase::Blessed => Running::Generation(number),
            Some(_) if chosen.is_some_and(|chosen| chosen.which == which) => Running::Generation(number),
            _ => foreign("the loader started what the boot state of the system disk does not know"),
        },
    }
}
