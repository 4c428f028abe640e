//! Events of input devices (linux/input.h): a press of the power key. Pure; machined reads the buttons, and init while there
//! is no machined to read them.

/// `struct input_event` of a 64-bit kernel: two words of time, type, code, value.
pub const EVENT: usize = 24;
/// The power key.
pub const KEY_POWER: u16 = 116;
const EV_KEY: u16 = 1;
const PRESSED: i32 = 1;

/// Whether the power key is pressed in any of these events.
#[must_use]
pub fn is_power_press(events: &[u8]) -> bool {
    events.chunks_exact(EVENT).any(|event| {
        let word = |at: usize| u16::from_ne_bytes([event[at], event[at + 1]]);
        let value = i32::from_ne_bytes([event[20], event[21], event[22], event[23]]);
        word(16) == EV_KEY && word(18) == KEY_POWER && value == PRESSED
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_is_told_from_a_release() {
        let mut event = [0; EVENT];
        event[16..18].copy_from_slice(&1u16.to_ne_bytes());
        event[18..20].copy_from_slice(&116u16.to_ne_bytes());
        assert!(!is_power_press(&event));
        event[20..24].copy_from_slice(&1i32.to_ne_bytes());
        assert!(is_power_press(&event));
        assert!(!is_power_press(&event[..20]));
    }
}
