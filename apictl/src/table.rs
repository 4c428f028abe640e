//! Tables without borders, as kubectl prints them, and rows that come later under the same columns.
//!
//! Invariant: every cell is made safe for a terminal here; columns are separated by three spaces and no line has
//! spaces at its end.

use std::io::{self, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table as Comfy, Width, presets};

use crate::text::plain;

/// A table that remembers its widths between `print`s.
pub(crate) struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<String>>,
    widths: Vec<u16>,
    headed: bool,
}

impl Table {
    pub(crate) fn new(headers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let headers: Vec<String> = headers.into_iter().map(|header| plain(&header.into()).into_owned()).collect();
        Self { widths: vec![0; headers.len()], headers, rows: Vec::new(), headed: false }
    }

    /// Adds a row; an empty cell is shown as "-".
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let cell = |text: String| if text.is_empty() { "-".into() } else { plain(&text).into_owned() };
        self.rows.push(cells.into_iter().map(cell).collect());
    }

    /// Keeps room in a column for what may come.
    pub(crate) fn reserve(&mut self, column: usize, width: u16) {
        if let Some(now) = self.widths.get_mut(column) {
            *now = width.max(*now);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints the rows added since the last time, the header only once.
    pub(crate) fn print(&mut self, out: &mut impl Write) -> io::Result<()> {
        let mut comfy = Comfy::new();
        comfy.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if !self.headed {
            comfy.add_row(self.headers.iter());
            self.headed = true;
        }
        comfy.add_rows(self.rows.drain(..).map(Row::from));
        for (width, now) in self.widths.iter_mut().zip(comfy.column_max_content_widths()) {
            *width = now.max(*width);
        }
        for (index, width) in self.widths.iter().enumerate() {
            if let Some(column) = comfy.column_mut(index) {
                column.set_padding((0, 3));
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width.saturating_add(3))));
            }
        }
        for line in comfy.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(table: &mut Table) -> String {
        let mut out = Vec::new();
        table.print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_and_cells_are_safe() {
        let mut table = Table::new(["ID", "STATE"]);
        table.row(["日本".into(), "a\x1b[31m".into()]);
        table.row(["eth0".into(), String::new()]);
        assert_eq!(printed(&mut table), "ID     STATE\n日本   a\\x1b[31m\neth0   -\n");
    }

    #[test]
    fn later_rows_keep_the_widths() {
        let mut table = Table::new(["ID", "STATE"]);
        table.row(["a-long-name".into(), "up".into()]);
        printed(&mut table);
        table.row(["b".into(), "down".into()]);
        assert_eq!(printed(&mut table), "b             down\n");
    }
}
