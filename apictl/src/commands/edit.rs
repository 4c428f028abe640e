//! `apictl edit`: the current documents in the operator's own editor.
//!
//! ```text
//! read ──▶ editor ──▶ unchanged: the end
//!             ▲          │ changed
//!             └─ wrong ◀─┴─▶ right ──▶ apply, unless somebody else changed it meanwhile
//! ```
//! Invariant: nothing leaves the machine before it was checked, and what was written is never lost: a failure says where
//! the file is.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use config::Problems;

use crate::{
    apply::{self, Change, Options},
    bundle::Bundle,
    exit::{Code, Failure, Result},
    node::App,
    source::{File, Source},
};

/// Change the current documents of a node in your editor ($VISUAL, $EDITOR, or vi)
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl edit -n 10.0.0.1\n  EDITOR='code --wait' apictl edit --mode trial\n\n\
    What is wrong is shown on top of the file, which is opened again. Leaving it as it is changes nothing.")]
pub(crate) struct Args {
    /// The secrets bundle, when the documents come to name a secret that the node does not have
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    #[command(flatten)]
    options: Options,
}

/// Begins the lines that are for the person alone, at the top of the file.
const MARK: &str = "#:";

pub(crate) async fn run(app: &App, args: Args) -> Result {
    let bundle = args.secrets.as_deref().map(Bundle::load).transpose()?;
    let mut targets = app.targets()?;
    let Some(target) = targets.pop().filter(|_| targets.is_empty()) else {
        return Err(Failure::usage("one node at a time is edited", "name it: -n HOST"));
    };
    let reading = async {
        let node = app.connect(&target).await?;
        apply::read(&node.channel).await
    };
    let limit = app.global.timeout.or(Some(crate::node::CALL_TIMEOUT));
    let current = app.ui.slow(&format!("asking {}", target.name), app.within(limit, reading)).await??;
    let revision = apply::id(&current);
    let head = format!("{MARK} {}, revision {revision}. Lines that begin with {MARK} are not sent.\n", target.name);
    let path = keep(&format!("{head}{}", current.documents))?;
    let kept = |mut failure: Failure| {
        failure.remedy.push_str(&format!("\nwhat you wrote is in {}", path.display()));
        failure
    };
    let edited = edit(&path, &head, &current.documents).map_err(kept)?;
    let Some(text) = edited else {
        let _ = fs::remove_file(&path);
        app.ui.note("nothing was changed: nothing was sent");
        return Ok(());
    };
    let source = Source::of(vec![File { name: path.display().to_string(), text }]).map_err(kept)?;
    let change = Change::Documents { source: &source, secrets: bundle.as_ref(), expected: revision };
    apply::run(app, &[(target, change)], &args.options).await.map_err(kept)?;
    let _ = fs::remove_file(&path);
    Ok(())
}

/// Until it is right; none when nothing was changed.
fn edit(path: &Path, head: &str, before: &str) -> Result<Option<String>> {
    let mut last = before.to_owned();
    loop {
        open(path)?;
        let failed = |error| Failure::new(Code::Failed, format!("reading {}: {error}", path.display()), "");
        let text = own(&fs::read_to_string(path).map_err(failed)?);
        if text == before {
            return Ok(None);
        }
        let problems = match config::parse(&text).and_then(|stream| config::complete(&stream.documents)) {
            Ok(()) => return Ok(Some(text)),
            Err(problems) => problems,
        };
        if text == last {
            return Err(Failure::usage(format!("it is still wrong:\n{problems}"), "nothing was sent"));
        }
        write(path, &format!("{}{text}", with_problems(head, &problems)))?;
        last = text;
    }
}

/// Without the lines that are for the person.
fn own(text: &str) -> String {
    text.split_inclusive('\n').skip_while(|line| line.starts_with(MARK)).collect()
}

/// The top of the file: what is wrong, at the lines as they are then.
fn with_problems(head: &str, problems: &Problems) -> String {
    let mut text = head.to_owned();
    let lines: usize = problems.0.iter().map(|problem| problem.message.lines().count().max(1)).sum();
    let above = u64::try_from(head.lines().count() + lines).unwrap_or(0);
    for problem in &problems.0 {
        let mut problem = problem.clone();
        problem.line += if problem.line > 0 { above } else { 0 };
        problem.to_string().lines().for_each(|line| text.push_str(&format!("{MARK} {line}\n")));
    }
    text
}

/// A file of the operator's alone.
fn keep(text: &str) -> Result<PathBuf> {
    let made = tempfile::Builder::new().prefix("apictl-").suffix(".yaml").tempfile().and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        Ok(file.keep()?.1)
    });
    made.map_err(|error| Failure::new(Code::Failed, format!("making a file to edit: {error}"), "set TMPDIR"))
}

fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text)
        .map_err(|error| Failure::new(Code::Failed, format!("writing {}: {error}", path.display()), ""))
}

/// Opens it in the editor, and waits.
fn open(path: &Path) -> Result {
    let named = ["VISUAL", "EDITOR"].into_iter().filter_map(|name| env::var(name).ok());
    let editor = named.into_iter().find(|value| !value.trim().is_empty()).unwrap_or_else(|| "vi".into());
    let failed = |why: String| {
        Failure::new(Code::Failed, format!("the editor {editor:?} {why}"), "choose one: EDITOR=nano apictl edit ...")
    };
    // As git does it: the variable may hold options.
    #[expect(clippy::disallowed_methods, reason = "the operator's own editor, on the operator's machine")]
    let mut command = Command::new("/bin/sh");
    let status = command.args(["-c", &format!("{editor} \"$1\""), "apictl"]).arg(path).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(failed(format!("ended with {status}: nothing was sent"))),
        Err(error) => Err(failed(format!("cannot be started: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_stand_on_top_at_the_lines_as_they_are_then() {
        let text = "apiVersion: stele/v1\nkind: Hostname\nhostnam: a\n";
        let problems = config::parse(text).unwrap_err();
        let whole = format!("{}{text}", with_problems("#: node\n", &problems));
        let told = whole.lines().find(|line| line.contains("hostnam: ")).unwrap();
        let line = whole.lines().position(|line| line == "hostnam: a").unwrap() + 1;
        assert!(told.contains(&format!("line {line},")), "{whole}");
        assert_eq!(own(&whole), text);
    }
}
