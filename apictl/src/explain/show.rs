//! An explanation for people, and for programs.

use serde_json::{Value, json};

use super::{Explained, Step};
use crate::{text, ui::Ui};

/// Wide enough for the names of all roles.
const NAMES: usize = 15;

/// Lines for a terminal.
pub(crate) fn text(explained: &Explained<'_>, ui: &Ui) -> String {
    let red = owo_colors::Style::new().red();
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    match explained.problems.first() {
        None => line(format!("{}: nothing says that it is not as wanted", text::plain(&explained.subject))),
        Some(first) => {
            let first = text::plain(first).into_owned();
            line(format!("{}: {}", text::plain(&explained.subject), ui.paint(&first, red)));
        }
    }
    for step in &explained.steps {
        let mut says = step.says.iter().map(|said| text::plain(said));
        let head = format!("  {:NAMES$}{}", step.role.name(), text::plain(&step.what));
        match says.next() {
            None => line(head),
            Some(first) => line(format!("{head}: {}", paint(ui, step, &first, red))),
        }
        for said in says {
            line(format!("  {:NAMES$}  {}", "", paint(ui, step, &said, red)));
        }
    }
    out
}

fn paint(ui: &Ui, step: &Step<'_>, text: &str, red: owo_colors::Style) -> String {
    if step.bad { ui.paint(text, red).to_string() } else { text.to_owned() }
}

/// The same as a value.
pub(crate) fn document(node: Option<&str>, explained: &Explained<'_>) -> Value {
    let steps: Vec<Value> = explained.steps.iter().map(step).collect();
    let mut document = json!({ "subject": explained.subject, "problems": explained.problems, "chain": steps });
    if let Some(node) = node {
        document["node"] = node.into();
    }
    document
}

fn step(step: &Step<'_>) -> Value {
    let mut value = json!({ "role": step.role.name(), "what": step.what, "says": step.says, "bad": step.bad });
    if let Some(resource) = step.resource {
        value["resource"] = json!({
            "type": resource.kind, "id": resource.id, "owner": resource.owner, "value": resource.value,
        });
    }
    value
}
