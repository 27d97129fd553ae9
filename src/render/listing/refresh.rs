//! What became different at the destinations since they were looked at before.

use crate::plan::refresh::{About, Difference, What};
use crate::render::Look;
use crate::render::escape::line;
use crate::render::paint::Tint;
use crate::render::words;
use jiff::Timestamp;

/// A line for each difference, below the instant of the look before.
pub fn refresh(since: Timestamp, all: &[Difference], look: &Look) -> String {
    let since = words::minute(since);
    if all.is_empty() {
        return format!("No changes. The destinations are as they were seen at {since} UTC.\n");
    }
    let mut out = format!("Changed at the destinations since {since} UTC:\n");
    let mut destination = None;
    for difference in all {
        if destination != Some(&difference.destination) {
            out += &format!("\n  # destination.{}\n", difference.destination);
            destination = Some(&difference.destination);
        }
        let (sign, text) = one(&difference.what);
        let sign = look.paint(Tint::of_sign(sign), &sign.to_string());
        out += &format!("  {sign} {text}\n");
    }
    out + &format!(
        "\n{} since then.\n",
        words::count(all.len() as u64, "change")
    )
}

fn one(what: &What) -> (char, String) {
    let id = |id: &Option<crate::model::ids::RepositoryId>| {
        id.map_or("none".to_owned(), |id| id.short())
    };
    match what {
        What::Repository { before, now } => (
            '!',
            format!("the repository was {}, it is {}", id(before), id(now)),
        ),
        What::Unseen { why } => ('!', format!("not seen completely: {}", line(why))),
        What::Seen => ('~', "seen completely again".to_owned()),
        What::Appeared(about) => (
            '+',
            format!(
                "{}  made by run {} on {}",
                backup(about),
                about.run.short(),
                line(&about.host)
            ),
        ),
        What::Forgotten { about, reason } => (
            '-',
            format!("{}  forgotten: {}", backup(about), line(reason)),
        ),
        What::Gone(about) => (
            '!',
            format!("{}  gone, and nothing says why", backup(about)),
        ),
        What::Noted { about, notes } => {
            let notes: Vec<String> = notes.iter().map(|note| line(note)).collect();
            ('~', format!("{}  {}", backup(about), notes.join("; ")))
        }
    }
}

fn backup(about: &About) -> String {
    format!(
        "{}  {} {} {}",
        about.backup.short(),
        about.component,
        about.method,
        words::instant(about.started)
    )
}
