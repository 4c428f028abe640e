//! Text from a node, made safe for a terminal.
//!
//! Invariant: what `plain` and `bytes` return has no control character but tabs, so a hostile node cannot move the
//! cursor, set titles, or write answers to the terminal's queries. Called wherever a node's text is printed.

use std::{borrow::Cow, fmt::Write};

/// Control characters, and those that reorder what is shown or break lines in Unicode's way.
fn is_dangerous(char: char) -> bool {
    match char {
        '\t' => false,
        '\u{2028}' | '\u{2029}' | '\u{feff}' => true,
        _ => char.is_control() || is_reordering(char),
    }
}

/// Unicode's controls of the writing direction.
fn is_reordering(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line: every dangerous character is written as an escape.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    escape(text, is_dangerous)
}

/// Several lines: as `plain`, with newlines kept.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |char| char != '\n' && is_dangerous(char))
}

/// JSON text that already has its own escapes: the rest in the form JSON knows.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    if !text.contains(|char| char != '\n' && is_dangerous(char)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        if char != '\n' && is_dangerous(char) {
            let _ = write!(out, "\\u{:04x}", u32::from(char));
        } else {
            out.push(char);
        }
    }
    Cow::Owned(out)
}

/// Stands before a reordering character while YAML is made. A writer of YAML has to escape a noncharacter, which it can
/// only in double quotes; it escapes all the dangerous ones but these.
const MARK: char = '\u{ffff}';

/// JSON text to make YAML of, for [`yaml`]: with marks in its strings.
pub(crate) fn marked(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 16);
    for char in json.chars() {
        if is_reordering(char) {
            out.push(MARK);
        }
        out.push(char);
    }
    out
}

/// YAML made of what [`marked`] gave: each mark with its character becomes the character's escape.
pub(crate) fn yaml(text: &str) -> String {
    let mut parts = text.split("\\uFFFF");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let mut rest = part.chars();
        match rest.next() {
            Some(char) if is_reordering(char) => {
                let _ = write!(out, "\\u{:04X}", u32::from(char));
                out.push_str(rest.as_str());
            }
            // the node's own noncharacter, or the words "\\uFFFF"
            _ => out.extend(["\\uFFFF", part]),
        }
    }
    out
}

/// A log line: as `plain`; bytes that are not UTF-8 as `\xNN`.
pub(crate) fn bytes(line: &[u8]) -> String {
    let mut out = String::with_capacity(line.len());
    for chunk in line.utf8_chunks() {
        out.push_str(&plain(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

fn escape(text: &str, dangerous: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        match u32::from(char) {
            _ if !dangerous(char) => out.push(char),
            0x0a => out.push_str("\\n"),
            0x0d => out.push_str("\\r"),
            code @ ..=0xff => drop(write!(out, "\\x{code:02x}")),
            code => drop(write!(out, "\\u{{{code:x}}}")),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_get_through() {
        assert_eq!(plain("eth0\tup"), "eth0\tup");
        assert_eq!(plain("a\x1b]0;title\x07b\r\n"), "a\\x1b]0;title\\x07b\\r\\n");
        assert_eq!(plain("\u{9b}31m\u{202e}x\u{7f}\u{61c}"), "\\x9b31m\\u{202e}x\\x7f\\u{61c}");
        assert_eq!(bytes(b"ok \xff\x1b[2J \xc3\xa9"), "ok \\xff\\x1b[2J é");
        assert_eq!(lines("a: 1\nb: \u{85}"), "a: 1\nb: \\x85");
    }

    #[test]
    fn json_stays_json() {
        let text = serde_json::to_string_pretty(&serde_json::json!({"a": "x\u{9b}y\u{7f}\u{1b}\n"})).unwrap();
        let safe = json(&text);
        assert!(!safe.contains(|char: char| char != '\n' && char.is_control()), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap()["a"], "x\u{9b}y\u{7f}\u{1b}\n");
    }

    fuzz::targets! {
        node_text: |bytes| {
            let safe = super::bytes(bytes);
            assert!(!safe.contains(is_dangerous), "{safe:?}");
            let text = String::from_utf8_lossy(bytes);
            let document = json(&serde_json::to_string(&text).unwrap()).into_owned();
            assert!(!document.contains(is_dangerous), "{document:?}");
            assert_eq!(serde_json::from_str::<String>(&document).unwrap(), text);
        },
    }
}
