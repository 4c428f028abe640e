//! What a machine's screen shows, as pixels.

use std::{collections::HashMap, path::Path};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::Qmp;

/// A letter on a text console: columns and rows of pixels (the kernel's font 8x16).
const LETTER: (usize, usize) = (8, 16);

/// A picture of the screen, three bytes a pixel.
pub struct Screen {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Screen {
    /// Takes one by the monitor; `folder` is the machine's.
    pub(super) fn shot(qmp: &Qmp, folder: &Path) -> Result<Self> {
        let file = folder.join("screen.ppm");
        qmp.execute("screendump", json!({ "filename": file }))?;
        Self::parse(&std::fs::read(&file)?).with_context(|| format!("{} is no picture", file.display()))
    }

    /// The format PPM: `P6`, width, height, 255, one blank, pixels.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut word = || {
            let end = rest.iter().position(u8::is_ascii_whitespace)?;
            let (word, tail) = (std::str::from_utf8(rest.get(..end)?).ok()?, rest.get(end + 1..)?);
            rest = tail;
            Some(word)
        };
        let (kind, width, height, most) = (word()?, word()?.parse().ok()?, word()?.parse().ok()?, word()?);
        let pixels = rest.to_vec();
        (kind == "P6" && most == "255" && pixels.len() == width * height * 3).then_some(Self { width, height, pixels })
    }

    /// Columns of letters.
    pub fn columns(&self) -> usize {
        self.width / LETTER.0
    }

    /// Checks that the screen shows this text, one letter a cell, row after row, and blanks after its end: a letter looks
    /// the same wherever it stands, and no two letters look alike. So no font need be known; returns how many different
    /// ones there are.
    pub fn shows(&self, text: &str) -> Result<usize> {
        let (columns, rows) = (self.columns(), self.height / LETTER.1);
        let cells = columns * rows;
        ensure!(text.chars().count() <= cells, "more text than {columns} columns and {rows} rows hold");
        let mut looks: HashMap<char, Vec<bool>> = HashMap::new();
        for (at, letter) in text.chars().chain(std::iter::repeat(' ')).take(cells).enumerate() {
            let cell = self.cell(at % columns, at / columns);
            let seen = looks.entry(letter).or_insert_with(|| cell.clone());
            ensure!(*seen == cell, "'{letter}' looks different at column {}, row {}", at % columns, at / columns);
        }
        let different: std::collections::HashSet<&Vec<bool>> = looks.values().collect();
        ensure!(different.len() == looks.len(), "two of {:?} look alike", looks.keys());
        Ok(looks.len())
    }

    /// Which pixels of a cell are lit.
    fn cell(&self, column: usize, row: usize) -> Vec<bool> {
        let mut lit = Vec::with_capacity(LETTER.0 * LETTER.1);
        for y in row * LETTER.1..(row + 1) * LETTER.1 {
            let start = (y * self.width + column * LETTER.0) * 3;
            let line = self.pixels.get(start..start + LETTER.0 * 3).unwrap_or_default();
            lit.extend(line.chunks(3).map(|pixel| pixel.iter().any(|colour| *colour > 64)));
        }
        lit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of two letters beside each other, each of one lit pixel or none.
    fn picture(first: Option<usize>, second: Option<usize>) -> Screen {
        let mut bytes = b"P6\n16 16\n255\n".to_vec();
        let mut pixels = vec![0; 16 * 16 * 3];
        for at in first.into_iter().chain(second.map(|at| at + LETTER.0)) {
            pixels[at * 3] = 170;
        }
        bytes.extend(pixels);
        Screen::parse(&bytes).unwrap()
    }

    #[test]
    fn letters_are_known_by_being_alike() {
        assert_eq!(picture(Some(3), Some(3)).shows("aa").unwrap(), 1);
        assert_eq!(picture(Some(3), None).shows("a ").unwrap(), 2);
        assert!(picture(Some(3), Some(4)).shows("aa").is_err(), "two looks of one letter");
        assert!(picture(None, None).shows("a ").is_err(), "nothing is shown");
        assert_eq!(picture(Some(3), None).shows("a").unwrap(), 2, "blanks at the end may be left out");
        assert!(picture(None, None).shows("aaa").is_err(), "a larger text");
        assert!(Screen::parse(b"P6\n16 16\n255\n...").is_none());
    }
}
