//! Tells what a restore of files or objects does: in lines as it goes, or as one document at its end.

use crate::cli::args::RestoreArguments;
use crate::cli::exit::{Exit, Trouble};
use crate::cli::{Context, output};
use crate::model::tree::printable;
use crate::render::listing::restored::{Intended, Restored};
use crate::render::output::json;

/// Hears of each path or key what is done with it.
pub struct Teller {
    is_json: bool,
    tells: bool,
    entries: Vec<Intended>,
}

/// What came of it.
pub struct Sum {
    /// Where to.
    pub target: String,
    /// Files or objects written.
    pub written: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What was there already, the same.
    pub kept: u64,
    /// What failed; maybe not all.
    pub problems: Vec<String>,
    /// How many of those there were.
    pub problem_count: u64,
}

impl Teller {
    /// Tells of each on a dry run only.
    pub fn new(arguments: &RestoreArguments, context: &Context) -> Self {
        let is_json = arguments.json.json;
        Self {
            is_json,
            tells: arguments.dry_run && (is_json || !context.global.quiet),
            entries: Vec::new(),
        }
    }

    /// `intent` is one word.
    pub fn hear(&mut self, path: &[u8], intent: &'static str) {
        match (self.tells, self.is_json) {
            (false, _) => {}
            (true, true) => self.entries.push(Intended::new(path, intent)),
            // Standard output that is closed is found when the result is told.
            (true, false) => {
                let _ = output::print(&format!("{intent:<10} {}", printable(path)));
            }
        }
    }

    /// Says what failed, and the result: as a document, or in `words`.
    pub fn end(self, sum: Sum, words: &str, arguments: &RestoreArguments) -> Result<Exit, Trouble> {
        for problem in &sum.problems {
            output::say(&format!("Error: {problem}"));
        }
        let unlisted = sum.problem_count - sum.problems.len() as u64;
        if unlisted > 0 {
            output::say(&format!("Error: {unlisted} more"));
        }
        let exit = match sum.problem_count {
            0 => Exit::Ok,
            _ => Exit::Incomplete,
        };
        match self.is_json {
            false => output::print(words)?,
            true => output::print(&json(&Restored {
                component: arguments.component.clone(),
                target: sum.target,
                dry_run: arguments.dry_run,
                written: sum.written,
                bytes: sum.bytes,
                kept: sum.kept,
                entries: self.entries,
                problems: sum.problems,
                problem_count: sum.problem_count,
            }))?,
        }
        Ok(exit)
    }
}
