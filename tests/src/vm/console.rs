//! What a machine printed on its first serial port, as the emulator writes it to a file.

use std::{fs, path::PathBuf};

/// The console of one machine.
#[derive(Clone, Debug)]
pub struct Console {
    path: PathBuf,
}

impl Console {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// All that was printed so far; what is not UTF-8 is replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    /// How many bytes were printed so far.
    pub fn len(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |meta| meta.len())
    }

    /// Whether nothing was printed yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first complete line that contains `needle`, when there is one.
    pub fn line(&self, needle: &str) -> Option<String> {
        self.line_after(needle, 0)
    }

    /// How many complete lines contain `needle`.
    pub fn count(&self, needle: &str) -> usize {
        self.text().split_inclusive('\n').filter(|line| line.ends_with('\n') && line.contains(needle)).count()
    }

    /// The last `lines` lines.
    pub fn tail(&self, lines: usize) -> String {
        let text = self.text();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The first complete line that contains `needle` and was printed after the first `after` bytes.
    pub fn line_after(&self, needle: &str, after: u64) -> Option<String> {
        let bytes = fs::read(&self.path).ok()?;
        let start = usize::try_from(after).ok()?.min(bytes.len());
        let text = String::from_utf8_lossy(&bytes[start..]).into_owned();
        text.split_inclusive('\n')
            .find(|line| line.ends_with('\n') && line.contains(needle))
            .map(|line| line.trim().to_owned())
    }
}
