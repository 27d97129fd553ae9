//! The figures of all runs, and the Markdown that they are printed as.

use crate::measure::{Figures, median};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What all others are measured by.
pub const OWN: &str = "ccb";
/// A pipe and a copy keep no history, check nothing and are no backup program: shown, not compared with.
const SHOWN_ONLY: [&str; 2] = ["tar+zstd+openssl", "curl"];

/// Figures by row and program.
#[derive(Default)]
pub struct Table {
    rows: Vec<String>,
    runs: BTreeMap<(usize, &'static str), Vec<Figures>>,
}

impl Table {
    /// Adds a run. Rows are printed in the order in which they were first named.
    pub fn add(&mut self, row: &str, program: &'static str, figures: Figures) {
        let number = match self.rows.iter().position(|known| known == row) {
            Some(number) => number,
            None => {
                self.rows.push(row.to_owned());
                self.rows.len() - 1
            }
        };
        self.runs
            .entry((number, program))
            .or_default()
            .push(figures);
    }

    /// What the rows are called, in their order.
    pub fn rows(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(String::as_str)
    }

    fn median_of(
        &self,
        row: usize,
        program: &'static str,
        part: impl Fn(&Figures) -> f64,
    ) -> Option<f64> {
        let runs = self.runs.get(&(row, program))?;
        Some(median(runs.iter().map(part).collect()))
    }

    /// The median of a row, in seconds of wall time.
    pub fn wall(&self, row: &str, program: &'static str) -> Option<f64> {
        let number = self.rows.iter().position(|known| known == row)?;
        self.median_of(number, program, |figures| figures.wall)
    }

    /// The same, in seconds of CPU time.
    pub fn cpu(&self, row: &str, program: &'static str) -> Option<f64> {
        let number = self.rows.iter().position(|known| known == row)?;
        self.median_of(number, program, |figures| figures.cpu)
    }

    /// The largest peak memory of a program, in MiB.
    pub fn peak(&self, program: &str) -> f64 {
        let runs = self.runs.iter().filter(|((_, one), _)| *one == program);
        runs.flat_map(|(_, runs)| runs)
            .map(|figures| figures.peak)
            .fold(0.0, f64::max)
    }

    /// All rows. The ratios are those of the medians of ccb and of the best peer in that figure.
    pub fn markdown(&self, programs: &[&'static str]) -> String {
        let mut text = String::from("| data, operation |");
        for program in programs {
            let _ = write!(text, " {program} |");
        }
        text.push_str(" wall ratio | CPU ratio |\n|---|");
        text.push_str(&"---|".repeat(programs.len() + 2));
        text.push('\n');
        for (number, row) in self.rows.iter().enumerate() {
            let _ = write!(text, "| {row} |");
            for program in programs {
                let _ = write!(text, " {} |", self.cell(number, program));
            }
            let wall = self.ratio(number, programs, |figures| figures.wall);
            let cpu = self.ratio(number, programs, |figures| figures.cpu);
            let _ = writeln!(text, " {wall} | {cpu} |");
        }
        text
    }

    fn cell(&self, row: usize, program: &'static str) -> String {
        let part = |part: fn(&Figures) -> f64| self.median_of(row, program, part);
        let (Some(wall), Some(cpu)) = (part(|f| f.wall), part(|f| f.cpu)) else {
            return "–".to_owned();
        };
        let peak = part(|f| f.peak).unwrap_or_default();
        let stored = part(|f| f.stored).unwrap_or_default();
        match stored > 0.0 {
            true => format!("{wall:.2} / {cpu:.2} / {peak:.0} / {stored:.1}"),
            false => format!("{wall:.2} / {cpu:.2} / {peak:.0}"),
        }
    }

    fn ratio(&self, row: usize, programs: &[&'static str], part: fn(&Figures) -> f64) -> String {
        let own = self.median_of(row, OWN, part);
        let peers = programs
            .iter()
            .filter(|program| **program != OWN && !SHOWN_ONLY.contains(*program));
        let of_peers =
            peers.filter_map(|program| Some((self.median_of(row, program, part)?, *program)));
        let best = of_peers.min_by(|a, b| a.0.total_cmp(&b.0));
        match (own, best) {
            (Some(own), Some((best, name))) => format!("{:.2} {name}", own / best),
            _ => "–".to_owned(),
        }
    }
}
