//! What a restore did, and what it left.

use crate::model::tree::Problem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Notes and problems beyond this many are counted only.
const LISTED_MAX: usize = 1000;

/// What a restore did.
#[derive(Debug, Default)]
pub struct Report {
    /// Regular files written.
    pub files: u64,
    /// Directories made.
    pub directories: u64,
    /// Symbolic links and further names of hard links made.
    pub links: u64,
    /// FIFOs, sockets and devices made.
    pub specials: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Entries that were there already, the same.
    pub kept: u64,
    /// Entries of all kinds that took the place of another.
    pub overwritten: u64,
    /// What was left out knowingly, such as owners without the right to set them.
    pub notes: Vec<RestoreNote>,
    /// How many of those there were.
    pub note_count: u64,
    /// What failed; the first thousand.
    pub problems: Vec<Problem>,
    /// How many of those there were. Not zero: the restore is incomplete.
    pub problem_count: u64,
}

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreNote {
    /// Path below the target.
    pub path: Vec<u8>,
    /// What.
    pub what: Left,
}

/// What was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Its owner, for want of rights; setuid and setgid with it.
    Owner,
    /// A device, for want of rights.
    Device,
    /// An extended attribute that the file system or the rights do not allow.
    Xattr(Vec<u8>),
}

/// A report that many threads write to.
#[derive(Debug, Default)]
pub(crate) struct SharedReport(Mutex<Report>);

impl SharedReport {
    pub(crate) fn with(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn note(&self, path: &[u8], what: Left) {
        let mut report = self.with();
        report.note_count += 1;
        if report.notes.len() < LISTED_MAX {
            report.notes.push(RestoreNote {
                path: path.to_vec(),
                what,
            });
        }
    }
    pub(crate) fn problem(
        &self,
        path: &[u8],
        doing: &'static str,
        cause: impl Into<std::io::Error>,
    ) {
        let (path, cause) = (path.to_vec(), cause.into());
        let mut report = self.with();
        report.problem_count += 1;
        if report.problems.len() < LISTED_MAX {
            report.problems.push(Problem { path, doing, cause });
        }
    }
    /// Takes the report out; paths sorted, because threads finish in any order.
    pub(crate) fn take(&self) -> Report {
        let mut report = std::mem::take(&mut *self.with());
        report.problems.sort_by(|a, b| a.path.cmp(&b.path));
        report.notes.sort_by(|a, b| a.path.cmp(&b.path));
        report
    }
}
