//! Problems as the workflow commands that GitHub shows beside the lines of a pull request. GitHub shows ten
//! of each kind for a step, so the worst come first and the rest are counted.

use crate::model::strategy::{Level, Strategy};
use crate::plan::document::{Finding, Plan};
use crate::render::place::spot;
use crate::render::words;

/// How many annotations of a kind GitHub shows for one step.
const SHOWN_MAX: usize = 10;

/// A problem at a place. Findings become these; so do the problems of a plan file that can not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// Error, warning or notice.
    pub level: AnnotationLevel,
    /// The file, as GitHub knows it: relative to the root of the repository. `None`: no file in particular.
    pub path: Option<String>,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// A few words.
    pub title: String,
    /// The whole message; it may have several lines.
    pub message: String,
}

/// Kinds of annotations, worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnnotationLevel {
    /// It stops an apply.
    Error,
    /// It should be repaired.
    Warning,
    /// It is good to know.
    Notice,
}

impl AnnotationLevel {
    fn command(self) -> &'static str {
        ["error", "warning", "notice"][self as usize]
    }
}

/// The findings of a plan, then its last line, which a log search finds.
pub fn plan(plan: &Plan, strategy: &Strategy) -> String {
    let found: Vec<Annotation> = plan
        .findings
        .iter()
        .map(|finding| annotation(finding, strategy))
        .collect();
    annotations(&found) + &words::last_line(plan) + "\n"
}

/// One line for each, worst first, at most ten of a kind; then a line for how many more there are.
pub fn annotations(all: &[Annotation]) -> String {
    let mut out = String::new();
    for level in [
        AnnotationLevel::Error,
        AnnotationLevel::Warning,
        AnnotationLevel::Notice,
    ] {
        let of_level: Vec<&Annotation> = all.iter().filter(|one| one.level == level).collect();
        for one in of_level.iter().take(SHOWN_MAX) {
            out += &command(one);
        }
        if let Some(more) = of_level
            .len()
            .checked_sub(SHOWN_MAX)
            .filter(|more| *more > 0)
        {
            // Plain text: one more command would push one of the ten out.
            out += &format!("and {more} more of kind {}\n", level.command());
        }
    }
    out
}

/// The annotation of a finding. A waived one is a notice.
pub fn annotation(finding: &Finding, strategy: &Strategy) -> Annotation {
    let spot = spot(strategy, &finding.address);
    let waived = finding
        .waived
        .as_ref()
        .map(|(until, reason)| format!("\nwaived until {until}: {reason}"));
    Annotation {
        level: match finding.level {
            _ if finding.waived.is_some() => AnnotationLevel::Notice,
            Level::Deny => AnnotationLevel::Error,
            Level::Warn => AnnotationLevel::Warning,
            Level::Info | Level::Off => AnnotationLevel::Notice,
        },
        path: spot.map(|spot| spot.file.path.clone()),
        line: spot.map_or(1, |spot| spot.line),
        column: spot.map_or(1, |spot| spot.column),
        title: words::rule(finding),
        message: format!(
            "{}\nhelp: {}{}",
            finding.message,
            finding.help,
            waived.unwrap_or_default()
        ),
    }
}

fn command(one: &Annotation) -> String {
    let place = one.path.as_ref().map_or(String::new(), |path| {
        format!(
            "file={},line={},col={},",
            property(path),
            one.line,
            one.column
        )
    });
    format!(
        "::{} {place}title={}::{}\n",
        one.level.command(),
        property(&one.title),
        data(&one.message)
    )
}

/// What GitHub's own toolkit escapes in messages; other control characters are not for logs at all.
fn data(text: &str) -> String {
    let text = text.replace('%', "%25").replace('\r', "%0D");
    let lines: Vec<String> = text.split('\n').map(crate::render::escape::line).collect();
    lines.join("%0A")
}

/// Properties end at `,` and `:`, so these are escaped too.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
