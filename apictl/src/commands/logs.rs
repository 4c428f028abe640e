//! `apictl logs`: the log of a service; also the printing of every log.

use std::io::{Write, stdout};

use api::{
    log::{Log, Source},
    v1::{LogChunk, LogLine},
};
use futures_util::StreamExt;
use jiff::Timestamp;
use owo_colors::Style;
use serde_json::{Map, Value, json};

use crate::{
    cli::Format,
    commands::format,
    exit::{Failure, Result},
    node::{App, CALL_TIMEOUT, Step, follow},
    objects, text,
};

/// Show the log of a service
#[derive(clap::Args)]
#[command(after_help = "Example:\n  apictl logs gateway --tail 100 --follow\n\n\
    Control characters are shown escaped; -o raw writes the bytes as the service did.")]
pub(crate) struct Args {
    /// Name of the service, as in `apictl services`
    service: String,
    /// Go on with what comes, over lost connections and restarts
    #[arg(short, long)]
    follow: bool,
    /// Start with at most this many of the last lines
    #[arg(long, value_name = "N")]
    tail: Option<u32>,
    /// Put the time each line was read in front
    #[arg(long)]
    timestamps: bool,
}

pub(crate) async fn run(app: &App, args: Args) -> Result {
    show(app, &Source::Service(args.service), args.follow, args.tail, args.timestamps).await
}

/// Prints a log of each node.
pub(crate) async fn show(app: &App, source: &Source, following: bool, tail: Option<u32>, timestamps: bool) -> Result {
    let format = format(app, &[Format::Table, Format::Wide, Format::Raw, Format::Json])?;
    let answers = app.ask(async |_| Ok(())).await?;
    let several = answers.several();
    let names: Vec<String> = answers.good.iter().map(|(node, ())| node.name.clone()).collect();
    let mut failed = answers.failed;
    failed.iter().for_each(|failure| app.ui.failure(failure));
    let printer = Printer { app, format, several, timestamps };
    let logs = answers.good.into_iter().map(|(node, ())| (node, Log::new(source.clone(), following, tail)));
    let mut chunks = follow(&app.ui, logs);
    let mut empty = true;
    // what only shows what there is has the time of other questions
    let limit = app.global.timeout.or((!following).then_some(CALL_TIMEOUT));
    while let Some((index, chunk)) = app.within(limit, chunks.next()).await? {
        match chunk {
            Ok(Step::Item(chunk)) => {
                empty &= chunk.lines.is_empty();
                printer.chunk(&names[index], &chunk)?;
            }
            Ok(Step::Broken) => {}
            Err(failure) => {
                app.ui.failure(&failure);
                failed.push(failure);
            }
        }
    }
    if empty && failed.is_empty() && tail != Some(0) {
        app.ui.note("the log is empty");
    }
    failed.iter_mut().for_each(|failure| failure.said = true);
    Failure::all(failed)
}

struct Printer<'a> {
    app: &'a App,
    format: Format,
    several: bool,
    timestamps: bool,
}

impl Printer<'_> {
    fn chunk(&self, node: &str, chunk: &LogChunk) -> Result {
        for (lost, unit) in [(chunk.dropped_bytes, "bytes"), (chunk.dropped_records, "records")] {
            if lost > 0 {
                self.app.ui.note(&format!("{node}: --- {lost} {unit} of the log are lost here ---"));
            }
        }
        let mut out = stdout().lock();
        for line in &chunk.lines {
            match self.format {
                Format::Json => objects::json_line(&mut out, &self.document(node, line))?,
                Format::Raw => {
                    out.write_all(&line.text)?;
                    if !line.partial || self.several {
                        out.write_all(b"\n")?;
                    }
                }
                _ => writeln!(out, "{}", self.line(node, line))?,
            }
        }
        Ok(out.flush()?)
    }

    fn line(&self, node: &str, line: &LogLine) -> String {
        let node = if self.several { format!("{}: ", text::plain(node)) } else { String::new() };
        let time = if self.timestamps { format!("{} ", time(line)) } else { String::new() };
        let style = match line.priority {
            Some(0..=3) => Style::new().red(),
            Some(4) => Style::new().yellow(),
            _ => Style::new(),
        };
        format!("{node}{time}{}", self.app.ui.paint(&text::bytes(&line.text), style))
    }

    fn document(&self, node: &str, line: &LogLine) -> Value {
        let mut fields = Map::new();
        if self.several {
            fields.insert("node".into(), node.into());
        }
        fields.insert("time".into(), time(line).into());
        if let Some(priority) = line.priority {
            fields.insert("priority".into(), priority.into());
        }
        fields.insert("partial".into(), line.partial.into());
        // Not UTF-8: as text with replacements; -o raw gives the bytes.
        fields.insert("text".into(), json!(String::from_utf8_lossy(&line.text)));
        Value::Object(fields)
    }
}

/// When, to the millisecond, in UTC.
fn time(line: &LogLine) -> String {
    let time = Timestamp::from_nanosecond(i128::from(line.time_unix_ns)).unwrap_or_default();
    format!("{time:.3}")
}
