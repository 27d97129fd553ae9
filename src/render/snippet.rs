//! Draws the place in the plan file that a finding is about, with miette's lines and arrows.

use crate::model::ids::Address;
use crate::model::strategy::Strategy;
use crate::render::Look;
use crate::render::escape::{line, same_length};
use crate::render::place::{Spot, spot};
use miette::{GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteDiagnostic, NamedSource};

/// The lines of the file around `address`, `label` below it; empty when its place is not known.
pub(crate) fn draw(strategy: &Strategy, address: &Address, label: &str, look: &Look) -> String {
    let Some(spot) = spot(strategy, address) else {
        return String::new();
    };
    let (start, len) = first_line(&spot);
    let source = NamedSource::new(line(&spot.file.path), same_length(&spot.file.text));
    let diagnostic =
        MietteDiagnostic::new("").with_label(LabeledSpan::at(start..start + len, line(label)));
    let report = miette::Report::new(diagnostic).with_source_code(source);
    let theme = if look.color {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(look.width.max(40))
        .with_links(false);
    let mut out = String::new();
    if handler.render_report(&mut out, report.as_ref()).is_err() {
        return String::new();
    }
    // The first line is the message, which the caller has printed; the drawing follows.
    let drawing = out.lines().skip_while(|line| !line.contains('╭'));
    drawing
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect()
}

/// The part of the place on its first line: a whole block is not drawn to say where it begins.
fn first_line(spot: &Spot<'_>) -> (usize, usize) {
    let all = &spot.file.text[spot.place.start..spot.place.start + spot.place.len];
    let first = all.lines().next().unwrap_or_default();
    (spot.place.start, first.trim_end().len())
}
