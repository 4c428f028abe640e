//! The page on a screen: drawn in place, cut to its size, ASCII only (a text console's font has little else).

use super::view::{View, duration, plain};

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Letters in a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
}

impl Size {
    /// The text mode every PC starts in; also for screens that do not say.
    pub const DEFAULT: Self = Self { columns: 80, rows: 25 };
}

/// The page's rows: at most as many and as long as fit.
pub fn page(view: &View, size: Size) -> Vec<String> {
    let mut rows = Vec::new();
    let title = format!("Stele {}", view.version);
    let gap = size.columns.saturating_sub(title.len() + view.phase.len()).max(1);
    rows.push(format!("{title}{}{}", " ".repeat(gap), view.phase));
    rows.push("-".repeat(size.columns));
    rows.push(format!("Machine      {} ({})", view.hostname, view.machine_id));
    if !view.runs.is_empty() {
        rows.push(format!("Runs         {}", view.told()));
    }
    if !view.clock.is_empty() {
        rows.push(format!("Started      {}", view.clock));
    }
    rows.push(format!("Fingerprint  {}", some(&view.fingerprint, "none yet")));
    if view.addresses.is_empty() {
        rows.push("Addresses    none yet".into());
    }
    for (at, (link, address)) in view.addresses.iter().enumerate() {
        rows.push(format!("{}{link} {address}", if at == 0 { "Addresses    " } else { "             " }));
    }
    if !view.cause.is_empty() {
        section(&mut rows, "Stopping", [format!("{} ({})", view.cause, view.step)]);
    }
    let gates = view.gates.iter().map(|(name, asks, why)| format!("{name}: {asks}: {why}"));
    section(&mut rows, "The trial waits for", gates);
    let failed = view.failed.iter().map(|(number, why)| format!("generation {number}: {why}"));
    section(&mut rows, "Came back from", failed);
    let waits = view
        .waits
        .iter()
        .map(|wait| format!("{} ({})", wait.text, duration(view.now_ms.saturating_sub(wait.since_ms))));
    section(&mut rows, "Waiting for", waits);
    section(&mut rows, "Not yet", view.unmet.iter().cloned());
    let sources = view.sources.iter().map(|(source, text)| format!("{source}: {text}"));
    section(&mut rows, "Configuration", sources);
    section(&mut rows, "Last error", view.error.iter().map(|(_, text)| text.clone()));
    section(&mut rows, "From another machine", view.hint("FINGERPRINT"));
    rows.iter().flat_map(|row| wrap(&plain(row), size.columns)).take(size.rows).collect()
}

fn some<'a>(text: &'a str, none: &'a str) -> &'a str {
    if text.is_empty() { none } else { text }
}

fn section(rows: &mut Vec<String>, title: &str, lines: impl IntoIterator<Item = String>) {
    let mut lines = lines.into_iter().peekable();
    if lines.peek().is_some() {
        rows.push(String::new());
        rows.push(title.to_owned());
        rows.extend(lines.map(|line| format!("  {line}")));
    }
}

/// Nothing is hidden behind the edge: a fingerprint that is cut is worth nothing.
fn wrap(row: &str, columns: usize) -> Vec<String> {
    let letters: Vec<char> = row.chars().collect();
    if letters.is_empty() {
        return vec![String::new()];
    }
    letters.chunks(columns.max(1)).map(|part| part.iter().collect()).collect()
}

/// The bytes that draw it: hide the cursor, go home, each row on a cleared line, the last with all that is below.
pub fn draw(rows: &[String]) -> Vec<u8> {
    let mut bytes = b"\x1b[?25l\x1b[H".to_vec();
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            bytes.extend_from_slice(b"\r\n");
        }
        // Before the text: at the end of a full row the cursor still stands on the last letter, and would erase it.
        bytes.extend_from_slice(if at + 1 == rows.len() { b"\x1b[J" } else { b"\x1b[K" });
        bytes.extend_from_slice(row.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::console::view::Waiting;

    fn view() -> View {
        View {
            version: "0.1.0".into(),
            machine_id: "0123456789abcdef0123456789abcdef".into(),
            hostname: "stele-012345".into(),
            phase: "booting".into(),
            unmet: vec!["the API does not answer: the gateway has not asked for its keys yet".into()],
            waits: vec![Waiting {
                text: "an IPv4 address for eth0: no DHCP answer on eth0 yet".into(),
                since_ms: 2000,
            }],
            addresses: vec![("eth0".into(), "10.0.2.15/24".into()), ("eth0".into(), "fe80::1/64".into())],
            clock: "2026-11-21 15:04 UTC".into(),
            sources: vec![("nocloud".into(), "nothing: no volume is labelled cidata".into())],
            fingerprint: "ab".repeat(32),
            error: Some(("0000000007".into(), "network: \x1b[2Jevil".into())),
            now_ms: 14_500,
            ..View::default()
        }
    }

    #[test]
    fn says_what_a_person_needs() {
        let page = page(&view(), Size::DEFAULT);
        let expected = "\
Stele 0.1.0                                                              booting
--------------------------------------------------------------------------------
Machine      stele-012345 (0123456789abcdef0123456789abcdef)
Started      2026-11-21 15:04 UTC
Fingerprint  abababababababababababababababababababababababababababababababab
Addresses    eth0 10.0.2.15/24
             eth0 fe80::1/64

Waiting for
  an IPv4 address for eth0: no DHCP answer on eth0 yet (12 s)

Not yet
  the API does not answer: the gateway has not asked for its keys yet

Configuration
  nocloud: nothing: no volume is labelled cidata

Last error
  network: ?[2Jevil

From another machine
  apictl -e '10.0.2.15:50000' --fingerprint FINGERPRINT version";
        assert_eq!(page.join("\n"), expected);
    }

    #[test]
    fn fits_any_screen() {
        for (columns, rows) in [(0, 0), (1, 1), (20, 5), (40, 3), (300, 100)] {
            let page = page(&view(), Size { columns, rows });
            assert!(page.len() <= rows && page.iter().all(|row| row.len() <= columns.max(1)));
        }
    }

    #[test]
    fn is_drawn_in_place() {
        assert_eq!(draw(&["a".into(), "b".into()]), b"\x1b[?25l\x1b[H\x1b[Ka\r\n\x1b[Jb");
    }
}
