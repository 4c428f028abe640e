//! Texts as the firmware wants them: UTF-16 with a zero at the end, in a room of fixed size.

use core::fmt;

/// At most `N` - 1 units.
pub(crate) struct Text<const N: usize> {
    units: [u16; N],
    len: usize,
}

impl<const N: usize> Text<N> {
    pub(crate) const fn new() -> Self {
        Self { units: [0; N], len: 0 }
    }

    /// The units and the zero.
    pub(crate) fn with_end(&self) -> &[u16] {
        &self.units[..=self.len]
    }
}

/// Fails when there is no room.
impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for unit in text.encode_utf16() {
            // the last one stays zero
            if self.len + 1 >= N {
                return Err(fmt::Error);
            }
            self.units[self.len] = unit;
            self.len += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::fmt::Write;

    use super::*;

    #[test]
    fn ends_with_zero_and_never_overflows() {
        let mut text = Text::<4>::new();
        assert_eq!(text.with_end(), [0]);
        text.write_str("abc").unwrap();
        assert_eq!(text.with_end(), [97, 98, 99, 0]);
        assert!(text.write_str("d").is_err());
        assert_eq!(text.with_end(), [97, 98, 99, 0]);
    }
}
