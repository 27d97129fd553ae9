//! Puts a dump back into a database. Never into one that has something in it unless that is asked for; and
//! then beside it first, so that the old database stays until the new one is whole, and afterwards under
//! another name. What was half made is taken away again.

pub mod address;
pub mod count;
pub mod feed;
mod prepare;
pub mod roles;
pub mod select;
pub mod target;

pub use crate::restore::postgres::address::TargetError;
pub use crate::restore::postgres::select::{Named, Selection};

use crate::model::postgres::{DumpFacts, Schema};
use crate::model::tree::{Node, NodeKind};
use crate::repository::{Reader, RepositoryError};
use crate::restore::postgres::count::Early;
use crate::restore::postgres::prepare::{Into, Prepared, check, make};
use crate::restore::{ContentStream, chain};
use crate::source::postgres::archive::{ArchiveError, Entry, Scanner};
use crate::source::postgres::connection::Connection;
use crate::source::postgres::{GLOBALS, PLAIN, PostgresError, schema_name};
use crate::source::program::ProgramError;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};

/// So much is read at once.
const READ_LEN_BYTES: usize = 256 << 10;

/// What to restore, and where to.
pub struct Request {
    /// The database.
    pub target: Connection,
    /// What the backup says of itself.
    pub facts: DumpFacts,
    /// Which part of it.
    pub selection: Selection,
    /// What is there already may be replaced.
    pub overwrite: bool,
    /// The server's roles are restored first.
    pub roles: bool,
    /// Everything belongs to who restores, and nobody is granted anything.
    pub no_owner: bool,
    /// Jobs of `pg_restore`; more than one need the dump as a file.
    pub jobs: usize,
    /// Where such a file may lie.
    pub scratch: PathBuf,
    /// Tells names apart that are made for this restore.
    pub mark: String,
    /// Only looks and says what would be done.
    pub dry_run: bool,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Where the backup is now, for people.
    pub database: String,
    /// Tables with rows of their own.
    pub tables: u64,
    /// Their rows.
    pub rows: u64,
    /// The database that was there before, under its new name.
    pub aside: Option<String>,
    /// What is not as it was at the source.
    pub notes: Vec<String>,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum RestoreError {
    #[error("read the backup")]
    Read(#[source] io::Error),
    #[error("`{0}` is not in the backup")]
    NoFile(String),
    #[error("the dump in the backup is not whole")]
    NotWhole(#[source] ArchiveError),
    #[error(transparent)]
    Postgres(#[from] PostgresError),
    #[error("restore into {at}")]
    Restore {
        at: String,
        #[source]
        cause: ProgramError,
    },
    #[error("{doing}")]
    Io {
        doing: String,
        #[source]
        cause: io::Error,
    },
    #[error("what was half restored is still there, in {title}: drop that database")]
    Left {
        title: String,
        #[source]
        cause: Box<Self>,
    },
    /// The target is in no state for it; the words say the way out.
    #[error("{0}")]
    Refused(String),
}

impl From<RepositoryError> for RestoreError {
    fn from(error: RepositoryError) -> Self {
        Self::Read(io::Error::other(error))
    }
}

/// A file of a backup.
pub struct Stored {
    /// Its bytes, which it ends with.
    pub stream: ContentStream,
    /// How many.
    pub len_bytes: u64,
}

/// A file of the backup whose root is `root`.
pub async fn file(
    reader: &Reader,
    root: &Node,
    name: &str,
) -> Result<Option<Stored>, RepositoryError> {
    let NodeKind::Directory { tree: Some(tree) } = &root.kind else {
        return Ok(None);
    };
    let found = reader.lookup(tree, name.as_bytes()).await?;
    Ok(found.and_then(|node| match node.kind {
        NodeKind::File { content, size, .. } => Some(Stored {
            stream: ContentStream::start(reader.content(&content)),
            len_bytes: size,
        }),
        _ => None,
    }))
}

/// The table of contents of the dump that `facts` are of; a plain one has none.
pub async fn listed(
    reader: &Reader,
    root: &Node,
    facts: &DumpFacts,
) -> Result<Vec<Entry>, RestoreError> {
    if facts.format == PLAIN {
        return Ok(Vec::new());
    }
    let found = file(reader, root, &facts.file).await?;
    let stored = found.ok_or_else(|| RestoreError::NoFile(facts.file.clone()))?;
    waiting(move || entries(stored.stream)).await
}

/// The table of contents of a dump: its data is not read.
fn entries(mut dump: ContentStream) -> Result<Vec<Entry>, RestoreError> {
    let mut scanner = Scanner::default();
    let mut buffer = vec![0; READ_LEN_BYTES];
    loop {
        match dump.read(&mut buffer).map_err(RestoreError::Read)? {
            0 => break,
            len => scanner
                .feed(&buffer[..len])
                .map_err(RestoreError::NotWhole)?,
        }
        if let Some(entries) = scanner.entries() {
            return Ok(entries.to_vec());
        }
    }
    let archive = scanner.finish().map_err(RestoreError::NotWhole)?;
    Ok(archive.entries)
}

/// Restores. Waits for programs on threads of its own.
pub async fn restore(
    reader: &Reader,
    root: &Node,
    request: Request,
) -> Result<Report, RestoreError> {
    let entries = listed(reader, root, &request.facts).await?;
    let globals = match request.roles {
        true => Some(text(reader, root, GLOBALS).await?),
        false => None,
    };
    let found = file(reader, root, &request.facts.file).await?;
    let dump = found.ok_or_else(|| RestoreError::NoFile(request.facts.file.clone()))?;
    let request = Arc::new(request);
    let checked = {
        let request = request.clone();
        waiting(move || check(&request, &entries, globals.as_deref())).await?
    };
    if request.dry_run {
        return Ok(Report {
            database: request.target.title(),
            notes: checked.intents(),
            ..Report::default()
        });
    }
    let prepared = {
        let request = request.clone();
        waiting(move || make(&request, checked)).await?
    };
    let (early, counting) = mpsc::channel();
    let at_end = {
        let (connection, wanted) = (prepared.connection.clone(), wanted(&request, &prepared));
        move || drop(early.send(Early::start(&connection, move |name| wanted.contains(name))))
    };
    let fed = feed::feed(dump, &request, &prepared, at_end).await;
    waiting(move || finish(&request, prepared, fed, counting.try_recv().ok())).await
}

/// A small file of the backup, as text.
pub async fn text(reader: &Reader, root: &Node, name: &str) -> Result<String, RestoreError> {
    let found = file(reader, root, name).await?;
    let mut stored = found.ok_or_else(|| RestoreError::NoFile(name.to_owned()))?;
    waiting(move || {
        let mut bytes = Vec::new();
        let read = stored.stream.read_to_end(&mut bytes);
        read.map_err(RestoreError::Read)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    })
    .await
}

/// The schema that is stored beside a dump.
pub async fn schema(
    facts: &DumpFacts,
    reader: &Reader,
    root: &Node,
) -> Result<Schema, RestoreError> {
    let name = schema_name(&facts.server.database);
    let text = text(reader, root, &name).await?;
    serde_json::from_str(&text).map_err(|cause| RestoreError::Io {
        doing: format!("understand `{name}` of the backup"),
        cause: cause.into(),
    })
}

pub(crate) async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RestoreError> + Send + 'static,
) -> Result<T, RestoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(RestoreError::Read(io::Error::other(error))))
}

/// Holds what was restored against what the backup says, and puts it in its place; what did not succeed is
/// taken away, where it was made for this.
fn finish(
    request: &Request,
    prepared: Prepared,
    fed: Result<(), RestoreError>,
    early: Option<Early>,
) -> Result<Report, RestoreError> {
    let made = fed.and_then(|()| compare(request, &prepared, early));
    let (tables, rows) = match made {
        Ok(counted) => counted,
        Err(error) => {
            return Err(match prepared.into {
                Into::There => error,
                Into::New | Into::Beside { .. } => take_away(&prepared.connection, error),
            });
        }
    };
    let mut report = Report {
        database: request.target.title(),
        tables,
        rows,
        aside: None,
        notes: prepared.notes,
    };
    if prepared.into != Into::There {
        report
            .notes
            .extend(target::settings(&prepared.connection, &prepared.settings));
    }
    let (name, made) = (request.target.database(), prepared.connection.database());
    let named = match &prepared.into {
        Into::There => Ok(()),
        Into::New => target::rename(&request.target, made, name),
        Into::Beside { aside } => target::swap(&request.target, name, made, aside),
    };
    if let Err(cause) = named {
        let words = format!(
            "what was restored is whole, in the database {made}, and could not get the name {name}: {}",
            chain(&cause)
        );
        return Err(RestoreError::Refused(words));
    }
    if let Into::Beside { aside } = prepared.into {
        report.aside = Some(aside);
    }
    Ok(report)
}

/// Drops what was half made. The first error is the one that matters; that it could not be dropped is told too.
fn take_away(made: &Connection, error: RestoreError) -> RestoreError {
    match target::drop_made(made) {
        Ok(()) => error,
        Err(_) => RestoreError::Left {
            title: made.title(),
            cause: Box::new(error),
        },
    }
}

/// The tables whose rows must be those of the dump.
fn wanted(request: &Request, prepared: &Prepared) -> BTreeSet<String> {
    match request.selection.is_all() {
        true => request.facts.tables.keys().cloned().collect(),
        false => prepared.tables.iter().cloned().collect(),
    }
}

/// Tables and rows that are there, which must be those of the dump. What was counted early and is as it should
/// be needs no second look: nothing that a restore does after the rows changes them.
fn compare(
    request: &Request,
    prepared: &Prepared,
    early: Option<Early>,
) -> Result<(u64, u64), RestoreError> {
    let wanted = wanted(request, prepared);
    let mut counted = early.map(Early::rows).unwrap_or_default();
    counted.retain(|name, rows| {
        let table = request.facts.tables.get(name);
        table.is_some_and(|table| table.rows == Some(*rows))
    });
    let is_left = |name: &str| wanted.contains(name) && !counted.contains_key(name);
    if wanted.iter().any(|name| is_left(name)) {
        let left = count::rows(&prepared.connection, is_left)?;
        counted.extend(left);
    }
    let differences = count::differences(&request.facts, &counted, |name| wanted.contains(name));
    if let Some(first) = differences.first() {
        let words = format!("what was restored differs from the backup: {first}");
        return Err(RestoreError::Refused(words));
    }
    Ok((counted.len() as u64, counted.values().sum()))
}
