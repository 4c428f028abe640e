//! `SHA256SUMS`: one line for each result, as `sha256sum -c` reads it. Lines of other files that are still there stay, so
//! both kernels' images can share a folder.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use crate::cache;

/// Writes the sums of these files of a folder.
///
/// # Errors
/// When a file cannot be read or the list not written.
pub fn update(folder: &Path, names: &[String]) -> io::Result<()> {
    let list = folder.join("SHA256SUMS");
    let old = std::fs::read_to_string(&list).unwrap_or_default();
    let mut sums: BTreeMap<String, String> = old
        .lines()
        .filter_map(|line| line.split_once("  "))
        .filter(|(_, name)| folder.join(name).exists())
        .map(|(sum, name)| (name.to_owned(), sum.to_owned()))
        .collect();
    for name in names {
        sums.insert(name.clone(), sum(&folder.join(name))?);
    }
    let text: String = sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect();
    cache::save(&list, text.as_bytes())
}

/// Whether the list says that this file of the folder has this sum, and all of `names` are there: the results of an earlier
/// build from the same input.
#[must_use]
pub fn says(folder: &Path, file: &str, sum: &str, names: &[String]) -> bool {
    let list = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap_or_default();
    let has = |sum: &str, name: &str| list.lines().any(|line| line.split_once("  ") == Some((sum, name)));
    // a disk that somebody booted has changed since
    let changed = |name: &str| std::fs::metadata(folder.join(name)).and_then(|stat| stat.modified());
    let listed = changed("SHA256SUMS").ok();
    let is_listed =
        |name: &String| list.contains(&format!("  {name}\n")) && changed(name).is_ok_and(|time| Some(time) <= listed);
    has(sum, file) && names.iter().all(is_listed)
}

fn sum(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (std::fs::File::open(path)?, Context::new(&SHA256));
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(cache::hex(hash.finish().as_ref()));
        }
        hash.update(&buffer[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_there_and_drops_what_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a"), "").unwrap();
        std::fs::write(at("b"), "abc").unwrap();
        update(folder.path(), &["a".to_owned()]).unwrap();
        update(folder.path(), &["b".to_owned()]).unwrap();
        let text = std::fs::read_to_string(at("SHA256SUMS")).unwrap();
        assert!(text.starts_with("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  a\nba7816bf"));
        let both = ["a".to_owned(), "b".to_owned()];
        let sum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert!(says(folder.path(), "a", sum, &both));
        assert!(!says(folder.path(), "a", "e3", &both));
        std::fs::remove_file(at("a")).unwrap();
        assert!(!says(folder.path(), "a", sum, &both));
        update(folder.path(), &["b".to_owned()]).unwrap();
        assert!(!std::fs::read_to_string(at("SHA256SUMS")).unwrap().contains("  a"));
    }
}
