//! Private keys in what goes into the archive: blanked out.
//!
//! Invariant: nothing between the markers of a key stays, also when one of the two was cut off; what is after a key stays. Lines
//! are those of a text, and those of a text inside of JSON.

use jiff::Timestamp;

const BLANK: &str = "(a private key was here)";
/// The end of both markers.
const MARK: &str = "PRIVATE KEY-----";
/// A line of a key has 64 or 76 characters; a word that is as long is one also behind a logger's own words.
const LONG: usize = 40;
/// The lines of an encrypted key that come before the others, with a blank line after them.
const HEADERS: [&str; 2] = ["Proc-Type:", "DEK-Info:"];

/// Nothing of ours shows a key. What an operator wrote into a document by mistake, or a service into its log, is blanked.
pub(super) fn without_keys(text: &str) -> String {
    if !text.contains(MARK) {
        return text.to_owned();
    }
    let mut out: Vec<(&str, String)> = Vec::new();
    let (mut inside, mut headers) = (false, false);
    for (separator, line) in lines(text) {
        let mut rest = line;
        if inside {
            if let Some((_, _, end)) = marker(rest).filter(|(_, begins, _)| !begins) {
                inside = false;
                rest = &rest[end..];
                if let Some((_, kept)) = out.last_mut() {
                    blank(kept, rest, &mut inside);
                }
                continue;
            }
            let header = HEADERS.iter().any(|header| bare(rest).starts_with(header));
            let after = std::mem::replace(&mut headers, header);
            if header || (after && bare(rest).is_empty()) {
                continue;
            }
            if let Some(quote) = rest.find('"').filter(|quote| key(&rest[..*quote]) == Some(0)) {
                rest = &rest[quote..];
            }
            match key(rest) {
                Some(0) => continue,
                Some(at) => rest = &rest[..at],
                None => inside = false,
            }
        }
        if let Some((at, false, end)) = marker(rest) {
            let before = &rest[..at];
            let kept = match key(before) {
                _ if bare(before).is_empty() => "",
                Some(at) => &before[..at],
                None => before,
            };
            // All of the line is the key's: the lines before it are as well.
            if kept.is_empty() {
                before_end(&mut out);
            }
            let separator = if out.is_empty() { "" } else { separator };
            let mut kept = format!("{kept}{BLANK}");
            blank(&mut kept, &rest[end..], &mut inside);
            out.push((separator, kept));
            continue;
        }
        let mut kept = String::new();
        blank(&mut kept, rest, &mut inside);
        out.push((separator, kept));
    }
    out.into_iter().flat_map(|(separator, line)| [separator.to_owned(), line]).collect()
}

/// Adds a line without the keys that begin in it; whether the last goes on after it.
fn blank(kept: &mut String, mut rest: &str, inside: &mut bool) {
    while let Some((at, begins, end)) = marker(rest) {
        kept.push_str(&rest[..at]);
        kept.push_str(BLANK);
        rest = &rest[end..];
        if !begins {
            continue;
        }
        rest = match (marker(rest), rest.find('"')) {
            (Some((_, false, end)), _) => &rest[end..],
            // No key has a quote: the string that it stands in ends, and the key was cut.
            (_, Some(quote)) => &rest[quote..],
            _ => {
                *inside = true;
                ""
            }
        };
    }
    kept.push_str(rest);
}

/// Takes away the lines of a key whose beginning was cut off.
fn before_end(out: &mut Vec<(&str, String)>) {
    let mut from = out.len();
    while let Some((_, line)) = from.checked_sub(1).and_then(|last| out.get_mut(last)) {
        let Some(at) = key(line) else { break };
        line.truncate(at);
        from -= 1;
        if line.ends_with('"') {
            break;
        }
    }
    let cut = out.split_off(from);
    out.extend(cut.into_iter().filter(|(_, line)| !line.is_empty()));
}

/// The first marker: from where, whether one of a beginning, up to where. One that was cut counts as a beginning.
fn marker(line: &str) -> Option<(usize, bool, usize)> {
    let at = line.find(MARK)?;
    let label = |from: &usize| line[*from..at].chars().all(|c| c == '-' || c == ' ' || c.is_ascii_alphanumeric());
    let begin = line[..at].rfind("-----BEGIN").filter(label);
    let end = line[..at].rfind("-----END").filter(label);
    Some((begin.max(end).unwrap_or(at), end <= begin, at + MARK.len()))
}

/// Where in a line base64 begins that ends with it; 0: nothing else is in it.
fn key(line: &str) -> Option<usize> {
    let bytes = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let text = trimmed(line);
    let at = text.trim_end_matches(bytes).len();
    let length = text.len() - at;
    if length == 0 {
        return None;
    }
    if bare(line).len() == length {
        return Some(0);
    }
    (length >= LONG || text[..at].ends_with('"')).then_some(at)
}

/// Without the space around it and the time that the archive puts before each line of a log.
fn bare(line: &str) -> &str {
    let text = trimmed(line).trim_start();
    match text.split_once(' ').unwrap_or((text, "")) {
        (time, rest) if time.parse::<Timestamp>().is_ok() => rest.trim_start(),
        _ => text,
    }
}

fn trimmed(line: &str) -> &str {
    let text = line.trim_end();
    text.strip_suffix("\\r").unwrap_or(text).trim_end_matches('\\')
}

/// Each line after what separates it from the one before: a line's end, or one as JSON writes it.
fn lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(("", text));
    std::iter::from_fn(move || {
        let (separator, all) = rest.take()?;
        let found = ["\n", "\\n"].into_iter().filter_map(|end| Some((all.find(end)?, end))).min();
        let Some((at, end)) = found else { return Some((separator, all)) };
        rest = Some((end, &all[at + end.len()..]));
        Some((separator, &all[..at]))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BODY: &str = "MHcCAQEEIGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMzQ1Njc4OTAxMjM0";
    const TIME: &str = "2026-01-02T03:04:05.678Z";

    #[test]
    fn keys_are_blanked_in_text_and_in_json() {
        let key = "-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----";
        let end = "-----END PRIVATE KEY-----";
        let encrypted = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nc2Vj\n-----END RSA PRIVATE KEY-----";
        let log = format!("{TIME} {}", key.replace('\n', &format!("\n{TIME} ")));
        for (text, wanted) in [
            (format!("a\n{key}\nb"), format!("a\n{BLANK}\nb")),
            (format!("a:\n  {}\nb: c\n", key.replace('\n', "\n  ")), format!("a:\n  {BLANK}\nb: c\n")),
            (json!({ "x": key, "y": 1 }).to_string(), format!(r#"{{"x":"{BLANK}","y":1}}"#)),
            (format!("{key} and {key}"), format!("{BLANK} and {BLANK}")),
            (format!("{log}\nb c"), format!("{TIME} {BLANK}\nb c")),
            (format!("{encrypted}\nb c"), format!("{BLANK}\nb c")),
            (key.replace('\n', " "), BLANK.into()),
            ("-----BEGIN CERTIFICATE-----\nx".into(), "-----BEGIN CERTIFICATE-----\nx".into()),
            // The end was cut off.
            ("cut: -----BEGIN PRIVATE KEY-----c2Vj\nnext line".into(), format!("cut: {BLANK}\nnext line")),
            (format!("-----BEGIN PRIVATE KEY-----\n{BODY}\nc2Vj\n\nb c\n{key}"), format!("{BLANK}\n\nb c\n{BLANK}")),
            (
                json!({ "x": "-----BEGIN PRIVATE KEY-----c2", "y": 1 }).to_string(),
                format!(r#"{{"x":"{BLANK}","y":1}}"#),
            ),
            (
                json!({ "x": "-----BEGIN PRIVATE KEY-----\nc2\nc2", "y": 1 }).to_string(),
                format!(r#"{{"x":"{BLANK}\n","y":1}}"#),
            ),
            // The beginning was.
            (format!("c2Vj\n{BODY}\n{end}\na b\nc d\n{key}\ne"), format!("{BLANK}\na b\nc d\n{BLANK}\ne")),
            (format!("a b\n{BODY}\nc2Vj\n{end}"), format!("a b\n{BLANK}")),
            (format!("{TIME} a b\n{TIME} c2Vj\n{TIME} {end}\n"), format!("{TIME} a b\n{BLANK}\n")),
            (format!("a b\nlog: {BODY}\nlog: {BODY}\n{end}"), format!("a b\nlog: \nlog: \n{BLANK}")),
            (format!("a b\n{BODY}{end}"), format!("a b\n{BLANK}")),
            (json!({ "x": format!("c2Vj\nc2Vj\n{end}"), "y": 1 }).to_string(), format!(r#"{{"x":"\n{BLANK}","y":1}}"#)),
        ] {
            assert_eq!(without_keys(&text), wanted, "{text}");
        }
    }

    #[test]
    fn no_cut_of_a_log_shows_a_key() {
        let key = format!("-----BEGIN PRIVATE KEY-----\n{BODY}\n{BODY}\nc2VjcmV0\n-----END PRIVATE KEY-----");
        let text = format!("one line\n{key}\nanother one");
        let lines: Vec<_> = text.lines().collect();
        for (from, to) in (0..lines.len()).flat_map(|from| (from + 1..=lines.len()).map(move |to| (from, to))) {
            let cut = lines[from..to].join("\n");
            let shown = without_keys(&cut);
            // Without either marker it is not known to be a key.
            if cut.contains(MARK) {
                assert!(!shown.contains(BODY) && !shown.contains("c2VjcmV0"), "{shown}");
            }
            assert_eq!(shown.contains("another"), cut.contains("another"), "{shown}");
            assert_eq!(shown.contains("one line"), cut.contains("one line"), "{shown}");
        }
    }

    #[test]
    fn lines_are_the_text() {
        for text in ["", "\n", "a\n\\n\\\nb", "\\n\\", "a\\nb\n\n"] {
            assert_eq!(lines(text).flat_map(|(end, line)| [end, line]).collect::<String>(), text);
        }
    }
}
