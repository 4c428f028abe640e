//! Changes as they are shown: what happens to which document, and what that takes.

use std::io::{Write, stdout};

use api::v1::{ApplyMode, ApplyResponse, Change, Effect, Revision, change::Action};
use serde_json::{Value, json};
use similar::TextDiff;

use super::Outcome;
use crate::{cli::Format, exit::Result, node::App, objects, table::Table, text};

/// The formats that commands which change something know.
pub(super) fn format(app: &App) -> Result<Format> {
    crate::commands::format(app, &[Format::Table, Format::Wide, Format::Json, Format::Yaml])
}

/// Prints what came of a change on every node.
pub(super) fn outcomes(all: &[(&str, Outcome)], several: bool, format: Format) -> Result {
    let mut out = stdout().lock();
    if matches!(format, Format::Json | Format::Yaml) {
        let values: Vec<Value> = all.iter().map(|(node, outcome)| document(node, outcome)).collect();
        let alone = values.first().filter(|_| !several);
        return match (format, alone) {
            (Format::Json, Some(one)) => objects::json(&mut out, one),
            (Format::Json, None) => objects::json(&mut out, &values),
            (_, Some(one)) => objects::yaml(&mut out, one),
            (_, None) => objects::yaml(&mut out, &values),
        };
    }
    let headers = ["NODE", "DOCUMENT", "CHANGE", "TAKES", "FIELDS"];
    let mut table = Table::new(headers.into_iter().skip(usize::from(!several)));
    for (node, outcome) in all {
        for one in &outcome.answer.changes {
            let cells = [one.document.clone(), action(one).into(), takes(one), one.fields.join(", ")];
            table.row(several.then(|| (*node).to_owned()).into_iter().chain(cells));
        }
        if outcome.answer.changes.is_empty() {
            let name = if several { format!("{node}: ") } else { String::new() };
            writeln!(out, "{name}no document changes")?;
        }
    }
    if !table.is_empty() {
        table.print(&mut out)?;
    }
    for (node, outcome) in all.iter().filter(|(_, outcome)| !outcome.diff.is_empty()) {
        let name = if several { format!("{node}:\n") } else { String::new() };
        write!(out, "\n{name}{}", text::lines(&outcome.diff))?;
    }
    Ok(())
}

/// The lines that differ, as `diff -u` shows them; "" when none does.
pub(crate) fn diff(before: &str, after: &str, names: (&str, &str)) -> String {
    if before == after {
        return String::new();
    }
    TextDiff::from_lines(before, after).unified_diff().header(names.0, names.1).to_string()
}

fn document(node: &str, outcome: &Outcome) -> Value {
    let ApplyResponse { revision, changes, effect, mode, .. } = &outcome.answer;
    json!({
        "node": node, "revision": revision, "dryRun": outcome.dry_run, "mode": mode_name(*mode),
        "effect": effect_name(*effect), "state": outcome.state,
        "changes": changes.iter().map(change).collect::<Vec<_>>(), "diff": outcome.diff,
    })
}

fn change(change: &Change) -> Value {
    json!({
        "document": change.document, "action": action(change), "effect": effect_name(change.effect),
        "restarts": change.restarts, "fields": change.fields,
    })
}

/// A revision as JSON.
pub(crate) fn revision(revision: &Revision) -> Value {
    json!({
        "revision": revision.id, "digest": revision.digest, "created": api::facts::moment(revision.created_unix),
        "author": revision.author, "message": revision.message, "current": revision.current,
        "blessed": revision.blessed, "staged": revision.staged, "trial": revision.trial,
        "unreadable": revision.unreadable, "secrets": revision.secrets,
    })
}

fn action(change: &Change) -> &'static str {
    match change.action() {
        Action::Unspecified => "unknown",
        Action::Added => "added",
        Action::Removed => "removed",
        Action::Changed => "changed",
    }
}

fn takes(change: &Change) -> String {
    match change.effect() {
        Effect::Restarts => format!("restarts {}", change.restarts.join(", ")),
        _ => effect_name(change.effect).into(),
    }
}

fn effect_name(effect: i32) -> &'static str {
    match Effect::try_from(effect).unwrap_or_default() {
        Effect::Unspecified => "unknown",
        Effect::Nothing => "nothing",
        Effect::Live => "live",
        Effect::Restarts => "restarts",
        Effect::Reboot => "reboot",
    }
}

fn mode_name(mode: i32) -> &'static str {
    match ApplyMode::try_from(mode).unwrap_or_default() {
        ApplyMode::Unspecified => "unknown",
        ApplyMode::Auto => "auto",
        ApplyMode::Staged => "staged",
        ApplyMode::Reboot => "reboot",
        ApplyMode::Trial => "trial",
    }
}
