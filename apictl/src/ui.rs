//! What is said to the person at the terminal: notes, progress, colours.
//!
//! Invariant: stdout carries results only; everything here goes to stderr, but for colours, which are used only where
//! the stream is a terminal and NO_COLOR is not set.

use std::{
    env,
    io::{IsTerminal, Write, stderr, stdin, stdout},
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use owo_colors::{OwoColorize, Style};

use crate::{
    exit::{Code, Failure, Result},
    text,
};

/// What takes longer gets a sign of life.
const SLOW: Duration = Duration::from_secs(1);

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);

/// Where and how to speak.
pub(crate) struct Ui {
    colour_out: bool,
    colour_err: bool,
    terminal: bool,
    /// Those that are shown, below one another.
    bars: MultiProgress,
}

impl Ui {
    pub(crate) fn new() -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_none_or(|term| term != "dumb");
        let terminal = stderr().is_terminal();
        Self {
            colour_out: wanted && stdout().is_terminal(),
            colour_err: wanted && terminal,
            terminal,
            bars: MultiProgress::new(),
        }
    }

    /// A line for the person; node text in it is made safe.
    pub(crate) fn note(&self, message: &str) {
        self.bars.suspend(|| say(&text::lines(message)));
    }

    /// Text in a style, on stdout.
    pub(crate) fn paint(&self, text: &str, style: Style) -> String {
        if self.colour_out { text.style(style).to_string() } else { text.to_owned() }
    }

    /// Says what failed, and what to do.
    pub(crate) fn failure(&self, failure: &Failure) {
        let label = if self.colour_err { "error:".red().bold().to_string() } else { "error:".into() };
        // Connection errors start with the endpoint, which mostly is the node's name.
        let node = failure.node.as_deref().filter(|node| !failure.message.starts_with(*node));
        let node = node.map(|node| format!("{node}: ")).unwrap_or_default();
        say(&format!("{label} {}", text::lines(&format!("{node}{}", failure.message))));
        for line in failure.remedy.lines() {
            say(&format!("  {}", text::plain(line)));
        }
    }

    /// Asks the person; anything but yes is no.
    pub(crate) fn agrees(&self, question: &str) -> Result<bool> {
        if !self.terminal || !stdin().is_terminal() {
            return Err(Failure::usage(
                "nobody can be asked: this is no terminal",
                "give --yes if that is what is wanted",
            ));
        }
        let _ = write!(stderr(), "{} [y/N] ", text::lines(question));
        let mut answer = String::new();
        stdin()
            .read_line(&mut answer)
            .map_err(|error| Failure::new(Code::Failed, format!("no answer: {error}"), ""))?;
        Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
    }

    /// Runs something; after a second it is shown that it is under way.
    pub(crate) async fn slow<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        tokio::select! {
            biased;
            done = &mut future => return done,
            () = tokio::time::sleep(SLOW) => {}
        }
        let progress = self.progress(what);
        let done = future.await;
        progress.done();
        done
    }

    /// Shows something that is under way: a spinner on a terminal, a line elsewhere.
    pub(crate) fn progress(&self, what: &str) -> Progress {
        let what = text::plain(what).into_owned();
        if !self.terminal {
            say(&format!("{what} ..."));
            return Progress { bar: None };
        }
        let bar = self.bars.add(ProgressBar::new_spinner());
        style(&bar, SPINNER);
        bar.set_message(what);
        bar.enable_steady_tick(TICK);
        Progress { bar: Some((bar, self.bars.clone())) }
    }
}

/// A line on stderr. A reader that left (`2>&1 | head`) is no reason to panic, as `eprintln!` does.
fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

/// Something whose end nobody knows, and something that is counted.
const SPINNER: &str = "{spinner} {msg} ({elapsed})";
const COUNTED: &str = "{spinner} {msg} [{bar:24}] ({elapsed})";

fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

/// Something under way.
pub(crate) struct Progress {
    bar: Option<(ProgressBar, MultiProgress)>,
}

impl Progress {
    /// A line that stays, above the spinner.
    pub(crate) fn line(&self, text: &str) {
        let text = text::plain(text);
        match &self.bar {
            Some((_, bars)) => bars.suspend(|| say(&text)),
            None => say(&text),
        }
    }

    /// What is done now, and how much of it: on a terminal only.
    pub(crate) fn update(&self, what: &str, (done, total): (u64, u64)) {
        let Some((bar, _)) = &self.bar else { return };
        if bar.length().unwrap_or(0) != total {
            style(bar, if total == 0 { SPINNER } else { COUNTED });
            bar.set_length(total);
        }
        bar.set_position(done);
        bar.set_message(text::plain(what).into_owned());
    }

    /// Takes the spinner away.
    pub(crate) fn done(&self) {
        if let Some((bar, _)) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done();
    }
}
