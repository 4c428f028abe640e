//! Cheap variations of an input, the same in every run: the beginnings of it, and copies with a few changes.

/// Numbers at which lengths and counts go wrong.
const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, b'-', b':', b'\n'];

/// Gives `count` variations to `take`.
pub(crate) fn each(input: &[u8], count: usize, mut take: impl FnMut(&[u8])) {
    // Every beginning of a short input; of a long one some, spread evenly.
    let step = (input.len() * 2).div_ceil(count).max(1);
    for length in (0..input.len()).step_by(step) {
        take(&input[..length]);
    }
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..count / 2 {
        let mut copy = input.to_vec();
        for _ in 0..=dice.below(3) {
            change(&mut copy, &mut dice);
        }
        take(&copy);
    }
}

fn change(bytes: &mut Vec<u8>, dice: &mut Dice) {
    if bytes.is_empty() {
        return bytes.push(EDGES[dice.below(EDGES.len())]);
    }
    let at = dice.below(bytes.len());
    match dice.below(4) {
        0 => bytes[at] ^= 1 << dice.below(8),
        1 => bytes[at] = EDGES[dice.below(EDGES.len())],
        2 => drop(bytes.drain(at..bytes.len().min(at + 1 + dice.below(8)))),
        _ => {
            let piece = bytes[at..bytes.len().min(at + 1 + dice.below(16))].to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

/// xorshift64: no clock and no entropy, so that a failure repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variations_repeat_and_differ() {
        let gather = || {
            let mut all = Vec::new();
            each(b"name: value\n", 64, |bytes| all.push(bytes.to_vec()));
            all
        };
        let mut all = gather();
        assert_eq!(all, gather());
        assert!(all.contains(&b"name".to_vec()));
        all.sort();
        all.dedup();
        assert!(all.len() > 32, "{}", all.len());
        each(b"", 8, |_| {});
    }
}
