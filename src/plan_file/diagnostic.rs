//! Problems in plan files, and the report that shows all of them at once. Each points into its own
//! file; text that must not be seen (a literal secret) is blotted out of what is shown.

use crate::model::strategy::{Place, SourceFile};
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, Severity, SourceCode, SourceSpan, SpanContents,
};
use std::{collections::BTreeSet, fmt, sync::Arc};

/// Everything that is wrong with a plan file and what it includes, sorted by place.
#[derive(Debug, Clone)]
pub struct PlanFileError {
    /// At least one error, and the warnings that were found besides; the first [`SHOWN_MAX`].
    pub problems: Vec<Problem>,
    /// How many problems there are beyond these.
    pub left_out: usize,
}

/// Nobody reads more problems in one go.
const SHOWN_MAX: usize = 200;

impl PlanFileError {
    /// An error of `problems` in `files`; text at `secrets` is not shown.
    pub fn new(problems: Vec<Problem>, files: &[SourceFile], secrets: &[Place]) -> Self {
        let mut problems = sorted(problems);
        let left_out = problems.len().saturating_sub(SHOWN_MAX);
        problems.truncate(SHOWN_MAX);
        attach(&mut problems, files, secrets);
        Self { problems, left_out }
    }
}

impl fmt::Display for PlanFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_error = |p: &&Problem| p.severity == Severity::Error;
        match self.problems.iter().filter(is_error).count() {
            n if self.left_out > 0 => {
                let all = self.problems.len() + self.left_out;
                write!(
                    f,
                    "{all} problems in the plan file, the first {n} are shown"
                )
            }
            1 => f.write_str("1 error in the plan file"),
            n => write!(f, "{n} errors in the plan file"),
        }
    }
}

impl std::error::Error for PlanFileError {}

impl Diagnostic for PlanFileError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new("ccb::plan_file"))
    }
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|p| p as &dyn Diagnostic)))
    }
}

/// One problem: what is wrong, where, and what to write instead.
#[derive(Debug, Clone)]
pub struct Problem {
    /// Stable code: `ccb::config::unknown_node`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Where, most important first; may be in several files.
    pub marks: Vec<Mark>,
    /// What to do.
    pub help: Option<String>,
    elsewhere: Vec<Elsewhere>,
    source: Option<Arc<PlanText>>,
}

/// A place with the words that are written under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Where.
    pub place: Place,
    /// What is there.
    pub label: String,
}

/// A place as people and CI systems write it; lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Path of the file.
    pub path: String,
    /// Line.
    pub line: usize,
    /// Column, in characters.
    pub column: usize,
}

impl Problem {
    /// An error at `place`.
    pub fn error(
        code: &'static str,
        message: impl Into<String>,
        place: Place,
        label: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            marks: Vec::new(),
            help: None,
            elsewhere: Vec::new(),
            source: None,
        }
        .and(place, label)
    }
    /// A warning at `place`.
    pub fn warning(
        code: &'static str,
        message: impl Into<String>,
        place: Place,
        label: impl Into<String>,
    ) -> Self {
        let mut problem = Self::error(code, message, place, label);
        problem.severity = Severity::Warning;
        problem
    }
    /// One more place.
    pub fn and(mut self, place: Place, label: impl Into<String>) -> Self {
        self.marks.push(Mark {
            place,
            label: label.into(),
        });
        self
    }
    /// What to do about it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
    /// Where the first mark stands.
    pub fn position(&self) -> Option<Position> {
        let text = self.source.as_ref()?;
        let at = self.marks.first()?.place.start.min(text.text.len());
        let before = &text.text[..at];
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Some(Position {
            path: text.path.clone(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        })
    }
    fn key(&self) -> (Option<(usize, usize)>, &'static str, &str) {
        let first = self.marks.first().map(|m| (m.place.file, m.place.start));
        (first, self.code, &self.message)
    }
}

/// Warnings, sorted by place and with the texts that they point into.
pub fn warnings(problems: Vec<Problem>, files: &[SourceFile]) -> Vec<Problem> {
    let mut problems = sorted(problems);
    attach(&mut problems, files, &[]);
    problems
}

/// Sorts problems by place and drops repetitions.
fn sorted(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort_by(|a, b| a.key().cmp(&b.key()));
    problems.dedup_by(|a, b| a.key() == b.key());
    problems
}

/// Gives each problem the texts that it points into.
fn attach(problems: &mut [Problem], files: &[SourceFile], secrets: &[Place]) {
    let texts: Vec<Arc<PlanText>> = files
        .iter()
        .enumerate()
        .map(|(index, file)| Arc::new(PlanText::new(index, file, secrets)))
        .collect();
    for problem in problems {
        let Some(home) = problem.marks.first().map(|m| m.place.file) else {
            continue;
        };
        problem.source = texts.get(home).cloned();
        let others: BTreeSet<usize> = problem.marks.iter().map(|m| m.place.file).collect();
        problem.elsewhere = others
            .into_iter()
            .filter(|file| *file != home)
            .filter_map(|file| Elsewhere::new(problem, texts.get(file)?, file))
            .collect();
    }
}

/// All problems as a terminal shows them.
pub fn report(problems: &[Problem], color: bool, width: usize) -> String {
    let theme = if color {
        GraphicalTheme::unicode()
    } else {
        GraphicalTheme::unicode_nocolor()
    };
    let handler = GraphicalReportHandler::new_themed(theme)
        .with_width(width)
        .with_context_lines(1)
        .with_links(false);
    let mut out = String::new();
    for problem in problems {
        // Writing into a string has no way to fail.
        let _ = handler.render_report(&mut out, problem);
    }
    out
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as _)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_deref().map(|text| text as _)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let home = self.marks.first()?.place.file;
        Some(Box::new(labels(&self.marks, home).into_iter()))
    }
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.elsewhere.iter().map(|e| e as _)))
    }
}

fn labels(marks: &[Mark], file: usize) -> Vec<LabeledSpan> {
    let here = marks.iter().filter(|m| m.place.file == file);
    here.enumerate()
        .map(|(index, mark)| {
            let span = SourceSpan::from((mark.place.start, mark.place.len));
            let label = Some(mark.label.clone());
            if index == 0 {
                LabeledSpan::new_primary_with_span(label, span)
            } else {
                LabeledSpan::new_with_span(label, span)
            }
        })
        .collect()
}

/// The part of a problem that stands in another file than its first mark.
#[derive(Debug, Clone)]
struct Elsewhere {
    message: String,
    severity: Severity,
    labels: Vec<LabeledSpan>,
    source: Arc<PlanText>,
}

impl Elsewhere {
    fn new(problem: &Problem, source: &Arc<PlanText>, file: usize) -> Option<Self> {
        let first = problem.marks.iter().find(|m| m.place.file == file)?;
        Some(Self {
            message: first.label.clone(),
            severity: problem.severity,
            labels: labels(&problem.marks, file),
            source: Arc::clone(source),
        })
    }
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Elsewhere {}

impl Diagnostic for Elsewhere {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&*self.source)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// A file as reports show it. miette counts a snippet's lines from the start of the file, and so draws
/// everything between two distant labels; this source counts those of the snippet.
#[derive(Debug)]
struct PlanText {
    path: String,
    text: String,
}

impl PlanText {
    fn new(index: usize, file: &SourceFile, secrets: &[Place]) -> Self {
        let mut text = file.text.clone();
        for secret in secrets.iter().filter(|place| place.file == index) {
            let range = secret.start..secret.start + secret.len;
            text.replace_range(range, &"*".repeat(secret.len));
        }
        Self {
            path: file.path.clone(),
            text,
        }
    }
}

impl SourceCode for PlanText {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.text.read_span(span, before, after)?;
        let lines = read.data().iter().filter(|byte| **byte == b'\n').count();
        Ok(Box::new(MietteSpanContents::new_named(
            self.path.clone(),
            read.data(),
            *read.span(),
            read.line(),
            read.column(),
            lines,
        )))
    }
}
