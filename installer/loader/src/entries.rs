//! The boot entries on the ESP.

use boot::{
    decide::ENTRIES_MAX,
    entry::{Entry, FOLDER, LEN_MAX, NUMBER_MAX, Which},
};

use crate::esp::Esp;

/// The entries that were found.
pub(crate) struct Entries {
    found: [Entry; ENTRIES_MAX],
    len: usize,
}

impl Entries {
    pub(crate) const fn new() -> Self {
        let none = Entry { which: Which::Generation(NUMBER_MAX), digest: boot::Digest([0; 32]) };
        Self { found: [none; ENTRIES_MAX], len: 0 }
    }

    /// All that can be read and parsed; where there are too many, recovery and the lowest numbers.
    pub(crate) fn of(esp: &Esp) -> Self {
        let mut entries = Self::new();
        let Some(mut folder) = esp.file(FOLDER) else { return entries };
        folder.each_name(|name| {
            if Which::of_file(name).is_some() {
                entries.put(read(esp, name));
            }
        });
        entries
    }

    pub(crate) fn as_slice(&self) -> &[Entry] {
        &self.found[..self.len]
    }

    fn put(&mut self, entry: Option<Entry>) {
        let Some(entry) = entry else { return };
        if let Some(free) = self.found.get_mut(self.len) {
            *free = entry;
            self.len += 1;
            return;
        }
        // Generations sort before recovery; it is wanted more than the highest of them.
        let rank = |entry: &Entry| if entry.which == Which::Recovery { None } else { Some(entry.which) };
        if let Some(last) = self.found.iter_mut().max_by_key(|entry| rank(entry))
            && rank(&entry) < rank(last)
        {
            *last = entry;
        }
    }
}

/// One byte more than the longest entry is enough to see that it is too long.
fn read(esp: &Esp, name: &str) -> Option<Entry> {
    let mut bytes = [0; LEN_MAX + 1];
    let len = esp.file_in(FOLDER, name)?.read(&mut bytes)?;
    Entry::parse(name, &bytes[..len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_and_the_lowest_are_kept() {
        let entry = |which| Some(Entry { which, digest: boot::Digest([1; 32]) });
        let mut entries = Entries::new();
        for number in (1..40).rev() {
            entries.put(entry(Which::Generation(number)));
            entries.put(None);
        }
        entries.put(entry(Which::Recovery));
        let mut kept: Vec<_> = entries.as_slice().iter().map(|entry| entry.which).collect();
        kept.sort();
        let mut wanted: Vec<_> = (1..16).map(Which::Generation).collect();
        wanted.push(Which::Recovery);
        assert_eq!(kept, wanted);
    }
}
