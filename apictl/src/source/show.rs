//! Problems with the lines they are about, as compilers show them.
//!
//! Invariant: a line that may be a secret is not shown.

use config::{Problem, Problems};

use super::{File, chunks};
use crate::exit::{Code, Failure};

/// Longer lines are cut.
const WIDEST: usize = 140;

/// One failure that holds them all.
pub(super) fn failures(files: &[File], problems: &Problems) -> Failure {
    let count = problems.0.len();
    let mut all: Vec<_> =
        problems.0.iter().map(|problem| Failure::new(Code::Usage, told(files, problem), "")).collect();
    if let Some(last) = all.last_mut() {
        let word = if count == 1 { "problem" } else { "problems" };
        last.remedy = format!("{count} {word}: nothing was changed");
    }
    Failure::all(all).err().unwrap_or_else(|| Failure::usage("the documents are wrong", ""))
}

/// What is wrong, where, and the line.
fn told(files: &[File], problem: &Problem) -> String {
    let path = if problem.path.is_empty() { String::new() } else { format!("{}: ", problem.path) };
    let head = format!("{path}{}", problem.message);
    if problem.line == 0 {
        return if problem.file.is_empty() { head } else { format!("{head}\n --> {}", problem.file) };
    }
    let number = problem.line.to_string();
    let margin = " ".repeat(number.len());
    let name = if problem.file.is_empty() { "<documents>" } else { &problem.file };
    let place = format!("{margin}--> {name}:{}:{}", problem.line, problem.column.max(1));
    let Some(line) = line(files, problem) else { return format!("{head}\n{place}") };
    let caret = usize::try_from(problem.column.saturating_sub(1)).unwrap_or(0);
    if line.chars().count() > WIDEST {
        let cut: String = line.chars().take(WIDEST).collect();
        return format!("{head}\n{place}\n{margin} |\n{number} | {cut} ...");
    }
    // Tabs stay tabs, so that the mark is under its character.
    let indent: String = line.chars().take(caret).map(|char| if char == '\t' { '\t' } else { ' ' }).collect();
    format!("{head}\n{place}\n{margin} |\n{number} | {line}\n{margin} | {indent}^")
}

fn line<'a>(files: &'a [File], problem: &Problem) -> Option<&'a str> {
    let file = files.iter().find(|file| file.name == problem.file)?;
    let chunk = chunks(&file.text).find(|chunk| chunk.lines.iter().any(|(number, _)| *number == problem.line))?;
    if chunk.is_secret() {
        return None;
    }
    let (_, line) = chunk.lines.into_iter().find(|(number, _)| *number == problem.line)?;
    let line = line.trim_end();
    let opaque = |word: &str| word.len() >= 40 && !word.contains(['.', ':', '-']);
    (!line.contains("PRIVATE KEY") && !line.split_whitespace().any(opaque)).then_some(line)
}
