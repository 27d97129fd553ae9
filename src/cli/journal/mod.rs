//! The journal of runs on this machine: what a run is about to do and has done, one line of JSON each, written
//! while it goes on. When a run was killed, the next one reads here what it left, says so, and records it at
//! the destinations, which the killed one could not do. Nothing that is stored depends on a journal.

mod left;

pub use left::{Left, left};

use crate::cli::exit::Exit;
use crate::cli::monitor::Show;
use crate::cli::{output, state, world};
use crate::model::holder::Holder;
use crate::model::ids::RunId;
use crate::model::records::RunRecord;
use crate::model::strategy::Strategy;
use crate::plan::report::StepReport;
use crate::plan::{Step, StepId};
use crate::render::event::Progress;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Journals that are kept for each plan file.
const KEPT: usize = 100;

/// A line of a journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "lowercase")]
enum Line {
    /// The first: who does what. The record is the one that the run would leave if it did nothing.
    Begin {
        holder: Holder,
        record: RunRecord,
        steps: Vec<Planned>,
    },
    /// A step began.
    Start { at: Timestamp, id: StepId },
    /// A step ended, or will not be tried.
    End { at: Timestamp, step: StepReport },
    /// The last: the run ended by itself.
    Finish { at: Timestamp, exit: u8 },
    /// The last of a run that was killed: a later one has told what it left.
    Told { at: Timestamp, by: RunId },
}

/// A step as it was planned, in the order of the record's steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Planned {
    id: StepId,
    what: String,
}

/// A journal that is being written. When it can not be, that is said once, and the run goes on.
pub struct Journal {
    path: PathBuf,
    file: Mutex<Option<File>>,
}

impl Journal {
    /// Begins the journal of a run; `record` says what it is about to do.
    pub fn begin(
        folder: &Path,
        holder: Holder,
        record: RunRecord,
        what: Vec<(StepId, String)>,
    ) -> Self {
        let path = folder.join(format!("{}-{}.jsonl", instant(holder.since), holder.run));
        let journal = Self {
            file: Mutex::new(None),
            path,
        };
        match create(folder, &journal.path) {
            Ok(file) => *journal.file() = Some(file),
            Err(error) => journal.give_up(&error),
        }
        let steps = what
            .into_iter()
            .map(|(id, what)| Planned { id, what })
            .collect();
        journal.write(&Line::Begin {
            holder,
            record,
            steps,
        });
        remove_old(folder);
        journal
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says that the run ended by itself.
    pub fn finish(&self, exit: Exit) {
        self.write(&Line::Finish {
            at: world::now(),
            exit: exit as u8,
        });
    }

    fn file(&self) -> std::sync::MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, line: &Line) {
        let mut file = self.file();
        if let Some(open) = file.as_mut()
            && let Err(error) = append(open, line)
        {
            *file = None;
            drop(file);
            self.give_up(&error);
        }
    }

    fn give_up(&self, error: &io::Error) {
        output::say(&format!(
            "Warning: write the journal `{}`: {error}; if this run is killed, the next one can not say what it left",
            self.path.display()
        ));
    }
}

impl Show for Journal {
    fn started(&self, step: &Step) {
        let at = world::now();
        self.write(&Line::Start { at, id: step.id });
    }
    fn goes_on(&self, _step: &Step, _progress: &Progress) {}
    fn ended(&self, _step: &Step, report: &StepReport) {
        let (at, step) = (world::now(), report.clone());
        self.write(&Line::End { at, step });
    }
    fn every(&self) -> Option<Duration> {
        None
    }
}

/// The folder of journals of a plan file.
pub fn folder(file: &str, strategy: &Strategy) -> Option<PathBuf> {
    state::of_plan("runs", file, strategy)
}

/// A whole line goes out in one call, so that a kill leaves whole lines; begun anew, should one be cut off
/// because the disk was full.
fn append(file: &mut File, line: &Line) -> io::Result<()> {
    let text = format!("\n{}\n", serde_json::to_string(line)?);
    file.write_all(text.as_bytes())
}

fn create(folder: &Path, path: &Path) -> io::Result<File> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// The journals in `folder`, oldest first.
fn journals(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "jsonl"))
        .collect();
    paths.sort();
    paths
}

fn remove_old(folder: &Path) {
    let all = journals(folder);
    for old in &all[..all.len().saturating_sub(KEPT)] {
        let _ = fs::remove_file(old);
    }
}

/// Sorts as time does.
fn instant(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}
