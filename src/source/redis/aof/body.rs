//! One append-only file as it goes into a backup: a snapshot at its beginning in canonical form, then its
//! commands as they are, up to the last that is whole. What is damaged is an error, never passed on.

use crate::source::redis::aof::resp::{Commands, Malformed};
use crate::source::redis::rdb::input::Input;
use crate::source::redis::rdb::{
    Canonical, RdbError, RdbFacts, SORT_BUDGET_BYTES, canonical_in, count_in,
};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A command that is longer is kept in a file until it is whole.
const PENDING_LEN_MAX_BYTES: usize = 8 << 20;

/// What an append-only file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AofFacts {
    /// The snapshot that it begins with, if it does.
    pub snapshot: Option<RdbFacts>,
    /// Commands after it.
    pub commands: u64,
    /// Bytes at its end that were no whole command yet, and are left out.
    pub cut_bytes: u64,
}

/// Why an append-only file could not be read.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum AofError {
    #[error("the snapshot at its beginning")]
    Snapshot(#[source] RdbError),
    /// What can not be read to its end can not be proven, nor can what follows be found.
    #[error(
        "the snapshot at its beginning; method \"rdb\" stores what is not understood as the server wrote it"
    )]
    NotUnderstood(#[source] RdbError),
    #[error("its commands, which begin at byte {begin}: it is damaged")]
    Commands {
        begin: u64,
        #[source]
        cause: Malformed,
    },
    #[error(
        "it ends in the middle of a command or transaction: its last {cut_bytes} bytes are no whole one, and other files follow it"
    )]
    Ends { cut_bytes: u64 },
    #[error("read it")]
    Read(#[source] io::Error),
    #[error("keep what was read in a temporary file")]
    Scratch(#[source] io::Error),
}

/// How a file may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The server is still writing to it: what is no whole command yet is left out.
    MayBeCut,
    /// It is complete.
    Whole,
}

/// Reads one file in the form that is stored.
pub struct AofBody<R> {
    input: Input<R>,
    end: End,
    scratch: PathBuf,
    stage: Stage,
    commands: Commands,
    /// Commands that may be handed on: `ready[taken..]`.
    ready: Vec<u8>,
    taken: usize,
    /// What follows them, until it is known to be whole.
    pending: Pending,
    facts: AofFacts,
}

enum Stage {
    Beginning,
    Snapshot(Box<Canonical>),
    /// With the offset at which they begin.
    Commands(u64),
    /// A long command that is whole now is handed on from its file, then more commands.
    Long(File, u64),
    Ended,
}

impl<R: Read> AofBody<R> {
    /// Temporary files are made in `scratch`.
    pub fn new(source: R, end: End, scratch: &Path) -> Self {
        Self {
            input: Input::new(source),
            end,
            scratch: scratch.to_path_buf(),
            stage: Stage::Beginning,
            commands: Commands::default(),
            ready: Vec::new(),
            taken: 0,
            pending: Pending::default(),
            facts: AofFacts::default(),
        }
    }

    /// What it holds; complete when it was read to its end.
    pub fn facts(&self) -> &AofFacts {
        &self.facts
    }

    /// Reads the snapshot, if there is one. Reading begins with this if it was not called.
    pub fn begin(&mut self) -> Result<(), AofError> {
        let shown = self.input.peek().map_err(AofError::Snapshot)?;
        if !shown.starts_with(b"R") {
            self.stage = Stage::Commands(0);
            return Ok(());
        }
        let read = canonical_in(&mut self.input, &self.scratch, SORT_BUDGET_BYTES);
        let (canonical, facts) = read.map_err(AofError::Snapshot)?;
        self.facts.snapshot = Some(facts);
        self.stage = Stage::Snapshot(Box::new(canonical));
        Ok(())
    }

    /// Reads more commands, of which some may become ready.
    fn advance(&mut self, begin: u64) -> Result<(), AofError> {
        self.ready.clear();
        self.taken = 0;
        let shown = self.input.peek().map_err(read_error)?;
        let len = shown.len();
        if len == 0 {
            return self.finish();
        }
        let safe_before = self.commands.safe();
        let seen = self.commands.see(shown);
        seen.map_err(|cause| AofError::Commands { begin, cause })?;
        let newly_safe = (self.commands.safe() - safe_before) as usize;
        let pending = self.pending.len();
        match newly_safe.checked_sub(pending as usize) {
            // Nothing became whole.
            None => self
                .pending
                .push(shown, &self.scratch)
                .map_err(AofError::Scratch)?,
            Some(of_shown) => {
                let (whole, rest) = shown.split_at(of_shown);
                let long = self
                    .pending
                    .take(&mut self.ready)
                    .map_err(AofError::Scratch)?;
                self.ready.extend_from_slice(whole);
                if let Some(file) = long {
                    self.stage = Stage::Long(file, begin);
                }
                self.pending
                    .push(rest, &self.scratch)
                    .map_err(AofError::Scratch)?;
            }
        }
        self.input.take(len);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), AofError> {
        self.facts.commands = self.commands.count();
        self.facts.cut_bytes = self.pending.len();
        self.stage = Stage::Ended;
        match self.end {
            End::Whole if self.facts.cut_bytes > 0 => Err(AofError::Ends {
                cut_bytes: self.facts.cut_bytes,
            }),
            _ => Ok(()),
        }
    }
}

fn read_error(error: RdbError) -> AofError {
    match error {
        RdbError::Read(cause) => AofError::Read(cause),
        other => AofError::Snapshot(other),
    }
}

impl<R: Read> Read for AofBody<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.taken < self.ready.len() && !matches!(self.stage, Stage::Long(..)) {
                let len = to.len().min(self.ready.len() - self.taken);
                to[..len].copy_from_slice(&self.ready[self.taken..self.taken + len]);
                self.taken += len;
                return Ok(len);
            }
            match &mut self.stage {
                Stage::Beginning => self.begin().map_err(io::Error::other)?,
                Stage::Snapshot(canonical) => match canonical.read(to)? {
                    0 if !to.is_empty() => {
                        self.stage = Stage::Commands(self.input.offset());
                    }
                    len => return Ok(len),
                },
                Stage::Commands(begin) => {
                    let begin = *begin;
                    self.advance(begin).map_err(io::Error::other)?;
                }
                Stage::Long(file, begin) => match file.read(to)? {
                    0 if !to.is_empty() => self.stage = Stage::Commands(*begin),
                    len => return Ok(len),
                },
                Stage::Ended => return Ok(0),
            }
        }
    }
}

/// Bytes that are no whole command yet: in memory, or in a file when they are many.
#[derive(Default)]
struct Pending {
    bytes: Vec<u8>,
    file: Option<File>,
    len: u64,
}

impl Pending {
    fn len(&self) -> u64 {
        self.len
    }

    fn push(&mut self, bytes: &[u8], scratch: &Path) -> io::Result<()> {
        self.len += bytes.len() as u64;
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > PENDING_LEN_MAX_BYTES {
            let file = match &mut self.file {
                Some(file) => file,
                none => none.insert(tempfile::tempfile_in(scratch)?),
            };
            file.write_all(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }

    /// Moves them to `ready`, or gives back the file that they are in.
    fn take(&mut self, ready: &mut Vec<u8>) -> io::Result<Option<File>> {
        self.len = 0;
        match self.file.take() {
            None => {
                ready.append(&mut self.bytes);
                Ok(None)
            }
            Some(mut file) => {
                file.write_all(&self.bytes)?;
                self.bytes.clear();
                file.rewind()?;
                Ok(Some(file))
            }
        }
    }
}

/// What an append-only file holds, counted while it is read to its end.
pub fn count_aof(source: impl Read, end: End, as_of_ms: i64) -> Result<AofFacts, AofError> {
    let mut input = Input::new(source);
    let mut facts = AofFacts::default();
    if input.peek().map_err(read_error)?.starts_with(b"R") {
        let (snapshot, _) = count_in(&mut input, as_of_ms).map_err(AofError::Snapshot)?;
        facts.snapshot = Some(snapshot);
    }
    let begin = input.offset();
    let mut commands = Commands::default();
    loop {
        let shown = input.peek().map_err(read_error)?;
        let len = shown.len();
        if len == 0 {
            break;
        }
        let seen = commands.see(shown);
        seen.map_err(|cause| AofError::Commands { begin, cause })?;
        input.take(len);
    }
    facts.commands = commands.count();
    facts.cut_bytes = input.offset() - begin - commands.safe();
    match end {
        End::Whole if facts.cut_bytes > 0 => Err(AofError::Ends {
            cut_bytes: facts.cut_bytes,
        }),
        _ => Ok(facts),
    }
}
