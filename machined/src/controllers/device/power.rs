//! The power button: an input device with a power key and no letters (ACPI's, or a GPIO key; not a keyboard). A press
//! asks for a power-off. init has the same open device, and reads it while there is no machined that does.
//!
//! Invariant: presses within [`DEBOUNCE`] are one: a machine often has two such devices for one button, and people press
//! twice.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::select_all;
use reconcile::{Controller, Cycle, CycleError, Next, Ports};
use sys::input;
use sys::link::Kind;
use sys::uevent::Message;
use tokio::io::unix::AsyncFd;

use crate::events::Events;
use crate::link::Link;
use crate::poll;
use crate::stop;
use crate::trace::chain;
use crate::uevent::Listener;

const DEBOUNCE: Duration = Duration::from_secs(1);
/// What the names of buttons that init keeps begin with; `boot` leaves them alone.
pub(super) const KEPT: &str = "button:";
const KEY_A: usize = 30;

/// The controller.
#[derive(Debug)]
pub(super) struct Power {
    sys: PathBuf,
    dev: PathBuf,
    listener: Listener,
    stop: stop::Handle,
    link: Link,
    events: Events,
    buttons: BTreeMap<String, AsyncFd<File>>,
    pressed: Option<String>,
    last: Option<Instant>,
}

impl Power {
    /// The machine's own; init keeps what `link` is given.
    pub(super) fn new(listener: Listener, stop: stop::Handle, link: Link, events: Events) -> Self {
        let (sys, dev) = ("/sys".into(), "/dev".into());
        Self { sys, dev, listener, stop, link, events, buttons: BTreeMap::new(), pressed: None, last: None }
    }

    /// Input devices that come and go.
    pub(super) fn wants(message: &Message<'_>) -> bool {
        message.get("SUBSYSTEM") == Some("input")
    }

    fn press(&mut self, name: &str) {
        if self.last.is_some_and(|last| last.elapsed() < DEBOUNCE) {
            return;
        }
        self.last = Some(Instant::now());
        self.events.info("device", format!("the power button was pressed ({name})"));
        self.stop.request(stop::Request::new(stop::Action::PowerOff, "power button"));
    }

    fn open(&self, name: &str) -> io::Result<AsyncFd<File>> {
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        poll::readable(OpenOptions::new().read(true).custom_flags(flags).open(self.dev.join("input").join(name))?)
    }
}

impl Controller for Power {
    const NAME: &'static str = "device/power-button";
    type Error = CycleError;

    fn declare(_: &mut Ports) {}

    async fn reconcile(&mut self, _: &mut Cycle<'_>) -> Result<Next, CycleError> {
        self.listener.read();
        if let Some(name) = self.pressed.take() {
            self.press(&name);
        }
        let wanted = buttons(&self.sys);
        for name in self.buttons.keys().filter(|name| !wanted.contains(name)) {
            told(self.link.drop(&format!("{KEPT}{name}")).await);
        }
        self.buttons.retain(|name, _| wanted.contains(name));
        let mut missing = false;
        for name in wanted {
            if !self.buttons.contains_key(&name) {
                match self.open(&name) {
                    Ok(button) => {
                        match button.get_ref().try_clone() {
                            Ok(copy) => told(self.link.put(&format!("{KEPT}{name}"), Kind::Button, copy.into()).await),
                            Err(error) => tracing::warn!("power button: {error}"),
                        }
                        self.buttons.insert(name, button);
                    }
                    // devtmpfs makes the node a moment after the event of its folder.
                    Err(_) => missing = true,
                }
            }
        }
        Ok(if missing { Next::After(Duration::from_secs(1)) } else { Next::OnChange })
    }

    async fn wake(&mut self) {
        let Self { listener, buttons, pressed, .. } = self;
        if buttons.is_empty() {
            return listener.heard().await;
        }
        let gone = {
            let presses = select_all(buttons.iter().map(|(name, button)| Box::pin(press_on(name, button))));
            tokio::select! {
                () = listener.heard() => None,
                ((name, result), _, _) = presses => Some((name.to_owned(), result)),
            }
        };
        match gone {
            Some((name, Ok(()))) => *pressed = Some(name),
            // It was unplugged: the next cycle looks again.
            Some((name, Err(_))) => drop(buttons.remove(&name)),
            None => {}
        }
    }
}

fn told(done: Result<(), crate::link::Error>) {
    if let Err(error) = done {
        tracing::warn!("power button: init does not know of it: {}", chain(&error));
    }
}

/// Waits for a press. Cancel-safe: an event that was read is acted on without a further await.
async fn press_on<'n>(name: &'n str, button: &AsyncFd<File>) -> (&'n str, io::Result<()>) {
    loop {
        let mut ready = match button.readable().await {
            Ok(ready) => ready,
            Err(error) => return (name, Err(error)),
        };
        let mut events = [0; 32 * input::EVENT];
        match ready.try_io(|button| button.get_ref().read(&mut events)) {
            Err(_) => {}
            Ok(Ok(0)) => return (name, Err(io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(length)) if input::is_power_press(&events[..length]) => return (name, Ok(())),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return (name, Err(error)),
        }
    }
}

/// The event devices that are power buttons.
fn buttons(sys: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(sys.join("class/input")).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| name.starts_with("event") && is_button(&sys.join("class/input").join(name))).collect()
}

fn is_button(event: &Path) -> bool {
    let keys = std::fs::read_to_string(event.join("device/capabilities/key")).unwrap_or_default();
    has_key(&keys, usize::from(input::KEY_POWER)) && !has_key(&keys, KEY_A)
}

/// Words of 64 keys in hexadecimal, the highest first.
fn has_key(words: &str, key: usize) -> bool {
    let word = words.split_ascii_whitespace().rev().nth(key / 64);
    word.and_then(|word| u64::from_str_radix(word, 16).ok()).is_some_and(|word| word >> (key % 64) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_is_not_a_keyboard() {
        assert!(has_key("10000000000000 0", 116));
        assert!(!has_key("10000000000000 0", 30));
        let keyboard = "402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe";
        assert!(has_key(keyboard, 30));
        assert!(has_key(keyboard, 116));
        assert!(!has_key("", 116) && !has_key("zz", 1));
    }
}
