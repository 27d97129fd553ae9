//! How many backups there will be, and how much space they take: a small chart, a table of days, a table of
//! components and destinations.

use crate::model::units::Size;
use crate::plan::simulate::{Amount, SimulatedDay, Simulation, Space};
use crate::render::Look;
use crate::render::escape::line;
use crate::render::output::Document;
use crate::render::table::Table;
use crate::render::words;

/// Rows of the chart.
const HEIGHT: u64 = 8;
/// Rows of the table of days.
const ROWS: usize = 12;

impl Document for Simulation {
    const KIND: &'static str = "simulation";
}

/// A chart of the number of backups, a row for every stretch of days, who takes what where, and the peak.
pub fn simulation(simulation: &Simulation, look: &Look) -> String {
    let days = &simulation.days;
    let Some(peak) = first_peak(days) else {
        return "No days to simulate.\n".to_owned();
    };
    let columns = look.width.saturating_sub(10).clamp(10, 100);
    format!(
        "Backups kept, day by day:\n{}\n{}\n{}\n{}peak: {}, about {}, on {}\n",
        chart(days, columns),
        table_of_days(days, look),
        table_of_space(&simulation.space, look),
        remarks(simulation),
        words::count(peak.backups, "backup"),
        Size(peak.stored_bytes),
        peak.day
    )
}

/// Of equal peaks the first: that is when the space is needed.
fn first_peak(days: &[SimulatedDay]) -> Option<&SimulatedDay> {
    let height = |day: &&SimulatedDay| (day.stored_bytes, day.backups);
    days.iter().rev().max_by_key(height)
}

fn table_of_days(days: &[SimulatedDay], look: &Look) -> String {
    let mut table = Table::new(&["day", ">backups", ">stored", ">made", ">forgotten"]);
    for stretch in stretches(days, ROWS) {
        // A stretch is never empty.
        let last = stretch[stretch.len() - 1];
        let sum = |part: fn(&SimulatedDay) -> u64| stretch.iter().map(part).sum::<u64>();
        table.row(vec![
            last.day.to_string(),
            last.backups.to_string(),
            format!("~{}", Size(last.stored_bytes)),
            sum(|day| day.made).to_string(),
            sum(|day| day.forgotten).to_string(),
        ]);
    }
    table.render(look)
}

fn table_of_space(space: &[Space], look: &Look) -> String {
    let mut table = Table::new(&[
        "component",
        "destination",
        ">now",
        ">",
        ">peak",
        ">",
        "on",
        ">end",
        ">",
    ]);
    let cells = |amount: &Amount| {
        [
            words::count(amount.backups, "backup"),
            format!("~{}", Size(amount.stored_bytes)),
        ]
    };
    for one in space {
        let [now, now_bytes] = cells(&one.now);
        let [peak, peak_bytes] = cells(&one.peak);
        let [end, end_bytes] = cells(&one.end);
        table.row(vec![
            one.component.to_string(),
            one.destination.to_string(),
            now,
            now_bytes,
            peak,
            peak_bytes,
            one.peak_day.map_or(String::new(), |day| day.to_string()),
            end,
            end_bytes,
        ]);
    }
    table.render(look)
}

fn remarks(simulation: &Simulation) -> String {
    let mut out = String::new();
    for name in &simulation.unknown_size {
        out += &format!(
            "component.{name}: no backup of some kind yet, so its size is not known and counts as nothing\n"
        );
    }
    for (name, percent) in &simulation.assumed_change_percent {
        out += &format!(
            "component.{name}: one backup so far; of each further one {percent}% are taken to be new\n"
        );
    }
    for name in &simulation.unseen {
        out += &format!(
            "destination.{name}: not seen completely; what it holds and was not seen is not counted\n"
        );
    }
    let out: Vec<String> = out.lines().map(line).collect();
    match out.is_empty() {
        true => String::new(),
        false => out.join("\n") + "\n",
    }
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
