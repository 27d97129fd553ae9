//! The wall times of a table as a drawing (SVG): a line per row, a dot per program, at how many times ccb's time it
//! takes. The scale is logarithmic, for some take twice as long and others fifty times.

use crate::table::{OWN, Table};
use std::fmt::Write as _;

const LABEL_PX: f64 = 210.0;
const PLOT_PX: f64 = 560.0;
const ROW_PX: f64 = 20.0;
const HEAD_PX: f64 = 64.0;
/// From a quarter of ccb's time to 64 times as much, in powers of two.
const FIRST: f64 = -2.0;
const LAST: f64 = 6.0;
const COLORS: [&str; 7] = [
    "#0b7a4b", "#c0392b", "#d68910", "#7d3c98", "#2471a3", "#7f8c8d", "#34495e",
];

/// Draws those rows of `table` in which ccb is not alone.
pub fn svg(table: &Table, programs: &[&'static str]) -> String {
    let rows: Vec<&str> = table
        .rows()
        .filter(|row| dots(table, row, programs).len() > 1)
        .collect();
    let (width, height) = (
        LABEL_PX + PLOT_PX + 30.0,
        HEAD_PX + ROW_PX * rows.len() as f64 + 16.0,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n<text x=\"10\" y=\"18\" font-weight=\"bold\">Wall time as a multiple of ccb's (right of the line: slower than ccb)</text>\n"
    );
    legend(&mut svg, programs);
    for power in FIRST as i32..=LAST as i32 {
        let x = at(f64::from(power));
        let (color, label) = match power {
            0 => ("#0b7a4b", "1".to_owned()),
            power if power < 0 => ("#e5e5e5", format!("1/{}", 1 << -power)),
            power => ("#e5e5e5", (1 << power).to_string()),
        };
        let _ = writeln!(
            svg,
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{}\" stroke=\"{color}\"/>\n<text x=\"{x}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555555\">{label}</text>",
            HEAD_PX,
            height - 12.0,
            HEAD_PX - 4.0,
        );
    }
    for (number, row) in rows.iter().enumerate() {
        let y = HEAD_PX + ROW_PX * (number as f64 + 0.6);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{row}</text>",
            LABEL_PX - 10.0,
            y + 4.0
        );
        for (color, times, program) in dots(table, row, programs) {
            let x = at(times.log2().clamp(FIRST, LAST));
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{color}\"><title>{program}: {times:.2}</title></circle>"
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String, programs: &[&'static str]) {
    let mut x = 16.0;
    for (program, color) in programs.iter().zip(COLORS) {
        let _ = writeln!(
            svg,
            "<circle cx=\"{x}\" cy=\"34\" r=\"5\" fill=\"{color}\"/><text x=\"{}\" y=\"38\">{program}</text>",
            x + 9.0
        );
        x += 30.0 + 7.0 * program.len() as f64;
    }
}

/// Color, multiple of ccb's time, and name of each program that has this row.
fn dots(
    table: &Table,
    row: &str,
    programs: &[&'static str],
) -> Vec<(&'static str, f64, &'static str)> {
    let Some(own) = table.wall(row, OWN).filter(|own| *own > 0.0) else {
        return Vec::new();
    };
    let colored = programs.iter().zip(COLORS);
    colored
        .filter_map(|(program, color)| Some((color, table.wall(row, program)? / own, *program)))
        .collect()
}

fn at(power: f64) -> f64 {
    LABEL_PX + PLOT_PX * (power - FIRST) / (LAST - FIRST)
}
