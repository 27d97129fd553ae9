//! Tables of stable width: each column as wide as its widest cell, the last one ragged.

use crate::render::Look;
use crate::render::paint::Tint;

/// Rows under a header. Cells are shown as they are given: escape untrusted ones before.
pub(crate) struct Table {
    header: Vec<&'static str>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table. A column whose name starts with `>` is aligned to the right.
    pub(crate) fn new(header: &[&'static str]) -> Self {
        Self {
            right: header.iter().map(|name| name.starts_with('>')).collect(),
            header: header
                .iter()
                .map(|name| name.trim_start_matches('>'))
                .collect(),
            rows: Vec::new(),
        }
    }
    /// Adds a row; it has as many cells as the header.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        assert_eq!(cells.len(), self.header.len(), "a row fits its header");
        self.rows.push(cells);
    }
    /// Without the columns in which no row has anything.
    pub(crate) fn without_empty_columns(self) -> Self {
        let is_used = |column: usize| self.rows.iter().any(|row| !row[column].is_empty());
        let used: Vec<bool> = (0..self.header.len()).map(is_used).collect();
        fn only<T>(all: Vec<T>, used: &[bool]) -> Vec<T> {
            let kept = all.into_iter().zip(used);
            kept.filter_map(|(one, used)| used.then_some(one)).collect()
        }
        Self {
            header: only(self.header, &used),
            right: only(self.right, &used),
            rows: self.rows.into_iter().map(|row| only(row, &used)).collect(),
        }
    }
    /// The table, its header dim; each line ends with a newline.
    pub(crate) fn render(&self, look: &Look) -> String {
        let header: Vec<String> = self.header.iter().map(|name| (*name).to_owned()).collect();
        let widths: Vec<usize> = (0..header.len())
            .map(|i| {
                let cells = self.rows.iter().map(|row| &row[i]).chain([&header[i]]);
                cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        let mut out = look.paint(Tint::Dim, &self.line(&header, &widths)) + "\n";
        for row in &self.rows {
            out += &self.line(row, &widths);
            out.push('\n');
        }
        out
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut out = String::new();
        for (i, cell) in cells.iter().enumerate() {
            let width = widths[i];
            if i > 0 {
                out.push_str("  ");
            }
            if self.right[i] {
                out += &format!("{cell:>width$}");
            } else {
                out += &format!("{cell:<width$}");
            }
        }
        out.trim_end().to_owned()
    }
}
