//! Tables whose widths come from what stands in them.

use super::terminal::{Paint, Tone};
use super::text::{clean, fit, width};

/// A column that is cut keeps so much.
const COLUMN_MIN: usize = 12;

/// One piece of a table.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
    right: bool,
}

impl Cell {
    /// `text`, cleaned, as a cell is one line.
    pub(super) fn new(text: impl ToString) -> Self {
        let text = clean(&text.to_string()).replace(['\n', '\t'], " ");
        Self {
            text,
            ..Self::default()
        }
    }

    /// What may be missing.
    pub(super) fn maybe(text: Option<impl ToString>) -> Self {
        text.map(Self::new).unwrap_or_default()
    }

    pub(super) fn tone(mut self, tone: Tone) -> Self {
        self.tone = tone;
        self
    }

    /// Numbers stand at the right.
    pub(super) fn right(mut self) -> Self {
        self.right = true;
        self
    }
}

/// Rows under a heading. A column in which nothing stands is left out.
#[derive(Debug)]
pub(super) struct Table {
    heading: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(super) fn new(heading: impl Into<Vec<&'static str>>) -> Self {
        Self {
            heading: heading.into(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        debug_assert_eq!(cells.len(), self.heading.len());
        self.rows.push(cells);
    }

    /// Cuts the columns under `headings`, the widest first, until the table fits into `columns` as well as it can.
    /// Remarks, which have no heading, are not counted: they are few, and worth a second line.
    /// Whether anything was cut.
    pub(super) fn shrink(&mut self, columns: usize, headings: &[&str]) -> bool {
        let mut is_cut = false;
        let count = self.heading.len();
        loop {
            let widths: Vec<usize> = (0..count).map(|at| self.width(at)).collect();
            let used = (0..count).filter(|at| widths[*at] > 0 && !self.heading[*at].is_empty());
            let total: usize = used.map(|at| widths[at] + 2).sum();
            let is_over = total.saturating_sub(2) > columns;
            let widest = (0..count)
                .filter(|at| headings.contains(&self.heading[*at]) && widths[*at] > COLUMN_MIN)
                .max_by_key(|at| widths[*at]);
            let (Some(at), true) = (widest, is_over) else {
                return is_cut;
            };
            is_cut = true;
            for cell in self.rows.iter_mut().filter_map(|row| row.get_mut(at)) {
                cell.text = fit(&cell.text, widths[at] - 1);
            }
        }
    }

    /// The table's lines, without trailing spaces; nothing where there is no row.
    pub(super) fn lines(&self, paint: Paint) -> Vec<String> {
        if self.rows.is_empty() {
            return Vec::new();
        }
        let widths: Vec<usize> = (0..self.heading.len()).map(|at| self.width(at)).collect();
        let heading: Vec<Cell> = self
            .heading
            .iter()
            .enumerate()
            .map(|(at, text)| Cell {
                text: (*text).to_owned(),
                tone: Tone::Dim,
                right: self.rows[0].get(at).is_some_and(|cell| cell.right),
            })
            .collect();
        std::iter::once(&heading)
            .chain(&self.rows)
            .map(|cells| line(cells, &widths, paint))
            .collect()
    }

    /// The width of a column; 0 when nothing stands in it.
    fn width(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at));
        match cells.map(|cell| width(&cell.text)).max() {
            None | Some(0) => 0,
            Some(widest) => widest.max(width(self.heading[at])),
        }
    }
}

fn line(cells: &[Cell], widths: &[usize], paint: Paint) -> String {
    let mut line = String::new();
    let mut pending = 0;
    for (cell, column) in cells.iter().zip(widths).filter(|(_, width)| **width > 0) {
        let space = column.saturating_sub(width(&cell.text));
        let (before, after) = if cell.right { (space, 0) } else { (0, space) };
        if !cell.text.is_empty() {
            line.extend(std::iter::repeat_n(' ', pending + before));
            line += &paint.tone(cell.tone, &cell.text);
            pending = after + 2;
        } else {
            pending += column + 2;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["NAME", "EMPTY", "N", "LAST"]);
        table.row(vec![
            Cell::new("a"),
            Cell::default(),
            Cell::new(7).right(),
            Cell::new("x"),
        ]);
        table.row(vec![
            Cell::new("longest"),
            Cell::default(),
            Cell::new(1234).right(),
            Cell::default(),
        ]);
        let expected = ["NAME        N  LAST", "a           7  x", "longest  1234"];
        assert_eq!(table.lines(Paint(false)), expected);
    }

    #[test]
    fn colour_does_not_count_as_width() {
        let mut table = Table::new(["A", "B"]);
        table.row(vec![Cell::new("xy").tone(Tone::Good), Cell::new("z")]);
        let plain: Vec<String> = table
            .lines(Paint(true))
            .iter()
            .map(|line| clean(line))
            .collect();
        assert_eq!(plain, table.lines(Paint(false)));
    }

    #[test]
    fn a_cell_is_one_line_and_steers_nothing() {
        let mut table = Table::new(["A"]);
        table.row(vec![Cell::new("x\n\u{1b}[2Jy")]);
        assert_eq!(table.lines(Paint(false)), ["A", "x y"]);
        assert!(Table::new(["A"]).lines(Paint(false)).is_empty());
    }
}
