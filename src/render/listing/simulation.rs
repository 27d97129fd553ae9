//! How many backups there will be, and how much space they take, as a small chart and a table.

use crate::model::units::Size;
use crate::render::Look;
use crate::render::table::Table;
use jiff::civil::Date;

/// Rows of the chart.
const HEIGHT: u64 = 8;

/// What one simulated day ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulatedDay {
    /// The day.
    pub day: Date,
    /// Backups that are kept.
    pub backups: u64,
    /// Bytes that they take, as far as earlier backups tell.
    pub stored_bytes: u64,
    /// Backups made on that day.
    pub made: u64,
    /// Backups forgotten on that day.
    pub forgotten: u64,
}

/// A chart of the number of backups, a row for every stretch of days, and the peak.
pub fn simulation(days: &[SimulatedDay], look: &Look) -> String {
    let Some(peak) = days
        .iter()
        .max_by_key(|day| (day.stored_bytes, day.backups))
    else {
        return "No days to simulate.\n".to_owned();
    };
    let columns = look.width.saturating_sub(10).clamp(10, 100);
    let mut table = Table::new(&["day", ">backups", ">stored", ">made", ">forgotten"]);
    for stretch in stretches(days, 12) {
        // A stretch is never empty.
        let last = stretch[stretch.len() - 1];
        table.row(vec![
            last.day.to_string(),
            last.backups.to_string(),
            format!("~{}", Size(last.stored_bytes)),
            stretch.iter().map(|day| day.made).sum::<u64>().to_string(),
            stretch
                .iter()
                .map(|day| day.forgotten)
                .sum::<u64>()
                .to_string(),
        ]);
    }
    format!(
        "{}\n{}\npeak: {} backups, about {}, on {}\n",
        chart(days, columns),
        table.render(look),
        peak.backups,
        Size(peak.stored_bytes),
        peak.day
    )
}

/// Backups over time: the highest of each stretch of days.
fn chart(days: &[SimulatedDay], columns: usize) -> String {
    let heights: Vec<u64> = stretches(days, columns)
        .map(|stretch| stretch.iter().map(|day| day.backups).max().unwrap_or(0))
        .collect();
    let top = heights.iter().copied().max().unwrap_or(0).max(1);
    let mut out = String::new();
    for row in (1..=HEIGHT).rev() {
        let label = if row == HEIGHT {
            top.to_string()
        } else {
            String::new()
        };
        let filled = |height: &u64| height.saturating_mul(HEIGHT).div_ceil(top) >= row;
        let bars: String = heights
            .iter()
            .map(|h| if filled(h) { '█' } else { ' ' })
            .collect();
        out += &format!("{label:>6} ┤{}\n", bars.trim_end());
    }
    out + &format!("{:>6} ┴{}\n", 0, "─".repeat(heights.len()))
}

/// `days` in at most `most` stretches of equal length; the last may be shorter.
fn stretches(days: &[SimulatedDay], most: usize) -> impl Iterator<Item = &[SimulatedDay]> {
    days.chunks(days.len().div_ceil(most).max(1))
}
