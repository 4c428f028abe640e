//! Lines that show where a build is: `[3/9] rootfs.erofs   8.1 MiB   1.2 s`.

use std::time::Instant;

/// Counts the steps of one command; lines go to standard error.
pub struct Progress {
    total: usize,
    done: usize,
    last: Instant,
    start: Instant,
}

impl Progress {
    /// For a command of `total` steps.
    #[must_use]
    pub fn new(total: usize) -> Self {
        let now = Instant::now();
        Self { total, done: 0, last: now, start: now }
    }

    /// A step is done: what came out of it, and how long it took.
    pub fn step(&mut self, what: &str, result: &str) {
        self.done += 1;
        let took = self.last.elapsed().as_secs_f32();
        self.last = Instant::now();
        eprintln!("[{}/{}] {what:<27} {result:<40} {took:>6.1} s", self.done, self.total);
    }

    /// The whole is done.
    pub fn end(&self, what: &str) {
        eprintln!("{what} in {:.1} s", self.start.elapsed().as_secs_f32());
    }
}

/// `8.1 MiB`, `12 KiB`, `90 bytes`.
#[must_use]
pub fn size(bytes: usize) -> String {
    let tenths = |unit: usize| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", tenths(1024)),
        _ => format!("{} MiB", tenths(1_048_576)),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes() {
        let shown = [90, 1536, 8_493_466].map(super::size);
        assert_eq!(shown, ["90 bytes", "1.5 KiB", "8.1 MiB"]);
    }
}
