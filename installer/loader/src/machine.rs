//! The machine as the decision sees it: the boot state, the entries and the UKIs of the disk that this program is on.

use core::fmt::{self, Arguments, Display, Formatter};

use boot::{
    decide::{self, Choice},
    entry::Which,
    meta::{BLOCK, BOOT},
    record::{self, Kind, Record, Slot},
    state::{Cause, Reject, State, TRIAL_VARIABLE},
};
use uefi_raw::{Handle, protocol::loaded_image::LoadedImageProtocol};

use crate::{NAME, console::say, entries::Entries, esp::Esp, firmware::Firmware, meta::Meta, path, uki, variables};

/// See above.
pub(crate) struct Machine<'a> {
    firmware: &'a Firmware,
    /// Path of the partition that this program is on.
    device: &'static [u8],
    meta: Option<Meta>,
    esp: Option<Esp>,
    /// The boot state's two regions as they are on the disk; zero where one cannot be read.
    regions: [[u8; BLOCK]; 2],
}

impl<'a> Machine<'a> {
    /// The disk that this program was started from.
    pub(crate) fn find(firmware: &'a Firmware) -> Option<Self> {
        let own = firmware.protocol::<LoadedImageProtocol>(firmware.image)?;
        // SAFETY: the firmware's description of this program, there as long as it runs.
        let handle = unsafe { own.as_ref() }.device_handle;
        let device = firmware.device_path(handle)?;
        let mut meta = Meta::find(firmware, device);
        let regions = [BOOT.a, BOOT.b].map(|region| {
            let bytes = meta.as_mut().and_then(|meta| meta.read(region));
            bytes.and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; BLOCK])
        });
        Some(Self { firmware, device, meta, esp: Esp::open(firmware, handle), regions })
    }

    fn newest(&self) -> Option<(Slot, Record<'_>)> {
        record::decode_newest(Kind::Boot, &self.regions[0], &self.regions[1])
    }

    /// The boot state, if there is one that can be read.
    pub(crate) fn state(&self) -> Option<State> {
        let why = match self.newest() {
            Some((_, record)) => match State::decode(record.payload) {
                Ok(state) => return Some(state),
                Err(why) => why,
            },
            None => {
                self.say(format_args!("no boot state on this disk"));
                return None;
            }
        };
        self.say(format_args!("the boot state cannot be used: {why}"));
        None
    }

    pub(crate) fn entries(&self) -> Entries {
        self.esp.as_ref().map_or(Entries::new(), Entries::of)
    }

    /// Tells the operating system and the console what is started.
    pub(crate) fn tell(&self, choice: &Choice) {
        let set = |name, value: Arguments<'_>| variables::set(self.firmware, name, value);
        set("LoaderEntrySelected", format_args!("{}", choice.which));
        set("LoaderInfo", format_args!("{NAME}"));
        if choice.cause == Cause::Trial {
            set(TRIAL_VARIABLE, format_args!("1"));
        }
        if let Some(guid) = path::partition_guid(self.device) {
            set("LoaderDevicePartUUID", format_args!("{guid}"));
        }
        self.say(format_args!("starting {} ({})", Name(choice.which), because(choice.cause)));
    }

    fn say(&self, line: Arguments<'_>) {
        say(self.firmware, line);
    }
}

impl decide::Machine for Machine<'_> {
    type Loaded = Handle;

    fn save(&mut self, state: &State) -> bool {
        let (slot, seq) = record::next(self.newest());
        let mut region = [0; BLOCK];
        let encoded = record::encode(Kind::Boot, Record { seq, payload: &state.encode() }, &mut region).is_ok();
        let written = encoded && self.meta.as_mut().is_some_and(|meta| meta.write(BOOT.get(slot), &region));
        if written {
            self.regions[slot as usize] = region;
        } else {
            self.say(format_args!("the boot state cannot be written: nothing on trial is started"));
        }
        written
    }

    fn load(&mut self, choice: &Choice) -> Result<Handle, Reject> {
        let esp = self.esp.as_ref().ok_or(Reject::Unreadable);
        let read = esp.and_then(|esp| uki::read(self.firmware, esp, choice));
        let loaded = read.and_then(|uki| uki::load(self.firmware, self.device, choice, &uki));
        loaded.inspect_err(|why| {
            self.say(format_args!("{} cannot be started: {}", Name(choice.which), wrong(*why)));
        })
    }
}

/// A generation or recovery, as people call it.
struct Name(Which);

impl Display for Name {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Which::Generation(number) => write!(to, "generation {number}"),
            Which::Recovery => to.write_str("recovery"),
        }
    }
}

const fn because(cause: Cause) -> &'static str {
    match cause {
        Cause::Trial => "on trial",
        Cause::Current => "current",
        Cause::Other => "the current one cannot be started",
        Cause::Asked => "asked for",
        Cause::Last => "nothing else can be started",
        Cause::Stateless => "the lowest that has an entry",
    }
}

const fn wrong(reject: Reject) -> &'static str {
    match reject {
        Reject::Missing => "its file is missing",
        Reject::Unreadable => "its file cannot be read",
        Reject::Length => "its file has another length",
        Reject::Damaged => "its file is damaged",
        Reject::Refused => "Secure Boot refuses it",
        Reject::Unloadable => "the firmware cannot load it",
    }
}
