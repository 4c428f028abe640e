//! Resources as they change: what `get --watch`, `services --watch` and `events --follow` print.

use std::{
    io::{Stdout, stdout},
    time::Duration,
};

use api::{
    v1::Column,
    watch::{Change, Watch},
};
use futures_util::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::{FORMATS, headers, merged, resolve};
use crate::{
    cli::Format,
    commands::format,
    exit::{Failure, Result},
    node::{App, Step, follow},
    objects::{Document, Shown, change},
    table::Table,
};

/// How long the first rows wait for those of slower nodes, so that the columns fit them all.
const SETTLE: Duration = Duration::from_secs(2);

/// What the rows are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Objects that come, change and go; each row says which.
    Changes,
    /// Lines of a journal: that old ones go, to make room, is not worth a row.
    Journal,
}

/// Shows the resources and every change, until it is interrupted.
pub(crate) async fn run(app: &App, kind: &str, id: Option<&str>, style: Style) -> Result {
    let format = format(app, &FORMATS)?;
    let answers = app.ask(async |node| Ok((resolve(node, kind).await?, Vec::new()))).await?;
    let columns = merged(&answers, format);
    let several = answers.several();
    let names: Vec<String> = answers.good.iter().map(|(node, _)| node.name.clone()).collect();
    let mut waiting = vec![true; names.len()];
    let mut failed = answers.failed;
    failed.iter().for_each(|failure| app.ui.failure(failure));
    let watched = answers.good.into_iter().map(|(node, (of, _))| (node, Watch::new(of.name, id)));
    let mut changes = follow(&app.ui, watched);
    let mut table = Table::new(headers(&columns, several, style == Style::Changes));
    if style == Style::Changes {
        // The first rows all say "put".
        table.reserve(usize::from(several), 7);
    }
    let mut printer = Printer { out: stdout(), table, columns, format, live: false };
    let settled = Instant::now() + SETTLE;
    loop {
        let next = if printer.live {
            app.limited(changes.next()).await?
        } else if let Ok(next) = app.limited(timeout_at(settled, changes.next())).await? {
            next
        } else {
            printer.go_live_unless(false)?;
            continue;
        };
        let Some((index, step)) = next else { break };
        let (event, object) = match step {
            Ok(Step::Item(Change::Put(object))) => ("put", object),
            Ok(Step::Item(Change::Deleted(_))) if style == Style::Journal => continue,
            Ok(Step::Item(Change::Deleted(object))) => ("deleted", object),
            // What it has is there; or nobody knows when it will be, and what the others have is shown without it.
            Ok(Step::Item(Change::Synced) | Step::Broken) => {
                waiting[index] = false;
                printer.go_live_unless(waiting.contains(&true))?;
                continue;
            }
            Err(failure) => {
                app.ui.failure(&failure);
                failed.push(failure);
                waiting[index] = false;
                printer.go_live_unless(waiting.contains(&true))?;
                continue;
            }
        };
        let event = (style == Style::Changes).then_some(event);
        match (Shown { node: several.then_some(&names[index]), event, object: &object }).document() {
            Ok(document) => printer.row(&document)?,
            // One object that cannot be shown; the next one of this node may be.
            Err(failure) => {
                let failure = failure.at(&names[index]);
                app.ui.failure(&failure);
                if !failed.iter().any(|known| known.node == failure.node) {
                    failed.push(failure);
                }
            }
        }
    }
    failed.iter_mut().for_each(|failure| failure.said = true);
    Failure::all(failed)
}

struct Printer {
    out: Stdout,
    table: Table,
    columns: Vec<Column>,
    format: Format,
    /// The first rows are printed together, so that the columns fit them.
    live: bool,
}

impl Printer {
    fn row(&mut self, document: &Document<'_>) -> Result {
        if matches!(self.format, Format::Json | Format::Yaml) {
            return change(&mut self.out, document, self.format);
        }
        self.table.row(document.cells(&self.columns));
        if self.live { Ok(self.table.print(&mut self.out)?) } else { Ok(()) }
    }

    /// From now on each row is printed when it comes.
    fn go_live_unless(&mut self, waiting: bool) -> Result {
        if waiting || self.live {
            return Ok(());
        }
        self.live = true;
        if matches!(self.format, Format::Json | Format::Yaml) { Ok(()) } else { Ok(self.table.print(&mut self.out)?) }
    }
}
