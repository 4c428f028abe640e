//! What a reader of a log gets and where it may start. Plain data.

/// Where a reader starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest line that is kept.
    Oldest,
    /// With the last so many lines.
    Tail(u32),
    /// After the line this cursor came with ([`Chunk::cursor`]). One of another boot means the oldest line.
    Cursor(String),
}

/// Some lines in order: at most 512 lines and about 64 KiB, so that it always fits a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// The lines.
    pub lines: Vec<Line>,
    /// Continues after the last of them.
    pub cursor: String,
    /// What was lost before the first of them: bytes; of the kernel's log: records.
    pub dropped: u64,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Without the newline; not necessarily UTF-8.
    pub text: Vec<u8>,
    /// When it was read from the service, or when the kernel logged it.
    pub time_unix_ns: u64,
    /// Syslog severity 0..=7; 6 (information) for services.
    pub priority: u8,
    /// The rest follows in the next line: longer than the limit, or not yet ended.
    pub partial: bool,
}
