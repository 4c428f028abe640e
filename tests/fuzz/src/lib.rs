//! Fuzz targets: for every parser of outside bytes one function that takes any bytes and must not panic.
//!
//! [`targets!`] stands in the tests of the module that it tries, so that it reaches what is private there. Each target has
//! a corpus that is kept, `corpus/NAME/` in its crate. As an ordinary test it tries each kept input, and cheap variations
//! of it that are the same in every run. `make fuzz` compiles the same tests with coverage and hands them to libFuzzer.
//!
//! Invariant: a target without corpus fails, and what failed once is kept as an input.

#[cfg(stele_fuzz)]
mod driver;
mod vary;

use std::{fs, path::Path};

/// Declares targets as tests: `fuzz::targets! { gpt: |bytes| drop(read(bytes)) }`.
#[macro_export]
macro_rules! targets {
    ($($name:ident: $check:expr),+ $(,)?) => {
        mod fuzzed {
            #[allow(unused_imports, reason = "a target may need nothing of its module")]
            use super::*;

            $(#[test]
            fn $name() {
                let check: fn(&[u8]) = $check;
                $crate::run(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/", stringify!($name)), check);
            })+
        }
    };
}

/// Variations of each kept input that an ordinary test tries: all corpora together take a few seconds.
const VARIATIONS: usize = 128;

/// One target: tries its corpus, or fuzzes when compiled and called for it.
///
/// # Panics
/// When the check does, or the corpus is missing.
pub fn run(corpus: &str, check: fn(&[u8])) {
    #[cfg(stele_fuzz)]
    if driver::is_wanted() {
        return driver::run(check);
    }
    for input in inputs(Path::new(corpus)) {
        attempt(&input, check);
        vary::each(&input, VARIATIONS, |variation| attempt(variation, check));
    }
}

/// The kept inputs, in the order of their names.
fn inputs(corpus: &Path) -> Vec<Vec<u8>> {
    let folder =
        fs::read_dir(corpus).unwrap_or_else(|error| panic!("a target needs a corpus: {}: {error}", corpus.display()));
    let mut paths: Vec<_> = folder.map(|entry| entry.expect("reading the corpus").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "the corpus is empty: {}", corpus.display());
    paths.iter().map(|path| fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).collect()
}

fn attempt(input: &[u8], check: fn(&[u8])) {
    let said = Said(input);
    check(input);
    drop(said);
}

/// Says which input it was when the check panics; put into a file of the corpus it stays tried.
struct Said<'a>(&'a [u8]);

impl Drop for Said<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with these bytes (keep them: printf '...' > corpus/NAME/what-was-wrong):");
            eprintln!("{}", self.0.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>());
        }
    }
}
